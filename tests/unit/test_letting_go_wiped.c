/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No block of memory is given back with a token or a secret in it: every free and realloc of our own objects goes through here and
 * is looked through. What shared libraries allocate for themselves is not seen; they get ciphertext from us.
 */
#include "config.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/secret.h"
#include "base/time.h"
#include "model/disconnect.h"
#include "model/revocation.h"
#include "tests/unit/test_letting_go.h"

static const char *const canaries[] = { "refresh-canary", "access-canary", "client-canary-2" };
static atomic_bool armed;
static atomic_uint found;

void __real_free(void *ptr);
void *__real_realloc(void *ptr, size_t size);
void __wrap_free(void *ptr);
void *__wrap_realloc(void *ptr, size_t size);

static void look(const void *ptr)
{
    if (ptr == NULL || !atomic_load(&armed)) {
        return;
    }
    size_t size = malloc_usable_size((void *)(uintptr_t)ptr);
    for (size_t i = 0; i < CW_ARRAY_LEN(canaries); i++) {
        if (memmem(ptr, size, canaries[i], strlen(canaries[i])) != NULL) {
            atomic_fetch_add(&found, 1);
        }
    }
}

void __wrap_free(void *ptr)
{
    look(ptr);
    __real_free(ptr);
}

/* It may move, and then frees the old block as it is. */
void *__wrap_realloc(void *ptr, size_t size)
{
    look(ptr);
    return __real_realloc(ptr, size);
}

static void arm(void)
{
    atomic_store(&found, 0);
    atomic_store(&armed, true);
}

static unsigned disarm(void)
{
    atomic_store(&armed, false);
    return atomic_load(&found);
}

START_TEST(the_look_is_not_blind)
{
    char *block = malloc(100);
    ck_assert_ptr_nonnull(block);
    memcpy(block + 20, canaries[0], strlen(canaries[0]));
    arm();
    free(block);
    ck_assert_uint_eq(disarm(), 1);
}
END_TEST

START_TEST(secrets_are_wiped_before_their_memory_is_given_back)
{
    struct cw_grant grant = { .version = 0 };
    struct cw_secret secret = { .ptr = NULL };
    struct cw_job job;
    struct cw_disconnected done;
    struct cw_revocation tokens;
    struct cw_arena *arena = cw_arena_new((size_t)1024 * 1024);
    arm();
    struct lg_connection connected = lg_connect("p", "up-1");
    OK(cw_grant_get(&lg_model, connected.connection.id, &grant, &lg_err));
    ck_assert(cw_span_eq(cw_secret_span(&grant.refresh), CW_SPAN("refresh-canary")));
    cw_grant_release(&grant);
    struct cw_registration *list;
    size_t count = 0;
    OK(cw_registration_list(&lg_model, lg_arena, &list, &count, &lg_err));
    for (size_t i = 0; i < count; i++) {
        OK(cw_registration_secret(&lg_model, list[i].id, &secret, &lg_err));
    }
    ck_assert(count == 2 && secret.len > 0);
    cw_secret_release(&secret);
    OK(cw_connection_disconnect_any(&lg_model, &lg_actor, connected.connection.id, lg_arena, &done, &lg_err));
    OK(cw_job_claim_one(&lg_model, "node/1", CW_JOB_REVOKE, CW_HOUR_US, &job, &lg_err));
    OK(cw_revocation_get(&lg_model, (struct cw_revocation_id){ job.subject }, arena, &tokens, &lg_err));
    ck_assert(cw_span_eq(tokens.access, CW_SPAN("access-canary")));
    cw_arena_free(arena);
    ck_assert_uint_eq(disarm(), 0);
}
END_TEST

/* jansson's frees do not come by here by themselves; ours, which it is given, does. */
START_TEST(a_token_answer_leaves_nothing_behind)
{
    static const char answer[] = "{\"access_token\":\"access-canary\",\"refresh_token\":\"refresh-canary\",\"expires_in\":3600}";
    const struct cw_json_limits limits = { .max_bytes = 1000, .max_depth = 4 };
    json_t *root = NULL;
    cw_json_wipe_freed();
    OK(cw_json_parse(cw_span_cstr(answer), limits, &root, &lg_err));
    ck_assert_str_eq(json_string_value(json_object_get(root, "access_token")), "access-canary");
    arm();
    json_decref(root);
    ck_assert_uint_eq(disarm(), 0);
    json_set_alloc_funcs(malloc, free);
}
END_TEST

Suite *lg_wiped_suite(void)
{
    Suite *suite = suite_create("wiped memory");
    TCase *tcase = tcase_create("wiped memory");
    tcase_add_checked_fixture(tcase, lg_setup, lg_teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, the_look_is_not_blind);
    tcase_add_test(tcase, secrets_are_wiped_before_their_memory_is_given_back);
    tcase_add_test(tcase, a_token_answer_leaves_nothing_behind);
    suite_add_tcase(suite, tcase);
    return suite;
}
