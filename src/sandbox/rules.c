/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's part of the state: fault rules and registrations. */
#include "config.h"
#include "sandbox/state.h"

#include <stdlib.h>

#include "sandbox/state_int.h"

/* --- journal --- */

static void write_rule(const struct cw_sbx_rule *rule, struct cw_str *out)
{
    struct cw_jsonw w;
    cw_jsonw_init(&w, out);
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "op", "rule");
    cw_jsonw_key(&w, "rule");
    cw_sbx_rule_emit(rule, &w);
    cw_jsonw_close_object(&w);
    (void)!cw_jsonw_end(&w);
}

/* {"op":"rule_left","number":n,"left":m}: m = 0 means cleared or used up. */
static void write_left(unsigned number, int64_t left, struct cw_str *out)
{
    cw_str_addf(out, "{\"op\":\"rule_left\",\"number\":%u,\"left\":%lld}", number, (long long)left);
}

static void write_client(const struct cw_sbx_client *client, struct cw_str *out)
{
    cw_str_add_cstr(out, "{\"op\":\"client\",\"client\":");
    cw_json_emit(cw_sbx_client_json(client), out);
    cw_str_add_char(out, '}');
}

/* A later registration has the same id. */
static bool is_replaced(const struct cw_sbx_state *state, size_t at)
{
    for (size_t i = at + 1; i < state->client_count; i++) {
        if (strcmp(cw_sbx_client_id(state->clients[i]), cw_sbx_client_id(state->clients[at])) == 0) {
            return true;
        }
    }
    return false;
}

void rules_snapshot(const struct cw_sbx_state *state, struct cw_str *out)
{
    for (size_t i = 0; i < state->rule_count; i++) {
        write_rule(&state->rules[i], out);
        cw_str_add_char(out, '\n');
    }
    for (size_t i = state->fixed_clients; i < state->client_count; i++) {
        if (!is_replaced(state, i)) {
            write_client(state->clients[i], out);
            cw_str_add_char(out, '\n');
        }
    }
}

static void drop_rule(struct cw_sbx_state *state, size_t at)
{
    memmove(&state->rules[at], &state->rules[at + 1], (state->rule_count - at - 1) * sizeof(state->rules[0]));
    state->rule_count--;
}

static void set_left(struct cw_sbx_state *state, unsigned number, int64_t left)
{
    for (size_t i = 0; i < state->rule_count; i++) {
        if (state->rules[i].number == number) {
            state->rules[i].left = left;
            if (left == 0) {
                drop_rule(state, i);
            }
            return;
        }
    }
}

static enum cw_code apply_rule(struct cw_sbx_state *state, const json_t *line)
{
    struct cw_sbx_rule rule;
    const json_t *object = json_object_get(line, "rule");
    if (state->rule_count == CW_SBX_RULES_MAX || !json_is_object(object) || cw_sbx_rule_parse(object, &rule, NULL) != CW_OK) {
        return CW_E_SYNTAX;
    }
    rule.number = (unsigned)json_integer_value(json_object_get(object, "number"));
    state->last_rule = rule.number > state->last_rule ? rule.number : state->last_rule;
    state->rules[state->rule_count++] = rule;
    return CW_OK;
}

enum cw_code rules_apply(struct cw_sbx_state *state, const char *op, const json_t *line)
{
    if (strcmp(op, "rule") == 0) {
        return apply_rule(state, line);
    }
    if (strcmp(op, "rule_left") == 0) {
        set_left(state, (unsigned)json_integer_value(json_object_get(line, "number")),
                 json_integer_value(json_object_get(line, "left")));
        return CW_OK;
    }
    if (strcmp(op, "client") == 0) {
        const json_t *object = json_object_get(line, "client");
        return json_is_object(object) ? cw_sbx_client_put(state, object, NULL) : CW_E_SYNTAX;
    }
    return CW_E_UNSUPPORTED;
}

/* --- rules --- */

