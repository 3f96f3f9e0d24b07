/* SPDX-License-Identifier: Apache-2.0 */
/* A vault over fresh master keys in a folder of its own, for the suites of this room. */
#ifndef CW_TESTS_VAULT_H
#define CW_TESTS_VAULT_H

#include <check.h>

#include "base/str.h"
#include "vault/vault.h"

struct vault_fixture {
    char dir[64];
    char paths[3][96]; /* key files one, two, three */
};
void vault_fixture_init(struct vault_fixture *fixture);
void vault_fixture_release(struct vault_fixture *fixture);
/* `spec` is the value of master_keys with %1 %2 %3 for the paths; `active` may be "". */
enum cw_code vault_fixture_open(const struct vault_fixture *fixture, const char *spec, const char *active,
                                struct cw_vault **ret_vault, struct cw_err *err);
/* The vault over key one, or the test fails. */
struct cw_vault *vault_fixture_vault(const struct vault_fixture *fixture);

Suite *vault_token_suite(void);
Suite *vault_jose_suite(void);
Suite *vault_jws_suite(void);

#endif
