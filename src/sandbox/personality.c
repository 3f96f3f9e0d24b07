/* SPDX-License-Identifier: Apache-2.0 */
/* The built-in personalities, and reading those of the operator. */
#include "config.h"
#include "sandbox/personality.h"

#define SOFTWARE "Chartway Sandbox"
#define PUBLISHER "Chartway"
#define TEXT_MAX 200u

const struct cw_sbx_personality cw_sbx_plain = { .name = "", .doc = "The hospital without quirks.", .software = SOFTWARE,
                                                 .publisher = PUBLISHER };

static const struct cw_sbx_personality builtin[] = {
    { "epic", "Epic: scopes fixed at registration, no revocation, pages for unknown paths.", "Epic", "Epic",
      { CW_SBX_QUIRK_SCOPES_UNLISTED, CW_SBX_QUIRK_NO_REVOCATION, CW_SBX_QUIRK_HTML_FOR_UNKNOWN } },
};

size_t cw_sbx_personality_count(void)
{
    return CW_ARRAY_LEN(builtin);
}

const struct cw_sbx_personality *cw_sbx_personality_at(size_t at)
{
    return &builtin[at];
}

bool cw_sbx_personality_builtin(struct cw_span name, struct cw_sbx_personality *ret)
{
    for (size_t i = 0; i < CW_ARRAY_LEN(builtin); i++) {
        if (cw_span_eq_cstr(name, builtin[i].name)) {
            *ret = builtin[i];
            return true;
        }
    }
    enum cw_sbx_quirk quirk;
    if (!cw_sbx_quirk_find(name, &quirk)) {
        return false;
    }
    *ret = cw_sbx_plain;
    ret->name = cw_sbx_quirk_name(quirk);
    ret->doc = cw_sbx_quirk_doc(quirk);
    ret->quirks[0] = quirk;
    return true;
}

bool cw_sbx_personality_has(const struct cw_sbx_personality *personality, enum cw_sbx_quirk quirk)
{
    const enum cw_sbx_quirk *at = personality->quirks;
    while (*at != CW_SBX_QUIRK_NONE && *at != quirk) {
        at++;
    }
    return *at == quirk && quirk != CW_SBX_QUIRK_NONE;
}

/* --- the operator's --- */

static enum cw_code wrong(struct cw_err *err, enum cw_code code, const char *text)
{
    return cw_err_set(err, code, "sandbox.personality", "%s", text);
}

static bool is_name(struct cw_span text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) {
            return false;
        }
    }
    return text.len > 0 && text.len <= CW_SBX_PERSONALITY_NAME_MAX;
}

static enum cw_code take_text(const json_t *object, const char *key, const char **out, struct cw_err *err)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL) {
        return CW_OK;
    }
    if (!json_is_string(value) || json_string_length(value) > TEXT_MAX) {
        return wrong(err, CW_E_KIND, "doc, software and publisher are short texts");
    }
    *out = json_string_value(value);
    return CW_OK;
}

static enum cw_code take_quirks(const json_t *object, struct cw_sbx_personality *out, struct cw_err *err)
{
    const json_t *list = json_object_get(object, "quirks");
    if (!json_is_array(list) || json_array_size(list) > CW_SBX_PERSONALITY_QUIRKS_MAX) {
        return wrong(err, CW_E_KIND, "quirks is not a short array");
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        if (!cw_sbx_quirk_find(cw_span_of(json_string_value(one), json_string_length(one)), &out->quirks[i])) {
            return wrong(err, CW_E_RANGE, "quirks names one that does not exist");
        }
    }
    return CW_OK;
}

enum cw_code cw_sbx_personality_parse(const json_t *object, struct cw_sbx_personality *ret, struct cw_err *err)
{
    struct cw_sbx_personality made = cw_sbx_plain, taken;
    struct cw_span name;
    enum cw_code rc = cw_json_text(object, "name", &name, err);
    if (rc != CW_OK) {
        return rc;
    }
    if (!is_name(name) || cw_sbx_personality_builtin(name, &taken)) {
        return wrong(err, CW_E_RANGE, "name is of a-z, 0-9 and '-', and not taken");
    }
    made.name = name.ptr;
    made.doc = "Made by the operator.";
    rc = take_quirks(object, &made, err);
    if (rc == CW_OK) {
        rc = take_text(object, "doc", &made.doc, err);
    }
    if (rc == CW_OK) {
        rc = take_text(object, "software", &made.software, err);
    }
    if (rc == CW_OK) {
        rc = take_text(object, "publisher", &made.publisher, err);
    }
    if (rc == CW_OK) {
        *ret = made;
    }
    return rc;
}

void cw_sbx_personality_emit(const struct cw_sbx_personality *personality, struct cw_jsonw *w)
{
    cw_jsonw_open_object(w);
    cw_jsonw_key_cstr(w, "name", personality->name);
    cw_jsonw_key_cstr(w, "doc", personality->doc);
    cw_jsonw_key_cstr(w, "software", personality->software);
    cw_jsonw_key_cstr(w, "publisher", personality->publisher);
    cw_jsonw_key(w, "quirks");
    cw_jsonw_open_array(w);
    for (const enum cw_sbx_quirk *quirk = personality->quirks; *quirk != CW_SBX_QUIRK_NONE; quirk++) {
        cw_jsonw_cstr(w, cw_sbx_quirk_name(*quirk));
    }
    cw_jsonw_close_array(w);
    cw_jsonw_close_object(w);
}
