/* SPDX-License-Identifier: Apache-2.0 */
/* err, str, arena, secret: what they hold, where they stop, and what a failing heap does to them. */
#include "test_base.h"

#include <signal.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include "../lib/faulty_alloc.h"
#include "base/arena.h"
#include "base/err.h"
#include "base/secret.h"
#include "base/str.h"

START_TEST(err_is_filled_and_wrapped)
{
    struct cw_err err = { 0 };
    ck_assert_int_eq(cw_err_sys(&err, CW_E_IO, 5, "file", "read of %s", "x"), CW_E_IO);
    ck_assert_int_eq(err.code, CW_E_IO);
    ck_assert_int_eq(err.sys, 5);
    ck_assert_str_eq(err.where, "file");
    ck_assert_str_eq(err.text, "read of x");
    ck_assert_int_eq(cw_err_wrap(&err, "start"), CW_E_IO);
    ck_assert_str_eq(err.text, "start: read of x");
    ck_assert_int_eq(cw_err_set(&err, CW_E_SYNTAX, "json", "again: %s", err.text), CW_E_SYNTAX);
    ck_assert_str_eq(err.text, "again: start: read of x");
    ck_assert_int_eq(err.sys, 0);
    ck_assert_int_eq(cw_err_set(NULL, CW_E_RANGE, "x", "y"), CW_E_RANGE);
    ck_assert_int_eq(cw_err_wrap(NULL, "x"), CW_E_STATE);
}
END_TEST

START_TEST(err_text_is_cut_not_overrun)
{
    char text[CW_ERR_TEXT_MAX * 2];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    struct cw_err err = { 0 };
    (void)cw_err_set(&err, CW_E_IO, text, "%s", text);
    ck_assert_uint_eq(strlen(err.text), CW_ERR_TEXT_MAX - 1);
    ck_assert_uint_eq(strlen(err.where), sizeof err.where - 1);
    (void)cw_err_wrap(&err, text);
    ck_assert_uint_eq(strlen(err.text), CW_ERR_TEXT_MAX - 1);
}
END_TEST

START_TEST(every_code_has_a_name_of_its_own)
{
    for (int a = 0; a > CW_E__LAST; a--) {
        ck_assert_str_ne(cw_code_name((enum cw_code)a), "unknown");
        for (int b = a - 1; b > CW_E__LAST; b--) {
            ck_assert_str_ne(cw_code_name((enum cw_code)a), cw_code_name((enum cw_code)b));
        }
    }
    ck_assert_str_eq(cw_code_name(CW_E_TOO_BIG), "too_big");
    ck_assert_str_eq(cw_code_name(CW_E_LIMITED), "limited");
    ck_assert_str_eq(cw_code_name(CW_E__LAST), "unknown");
}
END_TEST

START_TEST(str_stops_at_its_maximum)
{
    struct cw_str s;
    for (size_t len = 9; len <= 11; len++) {
        cw_str_init(&s, 10);
        enum cw_code rc = cw_str_add(&s, "0123456789ab", len);
        ck_assert_int_eq(rc, len <= 10 ? CW_OK : CW_E_TOO_BIG);
        ck_assert_uint_eq(s.len, len <= 10 ? len : 0);
        cw_str_release(&s);
    }
    cw_str_init(&s, 10);
    ck_assert_int_eq(cw_str_addf(&s, "%s", "0123456789"), CW_OK);
    ck_assert_int_eq(cw_str_add_char(&s, 'x'), CW_E_TOO_BIG);
    ck_assert_ptr_null(s.buf);
    /* The fault stays until clear. */
    ck_assert_int_eq(cw_str_add_char(&s, 'x'), CW_E_TOO_BIG);
    ck_assert_int_eq(cw_str_addf(&s, "x"), CW_E_TOO_BIG);
    ck_assert_ptr_null(cw_str_take(&s));
    ck_assert_str_eq(cw_str_cstr(&s), "");
    cw_str_clear(&s);
    ck_assert_int_eq(cw_str_add_int(&s, -42), CW_OK);
    ck_assert_str_eq(cw_str_cstr(&s), "-42");
    cw_str_release(&s);
}
END_TEST

