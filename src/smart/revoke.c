/* SPDX-License-Identifier: Apache-2.0 */
/* Revocation: the same POST as for a token, and a short table of what answers mean. */
#include "config.h"

#include "smart/revoke.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/text.h"
#include "smart/token_int.h"

/* RFC 7009 2.2: 200 for known and unknown tokens alike; 503: the token still lives. */
static enum cw_code meaning_of(const struct cw_http_response *response, struct cw_err *err)
{
    long status = response->status;
    struct cw_smart_grant answer;
    cw_smart_grant_init(&answer);
    enum cw_code rc = CW_OK;
    if (status < 200 || status > 299) {
        enum cw_token_outcome said = cw_smart_token_parse(status, cw_str_span(&response->body), 0, &answer);
        bool never = status == 404 || status == 405 || status == 501 || strcmp(answer.error, "unsupported_token_type") == 0;
        rc = never                                          ? CW_E_UNSUPPORTED
             : said == CW_TOKEN_INVALID_GRANT               ? CW_OK
             : status == 429                                ? CW_E_LIMITED
             : said == CW_TOKEN_BUSY                        ? CW_E_UNAVAILABLE
             : said == CW_TOKEN_INVALID_CLIENT || status == 401 ? CW_E_AUTH
                                                            : CW_E_UPSTREAM;
    }
    cw_smart_grant_release(&answer);
    return rc == CW_OK ? rc : cw_err_sys(err, rc, (int)status, "revoke", "answered with status %ld", status);
}

enum cw_code cw_smart_revoke_wish(struct cw_http *http, const struct cw_smart_client *client,
                                  const struct cw_revoke_wish *wish, long *ret_retry_after_s, struct cw_err *err)
{
    CW_AUTO_STR form;
    cw_str_init_secret(&form, CW_TOKEN_BODY_MAX);
    (void)cw_form_add(&form, "token", wish->token);
    (void)cw_form_add(&form, "token_type_hint",
                      wish->hint == CW_REVOKE_REFRESH_TOKEN ? CW_SPAN("refresh_token") : CW_SPAN("access_token"));
    struct cw_http_response response;
    cw_http_response_init(&response);
    *ret_retry_after_s = -1;
    const struct cw_token_place place = { "revoke", wish->endpoint, 0 };
    enum cw_code rc = cw_token_post(http, client, &place, &form, &response, err);
    if (rc == CW_OK) {
        *ret_retry_after_s = response.retry_after_s;
        rc = meaning_of(&response, err);
    }
    cw_http_response_release(&response);
    return rc;
}

enum cw_code cw_smart_revoke(struct cw_http *http, const struct cw_smart_client *client, const char *revocation_endpoint,
                             struct cw_span token, enum cw_revoke_hint hint, struct cw_err *err)
{
    const struct cw_revoke_wish wish = { revocation_endpoint, token, hint };
    long retry_after_s;
    return cw_smart_revoke_wish(http, client, &wish, &retry_after_s, err);
}
