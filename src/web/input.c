/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Query strings and urlencoded forms against a table of inputs. Handlers see only values that were decoded once, are UTF-8 without
 * control characters, and fit the table; each name at most once, because two readers of a repeated name pick different values.
 */
#include "config.h"

#include "web/web_int.h"

#include "base/limits.h"
#include "base/text.h"

/* Longest foreign name that a fault repeats to its sender. */
#define SHOWN_NAME_MAX 64u

static enum cw_code fault(struct cw_input_fault *ret_fault, enum cw_code code, const char *param, const char *message)
{
    *ret_fault = (struct cw_input_fault){ param, message, code != CW_E_RANGE };
    return code;
}

/* Decodes one side of a pair into the arena. CW_E_SYNTAX for what is not clean text. */
static enum cw_code decode(struct cw_arena *arena, struct cw_span raw, struct cw_span *ret_text)
{
    CW_AUTO_STR text;
    cw_str_init(&text, raw.len);
    enum cw_code rc = cw_percent_decode(raw, true, &text);
    if (rc != CW_OK) {
        return rc;
    }
    struct cw_span clean = cw_str_span(&text);
    if (!cw_utf8_valid(clean) || cw_utf8_has_control(clean)) {
        return CW_E_SYNTAX;
    }
    *ret_text = cw_arena_span(arena, clean);
    return ret_text->ptr == NULL ? CW_E_OOM : CW_OK;
}

static const struct cw_input *lookup(const struct cw_input *table, struct cw_span name, size_t *ret_at)
{
    for (size_t i = 0; table != NULL && table[i].name != NULL; i++) {
        if (cw_span_eq_cstr(name, table[i].name)) {
            *ret_at = i;
            return &table[i];
        }
    }
    return NULL;
}

/* "b" is one of "a|b|c". */
static bool is_choice(const char *choices, struct cw_span text)
{
    struct cw_span left = cw_span_cstr(choices);
    struct cw_span choice;
    bool more = true;
    while (more) {
        more = cw_span_cut(&left, '|', &choice);
        if (cw_span_eq(choice, text)) {
            return true;
        }
    }
    return false;
}

static bool fits(const struct cw_input *input, struct cw_span text, int64_t *ret_number)
{
    switch (input->kind) {
    case CW_IN_TEXT: {
        int64_t length = (int64_t)cw_utf8_length(text);
        return length >= input->min && length <= input->max;
    }
    case CW_IN_INT:
        return cw_span_i64(text, input->min, input->max, ret_number);
    case CW_IN_CHOICE:
        return is_choice(input->choices, text);
    }
    return false;
}

static enum cw_code take_value(const struct cw_input *input, struct cw_span text, struct cw_value_in *value,
                               struct cw_input_fault *ret_fault)
{
    if (value->input != NULL) {
        return fault(ret_fault, CW_E_SYNTAX, input->name, "This parameter was given more than once.");
    }
    value->input = input;
    if (text.len == 0 && !input->required) {
        return CW_OK; /* stays absent */
    }
    if (!fits(input, text, &value->number)) {
        static const char *const messages[] = {
            [CW_IN_TEXT] = "This parameter is too short or too long.",
            [CW_IN_INT] = "This parameter is not a whole number in the allowed range.",
            [CW_IN_CHOICE] = "This parameter is not one of the allowed values.",
        };
        return fault(ret_fault, CW_E_RANGE, input->name, messages[input->kind]);
    }
    value->text = text;
    return CW_OK;
}

static enum cw_code take_unknown(struct cw_arena *arena, struct cw_span name, struct cw_input_fault *ret_fault)
{
    const char *shown = NULL;
    if (name.len > 0 && name.len <= SHOWN_NAME_MAX) {
        shown = cw_arena_text(arena, name);
        if (shown == NULL) {
            return CW_E_OOM;
        }
    }
    return fault(ret_fault, CW_E_SYNTAX, shown, "This parameter is not known here.");
}

static enum cw_code take_pair(struct cw_arena *arena, struct cw_span pair, const struct cw_input *table,
                              bool unknown_ok, struct cw_value_in *values, struct cw_input_fault *ret_fault)
{
    struct cw_span raw_name;
    struct cw_span name;
    struct cw_span text;
    size_t at = 0;
    cw_span_cut(&pair, '=', &raw_name);
    enum cw_code rc = decode(arena, raw_name, &name);
    if (rc == CW_E_SYNTAX && unknown_ok) {
        return CW_OK; /* no name of ours */
    }
    const struct cw_input *input = rc == CW_OK ? lookup(table, name, &at) : NULL;
    if (rc == CW_OK && input == NULL) {
        return unknown_ok ? CW_OK : take_unknown(arena, name, ret_fault);
    }
    if (rc == CW_OK) {
        rc = decode(arena, pair, &text);
    }
    if (rc == CW_E_SYNTAX) {
        return fault(ret_fault, rc, input == NULL ? NULL : input->name,
                     "A parameter has broken percent-encoding, invalid UTF-8 or control characters.");
    }
    return rc != CW_OK ? rc : take_value(input, text, &values[at], ret_fault);
}

enum cw_code cw_inputs_parse(struct cw_arena *arena, struct cw_span text, const struct cw_input *table, bool unknown_ok,
                             struct cw_inputs *ret_inputs, struct cw_input_fault *ret_fault)
{
    size_t count = 0;
    while (table != NULL && table[count].name != NULL) {
        count++;
    }
    struct cw_value_in *values = cw_arena_array(arena, count + 1, sizeof *values);
    if (values == NULL) {
        return CW_E_OOM;
    }
    size_t pairs = 0;
    bool more = text.len > 0;
    while (more) {
        struct cw_span pair;
        more = cw_span_cut(&text, '&', &pair);
        if (pair.len == 0) {
            continue;
        }
        if (++pairs > CW_INPUTS_MAX) {
            return fault(ret_fault, CW_E_TOO_BIG, NULL, "Too many parameters.");
        }
        enum cw_code rc = take_pair(arena, pair, table, unknown_ok, values, ret_fault);
        if (rc != CW_OK) {
            return rc;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (table[i].required && values[i].input == NULL) {
            return fault(ret_fault, CW_E_MISSING, table[i].name, "This parameter is required.");
        }
    }
    *ret_inputs = (struct cw_inputs){ values, count };
    return CW_OK;
}

const struct cw_value_in *cw_inputs_find(const struct cw_inputs *inputs, const struct cw_input *table, const char *name)
{
    static const struct cw_value_in not_read = { .input = NULL }; /* the fault came before the inputs were looked at */
    for (size_t i = 0; table != NULL && table[i].name != NULL; i++) {
        if (strcmp(table[i].name, name) == 0) {
            return inputs->values == NULL ? &not_read : &inputs->values[i];
        }
    }
    cw_bug("an input that the route does not have was asked for");
}