START_TEST(str_grows_cuts_and_is_taken)
{
    CW_AUTO_STR s;
    cw_str_init(&s, SIZE_MAX);
    ck_assert_str_eq(cw_str_cstr(&s), "");
    for (int i = 0; i < 1000; i++) {
        ck_assert_int_eq(cw_str_addf(&s, "%03d;", i), CW_OK);
    }
    ck_assert_uint_eq(s.len, 4000);
    ck_assert(cw_span_ends(cw_str_span(&s), CW_SPAN("998;999;")));
    cw_str_cut(&s, 4);
    cw_str_cut(&s, 40);
    ck_assert_str_eq(cw_str_cstr(&s), "000;");
    char *room = cw_str_reserve(&s, 3);
    ck_assert_ptr_nonnull(room);
    memcpy(room, "abc", 3);
    cw_str_grow_by(&s, 3);
    char *taken = cw_str_take(&s);
    ck_assert_str_eq(taken, "000;abc");
    ck_assert_uint_eq(s.len, 0);
    free(taken);
    taken = cw_str_take(&s);
    ck_assert_str_eq(taken, "");
    free(taken);
    ck_assert_int_eq(cw_str_add(&s, NULL, 0), CW_OK);
    ck_assert_int_eq(cw_str_add_int(&s, INT64_MIN), CW_OK);
    ck_assert_str_eq(cw_str_cstr(&s), "-9223372036854775808");
}
END_TEST

START_TEST(a_secret_str_leaves_nothing_behind)
{
    struct cw_str s;
    cw_str_init_secret(&s, 4096);
    ck_assert_int_eq(cw_str_add_cstr(&s, "hunter2"), CW_OK);
    char *buf = s.buf;
    size_t cap = s.cap;
    cw_str_clear(&s);
    ck_assert_ptr_eq(s.buf, buf);
    for (size_t i = 0; i < cap; i++) {
        ck_assert_int_eq(buf[i], 0);
    }
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(cw_str_add_cstr(&s, "hunter2 "), CW_OK);
    }
    ck_assert_uint_eq(s.len, 800);
    cw_str_cut(&s, 3);
    ck_assert_int_eq(s.buf[4], 0);
    cw_str_release(&s);
}
END_TEST

static enum cw_code build_str(bool secret)
{
    CW_AUTO_STR s;
    (secret ? cw_str_init_secret : cw_str_init)(&s, 100000);
    for (int i = 0; i < 500; i++) {
        (void)cw_str_addf(&s, "number %d,", i);
    }
    return cw_str_code(&s);
}

START_TEST(str_survives_every_failing_allocation)
{
    for (int secret = 0; secret < 2; secret++) {
        for (unsigned n = 1;; n++) {
            faulty_alloc_arm(n);
            enum cw_code rc = build_str(secret != 0);
            if (!faulty_alloc_disarm()) {
                ck_assert_int_eq(rc, CW_OK);
                ck_assert_uint_gt(n, 3);
                break;
            }
            ck_assert_int_eq(rc, CW_E_OOM);
        }
    }
}
END_TEST

START_TEST(arena_hands_out_zeroed_aligned_memory)
{
    struct cw_arena *arena = cw_arena_new(1 << 20);
    ck_assert_ptr_nonnull(arena);
    for (int round = 0; round < 2; round++) {
        for (size_t size = 0; size < 3000; size += 7) {
            unsigned char *p = cw_arena_alloc(arena, size);
            ck_assert_ptr_nonnull(p);
            ck_assert_uint_eq((uintptr_t)p % _Alignof(max_align_t), 0);
            for (size_t i = 0; i < size; i++) {
                ck_assert_uint_eq(p[i], 0);
            }
            memset(p, 0xa5, size);
        }
        ck_assert_uint_gt(cw_arena_used(arena), 600000);
        cw_arena_clear(arena);
        ck_assert_uint_eq(cw_arena_used(arena), 0);
    }
    ck_assert_str_eq(cw_arena_text(arena, CW_SPAN("abc")), "abc");
    ck_assert_str_eq(cw_arena_printf(arena, "%d-%s", 7, "x"), "7-x");
    struct cw_span empty = cw_arena_span(arena, cw_span_of(NULL, 0));
    ck_assert_ptr_nonnull(empty.ptr);
    ck_assert_uint_eq(empty.len, 0);
    cw_arena_free(arena);
    cw_arena_free(NULL);
}
END_TEST

/* The one look at memory that is not ours any more: between clear and the next use. */
START_TEST(a_cleared_arena_holds_nothing_of_before)
{
    struct cw_arena *arena = cw_arena_new(4096);
    char *text = cw_arena_text(arena, CW_SPAN("canary"));
    cw_arena_clear(arena);
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(text, 6);
#endif
    for (size_t i = 0; i < 6; i++) {
        ck_assert_int_eq(((volatile char *)text)[i], 0);
    }
    cw_arena_free(arena);
}
END_TEST

