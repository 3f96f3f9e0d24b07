/* SPDX-License-Identifier: Apache-2.0 */
/* Organizations (tenants): each is sandbox or production, and nothing crosses over. */
#ifndef CW_MODEL_ORG_H
#define CW_MODEL_ORG_H

#include "model/model.h"

struct cw_org {
    struct cw_org_id id;
    enum cw_environment environment;
    struct cw_span name;
    struct cw_span identifier_system;  /* in effect: its own or the configured one */
    bool direct_press;
    int64_t created_us;
};

/* CW_E_CONFLICT when the name is taken in the environment; CW_E_RANGE when it is empty, over 200 characters or has controls. */
enum cw_code cw_org_create(struct cw_model *m, const struct cw_actor *actor, struct cw_span name,
                           enum cw_environment environment, struct cw_org_id *ret, struct cw_err *err) CW_MUST_USE;
enum cw_code cw_org_get(struct cw_model *m, struct cw_org_id id, struct cw_arena *arena, struct cw_org *ret,
                        struct cw_err *err) CW_MUST_USE;
/* By org_… id or by exact name (CW_E_CONFLICT when the name is in both environments). */
enum cw_code cw_org_find(struct cw_model *m, struct cw_span id_or_name, struct cw_arena *arena, struct cw_org *ret,
                         struct cw_err *err) CW_MUST_USE;
enum cw_code cw_org_list(struct cw_model *m, struct cw_arena *arena, struct cw_org **ret, size_t *ret_count,
                         struct cw_err *err) CW_MUST_USE;

/* Allows an origin ("https://app.example[:port]") or a private-use scheme ("com.example.app:") as target of return_url. Idempotent. CW_E_RANGE. */
enum cw_code cw_org_return_add(struct cw_model *m, const struct cw_actor *actor, struct cw_org_id org,
                               struct cw_span target, struct cw_err *err) CW_MUST_USE;
/* True in *ret when `target` (an origin or scheme in that form) is allowed. */
enum cw_code cw_org_return_allowed(struct cw_model *m, struct cw_org_id org, struct cw_span target, bool *ret,
                                   struct cw_err *err) CW_MUST_USE;
enum cw_code cw_org_return_list(struct cw_model *m, struct cw_org_id org, struct cw_arena *arena, struct cw_span **ret,
                                size_t *ret_count, struct cw_err *err) CW_MUST_USE;

#endif
