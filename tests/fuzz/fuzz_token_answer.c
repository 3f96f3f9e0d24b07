/* SPDX-License-Identifier: Apache-2.0 */
/* smart/token: the first two bytes are the status, the rest the body. A token that is accepted fits into a header. */
#include "config.h"

#include <stdint.h>

#include "base/limits.h"
#include "model/dynamic_client.h"
#include "smart/id_token.h"
#include "smart/patient_context.h"
#include "smart/register.h"
#include "smart/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct cw_profile profile = { .patient_claim = "local_patient_id" };
    if (size < 2) {
        return 0;
    }
    long status = (data[0] << 8 | data[1]) % 600;
    struct cw_span body = cw_span_of(data + 2, size - 2);
    CW_AUTO_GRANT grant;
    cw_smart_grant_init(&grant);
    enum cw_token_outcome outcome = cw_smart_token_parse(status, body, 1700000000000000, &grant);
    if ((outcome == CW_TOKEN_OK) != (grant.access_token.len > 0) || grant.access_token.len > CW_TOKEN_MAX ||
        (outcome == CW_TOKEN_OK && (status < 200 || status > 299 || strpbrk(grant.access_token.ptr, "\r\n ") != NULL))) {
        abort();
    }
    CW_AUTO_STR patient;
    cw_str_init(&patient, CW_FHIR_ID_MAX);
    (void)!cw_patient_from_claims(body, &profile, &patient);
    cw_str_clear(&patient);
    (void)!cw_patient_from_bundle(body, &patient);
    cw_str_clear(&patient);
    (void)!cw_patient_from_claims_bundle(body, "https://h.example/fhir", &patient);
    cw_str_clear(&patient);
    (void)!cw_patient_from_userinfo(body, "https://h.example/fhir", CW_SPAN("s"), &patient);
    cw_str_clear(&patient);
    if (cw_patient_from_fhir_user(body, "https://h.example/fhir", &patient) && (patient.len == 0 || patient.len > CW_FHIR_ID_MAX)) {
        abort();
    }
    CW_AUTO_STR client;
    cw_str_init(&client, CW_CLIENT_ID_MAX);
    if (cw_register_answer(status, body, &client, NULL) == CW_OK && client.len == 0) {
        abort();
    }
    struct cw_id_token_identity identity;
    cw_id_token_identity_init(&identity);
    const struct cw_id_token_check check = { .client_id = CW_SPAN("us"), .issuer = CW_SPAN("i"), .nonce = CW_SPAN("n") };
    if (cw_id_token_check(body, &check, &identity, NULL) == CW_ID_TOKEN_GOOD) { /* without a key nothing is good */
        abort();
    }
    cw_id_token_identity_release(&identity);
    return 0;
}
