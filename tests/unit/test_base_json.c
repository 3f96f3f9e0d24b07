/* SPDX-License-Identifier: Apache-2.0 */
/* json and jsonw: the gate's limits at their edges, the getters' codes, and that what is written can be read. */
#include "test_base.h"

#include <signal.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lib/faulty_alloc.h"
#include "base/json.h"
#include "base/jsonw.h"

static const struct cw_json_limits small = { .max_bytes = 200, .max_depth = 4 };

START_TEST(documents_are_accepted_or_refused)
{
    static const struct {
        const char *text;
        unsigned flags;
        enum cw_code rc;
    } rows[] = {
        { "{}", 0, CW_OK },
        { " {\"a\": [1, 2.5, -3e2, true, null, \"x\"]} ", 0, CW_OK },
        { "{\"\\u0041\": \"\\ud83d\\ude00\"}", 0, CW_OK },
        { "", 0, CW_E_SYNTAX },
        { "[]", 0, CW_E_SYNTAX },
        { "[]", CW_JSON_ARRAY_TOO, CW_OK },
        { "3", CW_JSON_ARRAY_TOO, CW_E_SYNTAX },
        { "\"x\"", CW_JSON_ARRAY_TOO, CW_E_SYNTAX },
        { "{\"a\":1,\"a\":2}", 0, CW_E_SYNTAX },
        { "{\"a\":1,\"a\":2}", CW_JSON_DUPLICATES_TOO, CW_OK },
        { "{\"a\":1,\"\\u0061\":2}", 0, CW_E_SYNTAX },
        { "{} x", 0, CW_E_SYNTAX },
        { "{\"a\":1,}", 0, CW_E_SYNTAX },
        { "{'a':1}", 0, CW_E_SYNTAX },
        { "{\"a\":\"\\u0000\"}", 0, CW_E_SYNTAX },
        { "{\"a\":\"\xff\"}", 0, CW_E_SYNTAX },
        { "{\"a\":\"\xc0\xaf\"}", 0, CW_E_SYNTAX },
        { "{\"a\":\"\\ud800\"}", 0, CW_E_SYNTAX },
        { "{\"a\":NaN}", 0, CW_E_SYNTAX },
        { "{\"a\":01}", 0, CW_E_SYNTAX },
        { "{\"a\":99999999999999999999}", 0, CW_E_SYNTAX },
        { "{\"a\":1e999}", 0, CW_E_SYNTAX },
        { "\xef\xbb\xbf{}", 0, CW_E_SYNTAX },
        { "{\"a\":[[[1]]]}", 0, CW_OK },
        { "{\"a\":[[[[1]]]]}", 0, CW_E_TOO_BIG },
        { "{\"a\":\"[[[[[[[[\\\"[[[[\"}", 0, CW_OK },
        { "[[[[[[[[[[[[", CW_JSON_ARRAY_TOO, CW_E_TOO_BIG },
        { "]]]]{\"a\":1}", 0, CW_E_SYNTAX },
        { "{\"a\":\"\\", 0, CW_E_SYNTAX },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_JSON *root = NULL;
        struct cw_err err = { 0 };
        struct cw_json_limits limits = small;
        limits.flags = rows[i].flags;
        enum cw_code rc = cw_json_parse(cw_span_cstr(rows[i].text), limits, &root, &err);
        ck_assert_msg(rc == rows[i].rc, "row %zu: %s %s", i, cw_code_name(rc), err.text);
        ck_assert_msg((root != NULL) == (rc == CW_OK), "row %zu", i);
        ck_assert_msg(err.code == rc, "row %zu", i);
    }
}
END_TEST

START_TEST(size_is_judged_before_parsing)
{
    char text[202];
    memset(text, ' ', sizeof text);
    text[0] = '{';
    text[1] = '}';
    for (size_t len = 199; len <= 201; len++) {
        CW_AUTO_JSON *root = NULL;
        ck_assert_int_eq(cw_json_parse(cw_span_of(text, len), small, &root, NULL), len <= 200 ? CW_OK : CW_E_TOO_BIG);
    }
}
END_TEST

START_TEST(errors_do_not_quote_the_document)
{
    json_t *root = NULL;
    struct cw_err err = { 0 };
    ck_assert_int_eq(cw_json_parse(CW_SPAN("{\"canary\" canary}"), small, &root, &err), CW_E_SYNTAX);
    ck_assert_ptr_null(strstr(err.text, "canary"));
}
END_TEST

