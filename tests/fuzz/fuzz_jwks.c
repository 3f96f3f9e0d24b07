/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JWK Set from outside, held against four tokens that were once signed with keys known here. No set but one with the public half of
 * the very key may make its token good: each number of the right key must stand in it.
 */
#include "config.h"

#include "base/json.h"
#include "base/limits.h"
#include "os/sys.h"
#include "vault/jose.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* clang-format off */
static const char *const tokens[CW_ALG__COUNT] = {
    "eyJhbGciOiJSUzI1NiIsImtpZCI6ImstUlMyNTYifQ.eyJpc3MiOiJmdXp6In0.XKlGoYlP8ewKjDAeNuhmVkQxeRGzT54D"
    "lwEOvesSOv-QDBfGn7CHdADsBrVzQHfRUdypCqWf0ERZkDnT-A2rJt1CiYb7dAsUaEXwkdViUn7SBm10rPeqv7hdoYMVOMRw4DKQ"
    "nmM75CAofnaiPfqHbNW1WvAGeWQG57SebA3wLsvDdyg9fckOxNp6peexXG1cBsDQmRN9SX_8gkT9Yl1Y4C7gZ5vI4LXNwU63mj-m"
    "9cQODlPD0_F-hDv47mPxrDaOGOdFHnN4Za_NFRnFObpFTg7hTeX2asvCfBn08r8zbOaxJpdKhe3zpx3EVhbwhGoej-8SKSaCKiZh"
    "INV93Hq2nQ",
    "eyJhbGciOiJSUzM4NCIsImtpZCI6ImstUlMzODQifQ.eyJpc3MiOiJmdXp6In0.GudU5SBpnIuHFmai5iyc1OPBZJcDmPib"
    "o7L7oyQE7B42KKbkwA8Y-4rYGJx0xd9CutHTV3EK10FBnEuHCyLGLq5uJ7i7xuC0JybHQ-g2OjNa4rxsWWl4XGGeYMA0cHkX0-oM"
    "9oKMwTrWEW6xuYy6_a7aTQA0el9I02fDHjaj9V-_sWcgVUm74WAUBquTWiKciQrPiZnzigW2_bOPXBJymjHBLcHYtOeI3MBAF5iy"
    "CfVqS0EakPaLASd8gcGkDXPXnQ81RDqkt6R9gRXv5iY6EOYdMnntcWt29cF-suR3n4HonjfMTFc1nlMDr2_YmTjhszn-Jfj8OGRc"
    "uKxyNcmJSg",
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImstRVMyNTYifQ.eyJpc3MiOiJmdXp6In0.LlXAtN3sAOS_ThbG_nGXnB2_Y238DC18"
    "qh-xcKyrM_O3A-5i0n4xp0f9QgTfdj56eeCMm4wEHBooXBofG9QZUQ",
    "eyJhbGciOiJFUzM4NCIsImtpZCI6ImstRVMzODQifQ.eyJpc3MiOiJmdXp6In0.2kTeQukGEc0728GvPCq6ihvyRxMgSCDf"
    "FOSdtdLboIR0RAKBbh84vwQcVHZp19IrZUbQVx--ViE0H0YcTPZP0aPSVJkmgZgdxYm3xwT0HHeJREcM6yMiJaPlVpzdXPoy",
};

/* The first letters of n or x of each. */
static const char *const numbers[CW_ALG__COUNT] = {
    "mjt7aKdPHxNWc-26",
    "xa46Q4YwdsfgAWQ4",
    "PlAcvLxm7aDkGXQI",
    "uwJ4pd-uede4jSvc",
};
/* clang-format on */

static bool holds_number(const json_t *jwks, const char *start)
{
    size_t at;
    json_t *jwk;
    json_array_foreach(json_object_get(jwks, "keys"), at, jwk) {
        if (cw_span_starts(cw_json_peek_text(jwk, "n"), cw_span_cstr(start)) ||
            cw_span_starts(cw_json_peek_text(jwk, "x"), cw_span_cstr(start))) {
            return true;
        }
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cw_json_limits limits = { .max_bytes = CW_JWKS_MAX, .max_depth = CW_JSON_DEPTH_MAX };
    CW_AUTO_JSON *jwks = NULL;
    if (cw_json_parse(cw_span_of(data, size), limits, &jwks, NULL) != CW_OK) {
        return 0;
    }
    for (size_t i = 0; i < CW_ALG__COUNT; i++) {
        CW_AUTO_JSON *claims = NULL;
        if (cw_jws_verify(cw_span_cstr(tokens[i]), jwks, &claims, NULL) == CW_OK &&
            (!holds_number(jwks, numbers[i]) || !cw_span_eq_cstr(cw_json_peek_text(claims, "iss"), "fuzz"))) {
            cw_bug("a token is good by another key");
        }
    }
    return 0;
}