enum cw_code cw_sbx_rule_put(struct cw_sbx_state *state, const struct cw_sbx_rule *rule, unsigned *ret_number, struct cw_err *err)
{
    pthread_mutex_lock(&state->lock);
    enum cw_code rc = CW_OK;
    if (state->rule_count == CW_SBX_RULES_MAX) {
        rc = cw_err_set(err, CW_E_TOO_BIG, "sandbox.rules", "too many fault rules");
    } else {
        CW_AUTO_STR line;
        cw_str_init(&line, STATE_LINE_MAX);
        struct cw_sbx_rule *mine = &state->rules[state->rule_count++];
        *mine = *rule;
        mine->number = ++state->last_rule;
        *ret_number = mine->number;
        write_rule(mine, &line);
        state_journal(state, cw_str_span(&line));
    }
    pthread_mutex_unlock(&state->lock);
    return rc;
}

void cw_sbx_rules_emit(struct cw_sbx_state *state, struct cw_jsonw *w)
{
    pthread_mutex_lock(&state->lock);
    cw_jsonw_open_array(w);
    for (size_t i = 0; i < state->rule_count; i++) {
        cw_sbx_rule_emit(&state->rules[i], w);
    }
    cw_jsonw_close_array(w);
    pthread_mutex_unlock(&state->lock);
}

static void journal_left(struct cw_sbx_state *state, unsigned number, int64_t left)
{
    CW_AUTO_STR line;
    cw_str_init(&line, STATE_LINE_MAX);
    write_left(number, left, &line);
    state_journal(state, cw_str_span(&line));
}

size_t cw_sbx_rules_clear(struct cw_sbx_state *state, unsigned number)
{
    size_t cleared = 0;
    pthread_mutex_lock(&state->lock);
    for (size_t i = state->rule_count; i-- > 0;) {
        unsigned at = state->rules[i].number;
        if (number == 0 || number == at) {
            drop_rule(state, i);
            journal_left(state, at, 0);
            cleared++;
        }
    }
    pthread_mutex_unlock(&state->lock);
    return cleared;
}

void cw_sbx_faults_take(struct cw_sbx_state *state, const struct cw_sbx_occasion *o, struct cw_sbx_faults *ret_faults)
{
    *ret_faults = (struct cw_sbx_faults){ .kinds = 0 };
    pthread_mutex_lock(&state->lock);
    for (size_t i = state->rule_count; i-- > 0;) {
        struct cw_sbx_rule *rule = &state->rules[i];
        if (!cw_sbx_rule_fits(rule, o)) {
            continue;
        }
        cw_sbx_faults_add(ret_faults, rule->kind, rule->seconds);
        if (rule->left > 0) {
            unsigned number = rule->number;
            int64_t left = rule->left - 1;
            set_left(state, number, left);
            journal_left(state, number, left);
        }
    }
    if (o->persona >= 0) {
        struct grant *grant = o->grant == NULL ? NULL : grant_find(state, cw_span_cstr(o->grant));
        cw_sbx_nature((size_t)o->persona, o->point, o->type, grant == NULL ? NULL : grant->hits, ret_faults);
    }
    pthread_mutex_unlock(&state->lock);
}

/* --- registrations --- */

const struct cw_sbx_client *cw_sbx_client_find(struct cw_sbx_state *state, struct cw_span id)
{
    const struct cw_sbx_client *found = NULL;
    pthread_mutex_lock(&state->lock);
    for (size_t i = state->client_count; i-- > 0 && found == NULL;) {
        if (cw_span_eq_cstr(id, cw_sbx_client_id(state->clients[i]))) {
            found = state->clients[i];
        }
    }
    pthread_mutex_unlock(&state->lock);
    return found;
}

enum cw_code cw_sbx_client_put(struct cw_sbx_state *state, const json_t *object, struct cw_err *err)
{
    struct cw_sbx_client *client = NULL;
    enum cw_code rc = cw_sbx_client_new(object, cw_span_cstr(state->origin), &client, err);
    if (rc != CW_OK) {
        return rc;
    }
    bool live = !state->quiet;
    if (live) {
        pthread_mutex_lock(&state->lock);
    }
    if (state->client_count == CW_SBX_CLIENTS_MAX) {
        cw_sbx_client_free(client);
        rc = cw_err_set(err, CW_E_TOO_BIG, "sandbox.clients", "too many registrations");
    } else {
        CW_AUTO_STR line;
        cw_str_init(&line, STATE_LINE_MAX);
        state->clients[state->client_count++] = client;
        write_client(client, &line);
        state_journal(state, cw_str_span(&line));
    }
    if (live) {
        pthread_mutex_unlock(&state->lock);
    }
    return rc;
}