START_TEST(getters_answer_by_kind)
{
    CW_AUTO_JSON *root = NULL;
    ck_assert_int_eq(cw_json_parse(CW_SPAN("{\"s\":\"x\\ny\",\"n\":-7,\"r\":1.5,\"b\":false,\"o\":{},\"a\":[],\"z\":null}"),
                                   small, &root, NULL),
                     CW_OK);
    struct cw_err err = { 0 };
    struct cw_span text = CW_SPAN("untouched");
    int64_t number = 0;
    bool flag = true;
    json_t *value = NULL;
    ck_assert_int_eq(cw_json_text(root, "s", &text, &err), CW_OK);
    ck_span_eq(text, "x\ny");
    ck_assert_int_eq(cw_json_text(root, "n", &text, &err), CW_E_KIND);
    ck_assert_str_eq(err.text, "n is not a string");
    ck_assert_int_eq(cw_json_text(root, "nope", &text, &err), CW_E_MISSING);
    ck_assert_str_eq(err.text, "nope is missing");
    ck_assert_int_eq(cw_json_text(root, "z", &text, &err), CW_E_KIND);
    ck_span_eq(text, "x\ny");
    ck_assert_int_eq(cw_json_text_opt(root, "z", &text, &err), CW_OK);
    ck_assert_ptr_null(text.ptr);
    ck_assert_int_eq(cw_json_text_opt(root, "nope", &text, &err), CW_OK);
    ck_assert_ptr_null(text.ptr);
    ck_assert_int_eq(cw_json_text_opt(root, "n", &text, &err), CW_E_KIND);
    ck_assert_int_eq(cw_json_text_opt(root, "s", &text, &err), CW_OK);
    ck_span_eq(text, "x\ny");
    ck_assert_ptr_null(cw_json_peek_text(root, "n").ptr);
    ck_assert_ptr_null(cw_json_peek_text(root, "nope").ptr);
    ck_span_eq(cw_json_peek_text(root, "s"), "x\ny");
    ck_assert_int_eq(cw_json_int(root, "n", &number, &err), CW_OK);
    ck_assert_int_eq(number, -7);
    ck_assert_int_eq(cw_json_int(root, "r", &number, &err), CW_E_KIND);
    ck_assert_int_eq(cw_json_int(root, "nope", &number, &err), CW_E_MISSING);
    ck_assert_int_eq(cw_json_bool(root, "b", &flag, &err), CW_OK);
    ck_assert(!flag);
    ck_assert_int_eq(cw_json_bool(root, "n", &flag, &err), CW_E_KIND);
    ck_assert_int_eq(cw_json_bool(root, "nope", &flag, &err), CW_E_MISSING);
    ck_assert_int_eq(cw_json_object(root, "o", &value, &err), CW_OK);
    ck_assert_int_eq(cw_json_object(root, "a", &value, &err), CW_E_KIND);
    ck_assert_int_eq(cw_json_object(root, "nope", &value, &err), CW_E_MISSING);
    ck_assert_int_eq(cw_json_array(root, "a", &value, &err), CW_OK);
    ck_assert_int_eq(cw_json_array(root, "o", &value, &err), CW_E_KIND);
    ck_assert_int_eq(cw_json_array(root, "nope", &value, &err), CW_E_MISSING);
}
END_TEST

START_TEST(parsing_survives_every_failing_allocation)
{
    for (unsigned n = 1;; n++) {
        CW_AUTO_JSON *root = NULL;
        faulty_alloc_arm(n);
        enum cw_code rc = cw_json_parse(CW_SPAN("{\"a\":[1,\"two\",{\"b\":3.5}],\"c\":\"\\u00e9\"}"), small, &root, NULL);
        if (!faulty_alloc_disarm()) {
            ck_assert_int_eq(rc, CW_OK);
            ck_assert_uint_gt(n, 8);
            return;
        }
        /* jansson tells of a refused allocation in some places as a syntax error; what counts is that it refuses. */
        ck_assert(rc == CW_E_OOM || rc == CW_E_SYNTAX);
        ck_assert_ptr_null(root);
    }
}
END_TEST

static enum cw_code write_sample(struct cw_str *out)
{
    struct cw_jsonw w;
    cw_jsonw_init(&w, out);
    cw_jsonw_open_object(&w);
    cw_jsonw_key_cstr(&w, "text", "a\"b\\c\n\t\x01\xc3\xa9");
    cw_jsonw_key_text(&w, "bad", CW_SPAN("x\xff\"y"));
    cw_jsonw_key_cstr(&w, "none", NULL);
    cw_jsonw_key_int(&w, "least", INT64_MIN);
    cw_jsonw_key_bool(&w, "yes", true);
    cw_jsonw_key_time(&w, "at", 0);
    cw_jsonw_key(&w, "list");
    cw_jsonw_open_array(&w);
    cw_jsonw_int(&w, 1);
    cw_jsonw_open_object(&w);
    cw_jsonw_close_object(&w);
    cw_jsonw_open_array(&w);
    cw_jsonw_close_array(&w);
    cw_jsonw_null(&w);
    cw_jsonw_raw(&w, CW_SPAN("{\"d\":1.10}"));
    cw_jsonw_bool(&w, false);
    cw_jsonw_close_array(&w);
    cw_jsonw_key_cstr(&w, "end", "");
    cw_jsonw_close_object(&w);
    return cw_jsonw_end(&w);
}

static const char sample[] = "{\"text\":\"a\\\"b\\\\c\\n\\u0009\\u0001\xc3\xa9\",\"bad\":\"x\xef\xbf\xbd\\\"y\",\"none\":null,"
                             "\"least\":-9223372036854775808,\"yes\":true,\"at\":\"1970-01-01T00:00:00.000Z\","
                             "\"list\":[1,{},[],null,{\"d\":1.10},false],\"end\":\"\"}";

