/* SPDX-License-Identifier: Apache-2.0 */
/* How the FHIR side of real servers departs from the rules: what they refuse, and what they say beside the answer. */
#ifndef CW_SANDBOX_FHIR_QUIRK_H
#define CW_SANDBOX_FHIR_QUIRK_H

#include "sandbox/hospital.h"

/* One read or search that is about to be answered. */
struct fhir_ask {
    const struct site *site;
    struct cw_request *request;
    struct cw_reply *reply;
    const struct cw_sbx_type *type;
    struct cw_span id;                   /* of a read; absent for a search */
    const struct cw_sbx_params *params;  /* of a search; NULL for a read */
    struct cw_span patient;              /* FHIR id of the token's */
    bool first_page;                     /* of a search */
};

/* True when a quirk of the personality has answered. */
bool fhir_quirk_answers(const struct fhir_ask *ask);
/* The same where the pages are known: true when this one cannot be built (a broken record among its resources). `past` is one behind the last. */
bool fhir_quirk_breaks_page(const struct fhir_ask *ask, size_t from, size_t past);
/* An OperationOutcome with one issue; `detail` is a code in details.coding, or NULL. All texts are literals. */
struct fhir_issue {
    const char *severity, *code, *detail, *text;
};
void reply_issue(struct cw_reply *reply, int status, const struct fhir_issue *issue);
/* The CapabilityStatement as the quirks bend it: is the type listed, with a search, with search parameters? */
bool fhir_quirk_lists(const struct site *site, const struct cw_sbx_type *type);
bool fhir_quirk_lists_params(const struct site *site);
const char *fhir_quirk_version(const struct site *site) CW_RETURNS_NONNULL;
/* Another id that the patient's was merged into; appended to the id. */
#define CW_SBX_MERGED_TAIL "-merged"

#endif