START_TEST(arena_stops_at_its_maximum)
{
    struct cw_arena *arena = cw_arena_new(100);
    ck_assert_ptr_nonnull(cw_arena_alloc(arena, 99));
    ck_assert_ptr_null(cw_arena_alloc(arena, 2));
    ck_assert_ptr_nonnull(cw_arena_alloc(arena, 1));
    ck_assert_ptr_null(cw_arena_alloc(arena, 1));
    ck_assert_ptr_null(cw_arena_text(arena, CW_SPAN("a")));
    ck_assert_ptr_null(cw_arena_span(arena, CW_SPAN("a")).ptr);
    ck_assert_ptr_null(cw_arena_printf(arena, "a"));
    cw_arena_clear(arena);
    ck_assert_ptr_null(cw_arena_array(arena, SIZE_MAX / 2, 3));
    ck_assert_ptr_null(cw_arena_array(arena, 101, 1));
    ck_assert_ptr_nonnull(cw_arena_array(arena, 50, 2));
    cw_arena_free(arena);
}
END_TEST

static bool use_arena(void)
{
    struct cw_arena *arena = cw_arena_new(1 << 20);
    bool good = arena != NULL;
    for (int i = 0; good && i < 50; i++) {
        good = cw_arena_alloc(arena, 1000) != NULL && cw_arena_printf(arena, "%d", i) != NULL;
    }
    cw_arena_free(arena);
    return good;
}

START_TEST(arena_survives_every_failing_allocation)
{
    for (unsigned n = 1;; n++) {
        faulty_alloc_arm(n);
        bool good = use_arena();
        if (!faulty_alloc_disarm()) {
            ck_assert(good);
            ck_assert_uint_gt(n, 3);
            return;
        }
        ck_assert(!good);
    }
}
END_TEST

START_TEST(secrets_are_copied_compared_and_wiped)
{
    CW_AUTO_SECRET secret = { 0 };
    ck_assert_int_eq(cw_secret_set(&secret, CW_SPAN("s3cret")), CW_OK);
    ck_assert_str_eq(secret.ptr, "s3cret");
    ck_assert(cw_secret_eq(cw_secret_span(&secret), CW_SPAN("s3cret")));
    ck_assert(!cw_secret_eq(cw_secret_span(&secret), CW_SPAN("s3creT")));
    ck_assert(!cw_secret_eq(cw_secret_span(&secret), CW_SPAN("s3cre")));
    ck_assert(cw_secret_eq(cw_span_of(NULL, 0), CW_SPAN("")));
    /* A part of itself. */
    ck_assert_int_eq(cw_secret_set(&secret, cw_span_from(cw_secret_span(&secret), 2)), CW_OK);
    ck_assert_str_eq(secret.ptr, "cret");
    faulty_alloc_arm(1);
    ck_assert_int_eq(cw_secret_set(&secret, CW_SPAN("x")), CW_E_OOM);
    ck_assert(faulty_alloc_disarm());
    ck_assert_ptr_null(secret.ptr);
    char memory[4] = "abc";
    cw_wipe(memory, sizeof memory);
    ck_assert_mem_eq(memory, "\0\0\0\0", 4);
    cw_wipe(NULL, 0);
}
END_TEST

START_TEST(a_bug_aborts)
{
    pid_t child = fork();
    if (child == 0) {
        (void)freopen("/dev/null", "w", stderr);
        signal(SIGABRT, SIG_DFL);
        cw_bug("planted");
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
END_TEST

Suite *base_memory_suite(void)
{
    Suite *suite = suite_create("base: memory");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, err_is_filled_and_wrapped);
    tcase_add_test(tc, err_text_is_cut_not_overrun);
    tcase_add_test(tc, every_code_has_a_name_of_its_own);
    tcase_add_test(tc, str_stops_at_its_maximum);
    tcase_add_test(tc, str_grows_cuts_and_is_taken);
    tcase_add_test(tc, a_secret_str_leaves_nothing_behind);
    tcase_add_test(tc, str_survives_every_failing_allocation);
    tcase_add_test(tc, arena_hands_out_zeroed_aligned_memory);
    tcase_add_test(tc, a_cleared_arena_holds_nothing_of_before);
    tcase_add_test(tc, arena_stops_at_its_maximum);
    tcase_add_test(tc, arena_survives_every_failing_allocation);
    tcase_add_test(tc, secrets_are_copied_compared_and_wiped);
    tcase_add_test(tc, a_bug_aborts);
    suite_add_tcase(suite, tc);
    return suite;
}