START_TEST(documents_are_written_compact)
{
    CW_AUTO_JSON *value = NULL;
    struct cw_json_limits limits = { .max_bytes = 100, .max_depth = 4 };
    ck_assert_int_eq(cw_json_parse(CW_SPAN("{ \"a\" : [1, \"\\u00e9\", null] }"), limits, &value, NULL), CW_OK);
    CW_AUTO_STR out;
    cw_str_init(&out, 64);
    cw_str_add_cstr(&out, "x=");
    ck_assert_int_eq(cw_json_emit(value, &out), CW_OK);
    ck_assert_str_eq(cw_str_cstr(&out), "x={\"a\":[1,\"é\",null]}");
    CW_AUTO_STR narrow;
    cw_str_init(&narrow, 10);
    ck_assert_int_eq(cw_json_emit(value, &narrow), CW_E_TOO_BIG);
}
END_TEST

START_TEST(writing_puts_commas_and_escapes)
{
    CW_AUTO_STR out;
    cw_str_init(&out, 1000);
    ck_assert_int_eq(write_sample(&out), CW_OK);
    ck_assert_str_eq(cw_str_cstr(&out), sample);
    CW_AUTO_JSON *root = NULL;
    struct cw_json_limits limits = { .max_bytes = 1000, .max_depth = 3 };
    ck_assert_int_eq(cw_json_parse(cw_str_span(&out), limits, &root, NULL), CW_OK);
}
END_TEST

START_TEST(writing_stops_at_the_maximum)
{
    size_t whole = sizeof sample - 1;
    for (size_t max = 0; max <= whole + 1; max++) {
        CW_AUTO_STR out;
        cw_str_init(&out, max);
        ck_assert_int_eq(write_sample(&out), max >= whole ? CW_OK : CW_E_TOO_BIG);
    }
}
END_TEST

START_TEST(writing_survives_every_failing_allocation)
{
    for (unsigned n = 1;; n++) {
        CW_AUTO_STR out;
        cw_str_init(&out, 1000);
        faulty_alloc_arm(n);
        enum cw_code rc = write_sample(&out);
        if (!faulty_alloc_disarm()) {
            ck_assert_int_eq(rc, CW_OK);
            ck_assert_uint_gt(n, 3);
            return;
        }
        ck_assert_int_eq(rc, CW_E_OOM);
    }
}
END_TEST

static void value_without_key(struct cw_jsonw *w)
{
    cw_jsonw_open_object(w);
    cw_jsonw_int(w, 1);
}

static void key_in_array(struct cw_jsonw *w)
{
    cw_jsonw_open_array(w);
    cw_jsonw_key(w, "k");
}

static void two_keys(struct cw_jsonw *w)
{
    cw_jsonw_open_object(w);
    cw_jsonw_key(w, "a");
    cw_jsonw_key(w, "b");
}

static void wrong_bracket(struct cw_jsonw *w)
{
    cw_jsonw_open_object(w);
    cw_jsonw_close_array(w);
}

static void left_open(struct cw_jsonw *w)
{
    cw_jsonw_open_object(w);
    ck_assert_int_eq(cw_jsonw_end(w), CW_OK);
}

static void two_roots(struct cw_jsonw *w)
{
    cw_jsonw_int(w, 1);
    cw_jsonw_int(w, 2);
}

static void too_deep(struct cw_jsonw *w)
{
    for (int i = 0; i <= CW_JSONW_DEPTH_MAX; i++) {
        cw_jsonw_open_array(w);
    }
}

START_TEST(misuse_of_the_writer_aborts)
{
    static void (*const misuse[])(struct cw_jsonw *) = { value_without_key, key_in_array, two_keys, wrong_bracket,
                                                         left_open, two_roots, too_deep };
    for (size_t i = 0; i < CW_ARRAY_LEN(misuse); i++) {
        pid_t child = fork();
        if (child == 0) {
            (void)freopen("/dev/null", "w", stderr);
            signal(SIGABRT, SIG_DFL);
            struct cw_str out;
            cw_str_init(&out, 1000);
            struct cw_jsonw w;
            cw_jsonw_init(&w, &out);
            misuse[i](&w);
            _exit(0);
        }
        int status = 0;
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "row %zu", i);
    }
}
END_TEST

Suite *base_json_suite(void)
{
    Suite *suite = suite_create("base: JSON");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, documents_are_accepted_or_refused);
    tcase_add_test(tc, size_is_judged_before_parsing);
    tcase_add_test(tc, errors_do_not_quote_the_document);
    tcase_add_test(tc, getters_answer_by_kind);
    tcase_add_test(tc, parsing_survives_every_failing_allocation);
    tcase_add_test(tc, documents_are_written_compact);
    tcase_add_test(tc, writing_puts_commas_and_escapes);
    tcase_add_test(tc, writing_stops_at_the_maximum);
    tcase_add_test(tc, writing_survives_every_failing_allocation);
    tcase_add_test(tc, misuse_of_the_writer_aborts);
    suite_add_tcase(suite, tc);
    return suite;
}
