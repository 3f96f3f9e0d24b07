/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Catalogue files into rows. The format is found by content, never by name:
 *   - a Bundle with Organizations that name Endpoints (SMART User-access Brands), or Endpoints with a contained or referenced
 *     Organization (Epic, Oracle and most vendors),
 *   - Lantern's {"Endpoints":[{"URL","OrganizationName","NPIID","OrganizationZipCode"}]},
 *   - one FHIR base URL as text.
 *
 * Lists are bad (smart-client-rules 8.3): internal hosts, relative URLs, empty and numeric names, duplicates. A row that cannot be
 * taken goes to the rejects with its reason; it never stops the rest. Reading touches no database; applying is one transaction in the model.
 */
#ifndef CW_CATALOG_IMPORT_H
#define CW_CATALOG_IMPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/span.h"
#include "model/source.h"

#define CW_CATALOG_ROWS_MAX 400000u            /* read from one file */
#define CW_CATALOG_ENTRY_MAX (1024u * 1024u)   /* one element of a file */
#define CW_CATALOG_ARENA_MAX ((size_t)2u << 30) /* for reading the largest file */

/* Reasons, as they are shown and counted. */
#define CW_REJECT_UNREADABLE "unreadable"        /* not an object, or over CW_CATALOG_ENTRY_MAX */
#define CW_REJECT_NO_URL "no_url"
#define CW_REJECT_BAD_URL "bad_url"
#define CW_REJECT_RELATIVE_URL "relative_url"
#define CW_REJECT_HTTP "http_url"                /* not encrypted, and the host is not on the allow-list */
#define CW_REJECT_INTERNAL_HOST "internal_host"  /* no public name, and not on the allow-list */
#define CW_REJECT_NO_NAME "empty_name"
#define CW_REJECT_NUMERIC_NAME "numeric_name"    /* a customer number: nobody finds their clinic by it */
#define CW_REJECT_BAD_NAME "bad_name"            /* over CW_SOURCE_NAME_MAX, not text, or "do not use" */
#define CW_REJECT_NOT_R4 "not_r4"                /* another version of FHIR */
#define CW_REJECT_NOT_FHIR "not_fhir_rest"       /* another connectionType */
#define CW_REJECT_INACTIVE "inactive"            /* status off, error or entered-in-error */
#define CW_REJECT_DUPLICATE "duplicate"          /* same base, name and place as an earlier row */
#define CW_REJECT_NO_ENDPOINT "no_endpoint"      /* an Organization without one, or with one that is not in the file */

struct cw_catalog_reject {
    size_t position;      /* of the element in the file, from 0 */
    const char *reason;   /* one of CW_REJECT_… */
    struct cw_span name;  /* as far as known; foreign text */
    struct cw_span url;
};

struct cw_catalog {
    const char *format;   /* "smart_brands", "endpoint_bundle", "lantern", "url": a literal */
    struct cw_source_row *rows;
    size_t count;
    struct cw_catalog_reject *rejects;
    size_t reject_count;
};

/* True for a host that may be plain http or internal (the operator's allow-list). */
typedef bool cw_catalog_allow(void *arg, const char *host, unsigned port);

struct cw_catalog_options {
    enum cw_environment environment;
    cw_catalog_allow *allow;  /* NULL: none */
    void *allow_arg;
    struct cw_span name;      /* for a bare URL; absent: its host */
    struct cw_span vendor;    /* for all rows; absent: guessed from each base */
};

/* Reads a whole file; everything returned lives in the arena. CW_E_SYNTAX: not JSON and not a URL; CW_E_UNSUPPORTED: JSON of no known format;
 * CW_E_TOO_BIG: over CW_CATALOG_FILE_MAX, CW_CATALOG_ROWS_MAX or the arena; CW_E_OOM. A file of which no row can be taken is still a success. */
enum cw_code cw_catalog_read(struct cw_span file, const struct cw_catalog_options *options, struct cw_arena *arena,
                             struct cw_catalog *ret, struct cw_err *err) CW_NONNULL(2, 3, 4) CW_MUST_USE;

/* Applies it: ids of sources that are there already stay, so that importing twice changes nothing. `file` gives the content hash that the
 * import is remembered by. Afterwards the search index is written anew (catalog/index.h). */
enum cw_code cw_catalog_import(struct cw_model *model, const struct cw_actor *actor, enum cw_environment environment,
                               struct cw_span file, const struct cw_catalog *catalog, struct cw_import_counts *ret,
                               struct cw_err *err) CW_NONNULL(1, 2, 5, 6) CW_MUST_USE;

/* The vendor that a base URL looks like, by its host and path ("epic", "cerner", …: names of conf/vendors), or an absent span. A guess: it
 * chooses quirks until discovery says better, never credentials. */
struct cw_span cw_catalog_guess_vendor(struct cw_span normal_base);

#endif
