/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's personalities, kept in the state beside registrations: replaced ones stay until the end, since requests hold their texts. */
#include "config.h"
#include "sandbox/state.h"

#include <stdlib.h>

#include "sandbox/state_int.h"

static void write_made(const struct made *made, struct cw_str *out)
{
    cw_str_add_cstr(out, "{\"op\":\"personality\",\"personality\":");
    cw_json_emit(made->object, out);
    cw_str_add_char(out, '}');
}

static void made_free(struct made *made)
{
    if (made != NULL) {
        json_decref(made->object);
        free(made);
    }
}

static enum cw_code made_new(const json_t *object, struct made **ret_made, struct cw_err *err)
{
    struct made *made = calloc(1, sizeof(*made));
    if (made == NULL || (made->object = json_deep_copy(object)) == NULL) {
        free(made);
        return cw_err_set(err, CW_E_OOM, "sandbox.personality", "out of memory");
    }
    enum cw_code rc = cw_sbx_personality_parse(made->object, &made->personality, err);
    if (rc != CW_OK) {
        made_free(made);
        return rc;
    }
    *ret_made = made;
    return CW_OK;
}

static bool same_name(const struct made *a, const struct made *b)
{
    return strcmp(a->personality.name, b->personality.name) == 0;
}

static bool is_replaced(const struct cw_sbx_state *state, size_t at)
{
    for (size_t i = at + 1; i < state->made_count; i++) {
        if (same_name(state->made[i], state->made[at])) {
            return true;
        }
    }
    return false;
}

/* Takes `made`, also when it fails. */
static enum cw_code keep(struct cw_sbx_state *state, struct made *made, struct cw_err *err)
{
    if (state->made_count == CW_SBX_PERSONALITIES_MAX) {
        made_free(made);
        return cw_err_set(err, CW_E_TOO_BIG, "sandbox.personality", "too many personalities");
    }
    CW_AUTO_STR line;
    cw_str_init(&line, STATE_LINE_MAX);
    state->made[state->made_count++] = made;
    write_made(made, &line);
    state_journal(state, cw_str_span(&line));
    return CW_OK;
}

enum cw_code personalities_apply(struct cw_sbx_state *state, const char *op, const json_t *line)
{
    const json_t *object = json_object_get(line, "personality");
    struct made *made = NULL;
    if (strcmp(op, "personality") != 0) {
        return CW_E_UNSUPPORTED;
    }
    enum cw_code rc = json_is_object(object) ? made_new(object, &made, NULL) : CW_E_SYNTAX;
    return rc == CW_OK ? keep(state, made, NULL) : rc;
}

void personalities_snapshot(const struct cw_sbx_state *state, struct cw_str *out)
{
    for (size_t i = 0; i < state->made_count; i++) {
        if (!is_replaced(state, i)) {
            write_made(state->made[i], out);
            cw_str_add_char(out, '\n');
        }
    }
}

void personalities_release(struct cw_sbx_state *state)
{
    for (size_t i = 0; i < state->made_count; i++) {
        made_free(state->made[i]);
    }
    state->made_count = 0;
}

/* --- what requests ask --- */

bool cw_sbx_personality_find(struct cw_sbx_state *state, struct cw_span name, struct cw_sbx_personality *ret)
{
    bool found = false;
    pthread_mutex_lock(&state->lock);
    for (size_t i = state->made_count; i-- > 0 && !found;) {
        found = cw_span_eq_cstr(name, state->made[i]->personality.name);
        if (found) {
            *ret = state->made[i]->personality;
        }
    }
    pthread_mutex_unlock(&state->lock);
    return found || cw_sbx_personality_builtin(name, ret);
}

enum cw_code cw_sbx_personality_put(struct cw_sbx_state *state, const json_t *object, struct cw_err *err)
{
    struct made *made = NULL;
    enum cw_code rc = made_new(object, &made, err);
    if (rc != CW_OK) {
        return rc;
    }
    pthread_mutex_lock(&state->lock);
    rc = keep(state, made, err);
    pthread_mutex_unlock(&state->lock);
    return rc;
}

void cw_sbx_personalities_each(struct cw_sbx_state *state, cw_sbx_personality_fn *fn, void *arg)
{
    for (size_t i = 0; i < cw_sbx_personality_count(); i++) {
        fn(cw_sbx_personality_at(i), arg);
    }
    pthread_mutex_lock(&state->lock);
    for (size_t i = 0; i < state->made_count; i++) {
        if (!is_replaced(state, i)) {
            fn(&state->made[i]->personality, arg);
        }
    }
    pthread_mutex_unlock(&state->lock);
    for (unsigned i = CW_SBX_QUIRK_NONE + 1; i < CW_SBX_QUIRK__COUNT; i++) {
        struct cw_sbx_personality one;
        if (cw_sbx_personality_builtin(cw_span_cstr(cw_sbx_quirk_name((enum cw_sbx_quirk)i)), &one)) {
            fn(&one, arg);
        }
    }
}
