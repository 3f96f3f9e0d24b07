/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON request bodies by table: each field's kind and limits stand in one row, checked before the handler sees a value.
 * The first fault is answered, naming the field.
 */
#ifndef CW_API_BODY_H
#define CW_API_BODY_H

#include "base/json.h"
#include "web/web.h"

enum cw_field_kind {
    CW_FIELD_TEXT,    /* min..max code points, no control characters */
    CW_FIELD_EMAIL,   /* addr-spec as mail clients write it, at most CW_EMAIL_MAX bytes */
    CW_FIELD_INT,     /* min..max; 1800.0 is an integer to JSON Schema, so here too */
    CW_FIELD_TEXTS,   /* array of at most max texts, each 1..CW_URL_MAX bytes */
    CW_FIELD_METADATA /* object of at most CW_METADATA_KEYS_MAX members, kept as the bytes sent */
};
struct cw_field {
    const char *name;
    enum cw_field_kind kind;
    int64_t min, max;
    bool required;
    bool nullable;
};
#define CW_FIELDS_MAX 16

struct cw_body {
    const struct cw_field *table; /* ends with name NULL */
    struct {
        bool sent;                /* null counts as sent */
        struct cw_span text;      /* TEXT, EMAIL, METADATA (bytes); absent for null */
        int64_t number;
        const json_t *array;
    } values[CW_FIELDS_MAX];
};

/* What is wrong with a body. */
struct cw_body_fault {
    const char *code;    /* of the envelope */
    const char *param;   /* a name of the table, or an unknown name in the arena; NULL when it cannot be shown */
    const char *message;
};
/* Checks `json`, whose bytes are `text`, against the table; `strict` refuses unknown fields. False fills *ret_fault.
 * Values borrow from json and text. */
bool cw_body_check(const json_t *json, struct cw_span text, const struct cw_field *table, bool strict,
                   struct cw_arena *arena, struct cw_body *ret_body, struct cw_body_fault *ret_fault)
    CW_NONNULL(1, 3, 5, 6, 7) CW_MUST_USE;
/* The same for a request, answering the fault. */
bool cw_body_read(struct cw_request *request, struct cw_reply *reply, const struct cw_field *table, bool strict,
                  struct cw_body *ret_body) CW_NONNULL(1, 2, 3, 5) CW_MUST_USE;

/* By name; asking for one that the table has not is a bug. Absent span: not sent, or null. */
struct cw_span cw_body_text(const struct cw_body *body, const char *name) CW_NONNULL(1, 2);
int64_t cw_body_int(const struct cw_body *body, const char *name, int64_t fallback) CW_NONNULL(1, 2);
/* NULL when not sent. */
const json_t *cw_body_array(const struct cw_body *body, const char *name) CW_NONNULL(1, 2);
bool cw_body_sent(const struct cw_body *body, const char *name) CW_NONNULL(1, 2);

#endif
