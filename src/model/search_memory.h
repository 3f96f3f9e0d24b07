/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Searches that an endpoint refused as they were planned, and what it took in their place, so that the next pull begins with what works.
 * Another version of the endpoint's software, or a month, and it is asked anew. Nothing of a patient is kept.
 */
#ifndef CW_MODEL_SEARCH_MEMORY_H
#define CW_MODEL_SEARCH_MEMORY_H

#include "model/source.h"

struct cw_search_form {
    struct cw_span type;   /* of the resources */
    struct cw_span param;  /* that says whose: "patient" */
    struct cw_span query;  /* behind it, as in the URL; may be empty */
};

/* `worked` is the query that was taken in place of planned->query. Nothing is kept for an endpoint that is not known. CW_E_TOO_BIG: over CW_URL_MAX. */
enum cw_code cw_search_learn(struct cw_model *m, struct cw_endpoint_id endpoint, const struct cw_search_form *planned,
                             struct cw_span worked, struct cw_err *err) CW_MUST_USE;

/* All that is known of an endpoint, to be looked up in. */
struct cw_search_memory;
enum cw_code cw_search_recall(struct cw_model *m, struct cw_endpoint_id endpoint, struct cw_arena *arena,
                              struct cw_search_memory **ret, struct cw_err *err) CW_MUST_USE;
/* The query to ask with: what worked, else the planned one. */
struct cw_span cw_search_instead(const struct cw_search_memory *memory, const struct cw_search_form *planned);

#endif
