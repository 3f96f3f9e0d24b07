/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that an app publishes: fetched at each use, so that a turned key counts at once, by the same policy as all that goes out. */
#include "config.h"
#include "sandbox/token_int.h"

#include "base/limits.h"
#include "net/http.h"

#define FETCH_MS 5000

enum cw_code hospital_fetch_jwks(const struct hospital *hospital, const char *uri, json_t **ret_jwks, struct cw_err *err)
{
    struct cw_http *http = NULL;
    struct cw_http_response response;
    struct cw_http_request request = { .url = uri, .body_max = CW_JWKS_MAX, .total_ms = FETCH_MS };
    struct cw_json_limits limits = { .max_bytes = CW_JWKS_MAX, .max_depth = 8 };
    if (hospital->config == NULL) {
        return cw_err_set(err, CW_E_UNAVAILABLE, "sandbox.jwks", "no way out");
    }
    enum cw_code rc = cw_http_new(hospital->config, &http, err);
    if (rc != CW_OK) {
        return rc;
    }
    cw_http_response_init(&response);
    rc = cw_http_perform(http, &request, &response, err);
    if (rc == CW_OK && response.status != 200) {
        rc = cw_err_set(err, CW_E_UPSTREAM, "sandbox.jwks", "the JWKS URL does not answer with 200");
    }
    if (rc == CW_OK) {
        rc = cw_json_parse(cw_str_span(&response.body), limits, ret_jwks, err);
    }
    cw_http_response_release(&response);
    cw_http_free(http);
    return rc;
}
