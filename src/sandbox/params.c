/* SPDX-License-Identifier: Apache-2.0 */
/* Pairs in an array on the caller's stack, their text in the caller's arena. */
#include "config.h"
#include "sandbox/params.h"

#include "base/text.h"

static enum cw_code decode(struct cw_span raw, struct cw_arena *arena, struct cw_span *ret_text)
{
    CW_AUTO_STR text;
    cw_str_init(&text, raw.len + 1);
    enum cw_code rc = cw_percent_decode(raw, true, &text);
    if (rc != CW_OK) {
        return rc;
    }
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.buf[i];
        if ((c < 0x20 && c != '\n' && c != '\r') || c == 0x7f) {
            return CW_E_SYNTAX;
        }
    }
    if (!cw_utf8_valid(cw_str_span(&text))) {
        return CW_E_SYNTAX;
    }
    *ret_text = cw_arena_span(arena, cw_span_of(cw_str_cstr(&text), text.len));
    return ret_text->ptr == NULL ? CW_E_OOM : CW_OK;
}

enum cw_code cw_sbx_params_parse(struct cw_span text, struct cw_arena *arena, struct cw_sbx_params *ret_params)
{
    ret_params->count = 0;
    struct cw_span pair, name;
    bool more = text.len > 0;
    while (more) {
        more = cw_span_cut(&text, '&', &pair);
        if (pair.len == 0) {
            continue;
        }
        if (ret_params->count == CW_SBX_PARAMS_PAIRS_MAX) {
            return CW_E_TOO_BIG;
        }
        cw_span_cut(&pair, '=', &name);
        enum cw_code rc = decode(name, arena, &ret_params->pairs[ret_params->count].name);
        if (rc == CW_OK) {
            rc = decode(pair, arena, &ret_params->pairs[ret_params->count].value);
        }
        if (rc != CW_OK) {
            return rc;
        }
        ret_params->count++;
    }
    return CW_OK;
}

struct cw_span cw_sbx_param(const struct cw_sbx_params *params, const char *name)
{
    for (size_t i = 0; i < params->count; i++) {
        if (cw_span_eq_cstr(params->pairs[i].name, name)) {
            return params->pairs[i].value;
        }
    }
    return (struct cw_span){ NULL, 0 };
}

size_t cw_sbx_param_times(const struct cw_sbx_params *params, const char *name)
{
    size_t times = 0;
    for (size_t i = 0; i < params->count; i++) {
        times += cw_span_eq_cstr(params->pairs[i].name, name) ? 1 : 0;
    }
    return times;
}
