/* SPDX-License-Identifier: Apache-2.0 */
/* A foreign token and a foreign key set, parted by the first newline: token, then JWKS. */
#include "config.h"

#include "base/json.h"
#include "base/limits.h"
#include "vault/jose.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cw_span set = cw_span_of(data, size);
    struct cw_span token = { 0 };
    (void)cw_span_cut(&set, '\n', &token);
    json_t *claims = NULL;
    if (cw_jws_peek(token, &claims, NULL) == CW_OK) {
        json_decref(claims);
        claims = NULL;
    }
    struct cw_json_limits limits = { .max_bytes = CW_JWKS_MAX, .max_depth = CW_JSON_DEPTH_MAX };
    CW_AUTO_JSON *jwks = NULL;
    if (cw_json_parse(set, limits, &jwks, NULL) == CW_OK && cw_jws_verify(token, jwks, &claims, NULL) == CW_OK) {
        json_decref(claims);
    }
    return 0;
}
