/* SPDX-License-Identifier: Apache-2.0 */
/* Every limit on what comes from outside, by name and with its reason. Bytes unless the name says otherwise. */
#ifndef CW_BASE_LIMITS_H
#define CW_BASE_LIMITS_H

/* --- the API and forms --- */
#define CW_API_BODY_MAX (64u * 1024u)          /* a Session with full metadata is a few KiB */
#define CW_API_KEY_MAX 1024u                   /* our keys have about 200 characters */
#define CW_FORM_BODY_MAX (16u * 1024u)
#define CW_QUERY_MAX (8u * 1024u)
#define CW_INPUTS_MAX 64u                      /* parameters in one form or query */
#define CW_COOKIE_HEADER_MAX 8192u
#define CW_RESPONSE_MAX (64u * 1024u * 1024u)  /* 100 records of the largest stored size would be over; see record_page_max */
#define CW_REQUEST_ARENA_MAX (32u * 1024u * 1024u)
#define CW_PATIENT_ID_CHARS_MAX 200u           /* code points, contract */
#define CW_PATIENT_ID_BYTES_MAX 800u
#define CW_PATIENT_NAME_CHARS_MAX 200u
#define CW_EMAIL_MAX 254u                      /* RFC 5321 path */
#define CW_METADATA_KEYS_MAX 50u
#define CW_METADATA_MAX 16384u                 /* as canonical JSON */
#define CW_METADATA_DEPTH_MAX 8u
#define CW_RETURN_URL_MAX 2048u
#define CW_RETURN_LABEL_CHARS_MAX 60u
#define CW_RECOMMENDED_MAX 50u
#define CW_SESSION_SECONDS_MIN 60
#define CW_SESSION_SECONDS_MAX 86400
#define CW_SESSION_SECONDS_DEFAULT 1800
#define CW_SESSION_OPEN_ATTEMPTS_MAX 10        /* issue 2 */
#define CW_STATE_SECONDS 900                   /* design 13: 15 minutes at most */
#define CW_CURSOR_TEXT 12                      /* base64url characters */

/* --- what hospitals send --- */
#define CW_URL_MAX 2048u                       /* VARBINARY(2048), never cut */
#define CW_LINK_MAX 8192u                      /* URLs that are followed but never a key: next links of HAPI and Epic pass 2 KiB */
#define CW_DISCOVERY_MAX (1024u * 1024u)       /* MEDITECH lists 581 scopes in 60 KiB */
#define CW_CAPABILITY_MAX (8u * 1024u * 1024u)
#define CW_TOKEN_ANSWER_MAX (256u * 1024u)
#define CW_TOKEN_MAX (16u * 1024u)             /* Epic and athena send JWTs of 1 to 3 KiB */
#define CW_CODE_MAX 8192u                      /* authorization code */
#define CW_JWKS_MAX (256u * 1024u)
#define CW_JSON_DEPTH_MAX 64u
#define CW_FHIR_PAGE_MAX (64u * 1024u * 1024u) /* after decompression */
#define CW_FHIR_RESOURCE_MAX (16u * 1024u * 1024u)
#define CW_FHIR_ENTRIES_MAX 10000u             /* in one page */
#define CW_FHIR_ID_MAX 255u                    /* Epic ids have 88 characters; FHIR says 64 */
#define CW_FHIR_TYPE_MAX 64u
#define CW_DOCUMENT_MAX (50u * 1024u * 1024u)
#define CW_HTTP_HEADERS_MAX (64u * 1024u)
#define CW_HTTP_RATIO_MAX 400u                 /* unpacked to packed; pages of hospitals stay under 60, deflate can do 1,032 */
#define CW_REDIRECTS_MAX 3
#define CW_PAGES_MAX 2000u                     /* pages of one search */
#define CW_SEARCH_ENTRIES_MAX 500000u          /* records of one search, over all its pages */
#define CW_ERROR_TEXT_MAX 500u                 /* error_description, kept encrypted for the operator */

/* --- our own files --- */
#define CW_CONFIG_FILE_MAX (64u * 1024u)

/* --- catalogue files --- */
#define CW_CATALOG_FILE_MAX (256u * 1024u * 1024u)
#define CW_SOURCE_NAME_MAX 512u

#endif
