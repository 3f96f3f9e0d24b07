/* SPDX-License-Identifier: Apache-2.0 */
/* The redactor and what an exchange leaves behind: nothing that was sent, nothing that looks like a token or a person's number. */
#include "config.h"

#include <check.h>

#include "smart/trace.h"
#include "tests/lib/check_main.h"
#include "tests/lib/faulty_alloc.h"

START_TEST(what_is_known_or_looks_secret_is_taken_out)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        { "The code SplxlOBeZQ is bad", "The code [...] is bad" },
        { "splxlobezq and (SPLXLOBEZQ)", "[...] and ([...])" },
        { "xSplxlOBeZQy", "x[...]y" },
        { "patient Jo, Jose", "patient Jo, Jose" }, /* two letters are no secret */
        { "error 59108: unknown category", "error 59108: unknown category" },
        { "MRN 203711 of 1980-05-07", "MRN [...] of [...]" },
        { "token abcdefgh12345678 ended", "token [...] ended" },
        { "token abcdefgh1234567 ended", "token [...] ended" }, /* seven digits */
        { "token abcdefghijkl123 ended",
          "token abcdefghijkl123 ended" }, /* fifteen characters, three digits */
        { "urn:cerner:error:authorization-server:oauth2:grant:unknown-tenant",
          "urn:cerner:error:authorization-server:oauth2:grant:unknown-tenant" },
        { "https://as.test/e/urn%3Acerner%3Aerror%3Aauthorization-server",
          "https://as.test/e/urn%3Acerner%3Aerror%3Aauthorization-server" },
        { "id ec2458f2-1e24-41c8-b71b-0e701af7583d.", "id [...]." },
        { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "[...]" },
        { "a\tb\nc\x7f", "a b c " },
        { "caf\xc3\xa9 SplxlOBeZQ", "caf\xc3\xa9 [...]" },
        { "", "" },
    };
    const struct cw_span known[] = { CW_SPAN("SplxlOBeZQ"), CW_SPAN("Jo"), { NULL, 0 } };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        char out[200];
        bool taken = cw_exchange_redact(cw_span_cstr(rows[i].text), known, CW_ARRAY_LEN(known), out,
                                        sizeof out);
        ck_assert_msg(strcmp(out, rows[i].want) == 0, "row %zu: \"%s\", not \"%s\"", i, out,
                      rows[i].want);
        ck_assert_msg(taken == (strstr(out, "[...]") != NULL), "row %zu", i);
    }
}
END_TEST

START_TEST(redaction_keeps_to_its_room)
{
    for (size_t room = 1; room < 14; room++) {
        char out[16];
        memset(out, '#', sizeof out);
        (void)cw_exchange_redact(CW_SPAN("ab\xc3\xa9 SECRET cd"),
                                 (struct cw_span[]){ CW_SPAN("secret") }, 1, out, room);
        ck_assert_uint_lt(strlen(out), room);
        ck_assert_int_eq(out[room], '#');
        size_t len = strlen(out);
        ck_assert_msg(len == 0 || (unsigned char)out[len - 1] != 0xc3,
                      "cut inside a character at %zu", room);
    }
}
END_TEST

/* Each known text at each place of a text, whole or beside letters, never comes through. */
START_TEST(no_known_text_survives_anywhere)
{
    static const char *const canaries[] = { "Whitfield",   "pat-1",       "bca",
                                            "c0ffee.code", "p%40ss+word", "eyJh.eyJi.c2ln" };
    static const char *const frames[] = { "%s",         "%%%s", "%%2%s",     "%s%s",
                                          "x%s",        "%sx",  "a %s b",    "\"%s\"",
                                          "%%2F%s%%2F", "=%s&", "1234%s5678" };
    struct cw_span known[CW_ARRAY_LEN(canaries)];
    for (size_t i = 0; i < CW_ARRAY_LEN(canaries); i++) {
        known[i] = cw_span_cstr(canaries[i]);
    }
    for (size_t c = 0; c < CW_ARRAY_LEN(canaries); c++) {
        for (size_t f = 0; f < CW_ARRAY_LEN(frames); f++) {
            CW_AUTO_STR text;
            char out[256];
            cw_str_init(&text, 256);
            for (const char *at = frames[f]; *at != '\0'; at++) {
                if (at[0] == '%' && at[1] == 's') {
                    cw_str_add_cstr(&text, canaries[c]);
                    at++;
                } else if (at[0] == '%' && at[1] == '%') {
                    cw_str_add_char(&text, '%');
                    at++;
                } else {
                    cw_str_add_char(&text, *at);
                }
            }
            (void)cw_exchange_redact(cw_str_span(&text), known, CW_ARRAY_LEN(known), out,
                                     sizeof out);
            ck_assert_msg(strstr(out, canaries[c]) == NULL, "%s in \"%s\"", canaries[c], out);
        }
    }
}
END_TEST

#define FORM                                                                                       \
    "grant_type=authorization_code&code=the%2Bcode&redirect_uri=https%3A%2F%2Fcw.test%2Fcallback%" \
    "2Fx&code_verifier=vvverifier"                                                                 \
    "&client_assertion=aaa.bbb.ccc&client_id=app"

static void trace(const char *body, long status, const char *headers, struct cw_exchange *ret)
{
    struct cw_http_response response;
    cw_http_response_init(&response);
    cw_str_init(&response.body, 65536);
    cw_str_init(&response.headers, 65536);
    cw_str_add_cstr(&response.body, body);
    cw_str_add_cstr(&response.headers, headers);
    response.status = status;
    response.took_us = 12345;
    const struct cw_trace what = { .kind = "token",
                                   .authentication = "private_key_jwt",
                                   .outcome = "refused",
                                   .endpoint = "https://As.test/oauth/token?tenant=7",
                                   .form = CW_SPAN(FORM),
                                   .secret = CW_SPAN("s3cr3t"),
                                   .response = &response,
                                   .sent_us = 1 };
    cw_trace_post(&what, ret);
    cw_http_response_release(&response);
}

START_TEST(names_and_kinds_are_written_down)
{
    struct cw_exchange x;
    trace("{\"error\":\"invalid_grant\",\"error_description\":\"code the+code (the%2Bcode), "
          "vvverifier, aaa.bbb.ccc, s3cr3t\","
          "\"n\":1.5,\"o\":{\"secret\":\"x\"},\"a\":[1],\"t\":true,\"z\":null,\"e\":\"\","
          "\"vvverifier\":1}",
          400, "HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\n\r\n", &x);
    ck_assert_str_eq(x.host, "as.test:443");
    ck_assert_str_eq(x.path, "/oauth/token");
    ck_assert_str_eq(x.parameters,
                     "grant_type code redirect_uri code_verifier client_assertion client_id");
    ck_assert_str_eq(x.error, "invalid_grant");
    ck_assert_str_eq(x.description, "code [...] ([...]), [...], [...], [...]");
    ck_assert_str_eq(x.structure, "{error: text, error_description: text, n: number, o: object, a: "
                                  "array, t: boolean, z: null,"
                                  " e: empty text, [...]: number}");
    ck_assert_str_eq(x.content_type, "application/json");
    ck_assert(x.status == 400 && x.took_us == 12345 && x.more[0] == '\0');
}
END_TEST

START_TEST(answers_that_are_no_json_are_told_by_kind_and_size)
{
    static const struct {
        const char *body, *want;
    } rows[] = {
        { "", "empty" },
        { " \r\n", "empty" },
        { "<html>Jane Doe</html>", "markup, 21 bytes" },
        { "Jane Doe", "text, 8 bytes" },
        { "{\"a\":", "text, 5 bytes" },
        { "[1]", "array or text, 3 bytes" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_exchange x;
        trace(rows[i].body, 500, "", &x);
        ck_assert_msg(strcmp(x.structure, rows[i].want) == 0, "row %zu: %s", i, x.structure);
        ck_assert_str_eq(x.error, "");
    }
    struct cw_exchange x;
    trace("", 0, "", &x);
    ck_assert_str_eq(x.structure, "");
}
END_TEST

START_TEST(only_a_safe_error_uri_becomes_a_link)
{
    static const struct {
        const char *uri, *want;
    } rows[] = {
        { "https://as.test/errors/urn%3Aunknown-tenant?id=ec2458f2-1e24-41c8-b71b-0e701af7583d",
          "https://as.test/errors/urn%3Aunknown-tenant?id=ec2458f2-1e24-41c8-b71b-0e701af7583d" },
        { "https://AS.test/e", "https://as.test/e" },
        { "http://as.test/e", "" },
        { "https://as.test:8443/e", "" },
        { "https://evil.test/e", "" },
        { "https://as.test.evil.test/e", "" },
        { "https://u:p@as.test/e", "" },
        { "javascript:alert(1)", "" },
        { "https://as.test/e?code=vvverifier", "" },
        { "urn:cerner:error:unknown-tenant", "" },
        { "//as.test/e", "" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_exchange x;
        char body[400];
        (void)snprintf(body, sizeof body, "{\"error\":\"e\",\"error_uri\":\"%s\"}", rows[i].uri);
        trace(body, 400, "", &x);
        ck_assert_msg(strcmp(x.more, rows[i].want) == 0, "row %zu: \"%s\"", i, x.more);
        const struct cw_trace_redirect redirect = { .authorization_endpoint =
                                                        "https://as.test/authorize?acr=1",
                                                    .error = CW_SPAN("e"),
                                                    .uri = cw_span_cstr(rows[i].uri),
                                                    .secret = CW_SPAN("vvverifier"),
                                                    .outcome = "o",
                                                    .at_us = 1 };
        cw_trace_redirect(&redirect, &x);
        ck_assert_msg(strcmp(x.more, rows[i].want) == 0, "row %zu of a redirect: \"%s\"", i,
                      x.more);
        ck_assert_str_eq(x.parameters, "error error_uri");
        ck_assert_str_eq(x.path, "/authorize");
    }
}
END_TEST

START_TEST(texts_are_cut)
{
    struct cw_exchange x;
    CW_AUTO_STR body;
    cw_str_init(&body, 65536);
    cw_str_add_cstr(&body, "{\"error\":\"invalid_request\",\"error_description\":\"");
    for (size_t i = 0; i < 3000; i++) {
        cw_str_add_cstr(&body, "w ");
    }
    cw_str_add_cstr(&body, "\"");
    for (unsigned i = 0; i < 1000; i++) {
        cw_str_addf(&body, ",\"member-%u\":1", i);
    }
    cw_str_add_char(&body, '}');
    trace(cw_str_cstr(&body), 400, "", &x);
    ck_assert_uint_eq(strlen(x.description), CW_ERROR_TEXT_MAX);
    ck_assert_uint_le(strlen(x.structure), CW_EXCHANGE_STRUCTURE_MAX);
    ck_assert_ptr_nonnull(strstr(x.structure, ", ...}"));
    ck_assert_ptr_null(strstr(x.structure, "member-40"));
}
END_TEST

/* Without memory less is written down, never more. */
START_TEST(a_failing_heap_gives_nothing_away)
{
    static const char *const secret[] = { "the+code", "the%2Bcode", "vvverifier", "aaa.bbb.ccc",
                                          "s3cr3t" };
    static const char body[] =
        "{\"error\":\"invalid_grant\",\"error_uri\":\"https://as.test/?c=the+code\","
        "\"error_description\":\"the+code the%2Bcode vvverifier aaa.bbb.ccc s3cr3t\"}";
    struct cw_http_response response;
    cw_http_response_init(&response);
    cw_str_init(&response.body, 65536);
    cw_str_add_cstr(&response.body, body);
    response.status = 400;
    const struct cw_trace what = { .kind = "token",
                                   .outcome = "refused",
                                   .endpoint = "https://as.test/token",
                                   .form = CW_SPAN(FORM),
                                   .secret = CW_SPAN("s3cr3t"),
                                   .response = &response,
                                   .sent_us = 1 };
    bool reached = true;
    for (unsigned n = 1; reached; n++) {
        struct cw_exchange x;
        faulty_alloc_arm(n);
        cw_trace_post(&what, &x);
        reached = faulty_alloc_disarm();
        for (size_t i = 0; i < CW_ARRAY_LEN(secret); i++) {
            ck_assert_msg(
                strstr(x.description, secret[i]) == NULL && strstr(x.uri, secret[i]) == NULL &&
                    strstr(x.more, secret[i]) == NULL && strstr(x.structure, secret[i]) == NULL,
                "failure %u: %s in \"%s\"", n, secret[i], x.description);
        }
        ck_assert(reached || strcmp(x.error, "invalid_grant") == 0);
    }
    cw_http_response_release(&response);
}
END_TEST

START_TEST(more_values_than_can_be_remembered_keep_the_answer_out)
{
    CW_AUTO_STR form;
    struct cw_http_response response;
    struct cw_exchange x;
    cw_str_init(&form, 4096);
    for (unsigned i = 0; i < 40; i++) {
        cw_str_addf(&form, "%sp%u=value-%u", i == 0 ? "" : "&", i, i);
    }
    cw_http_response_init(&response);
    cw_str_init(&response.body, 65536);
    cw_str_add_cstr(&response.body, "{\"error\":\"e\",\"error_description\":\"value-39\"}");
    response.status = 400;
    const struct cw_trace what = { .kind = "token",
                                   .outcome = "refused",
                                   .endpoint = "https://as.test/token",
                                   .form = cw_str_span(&form),
                                   .response = &response,
                                   .sent_us = 1 };
    cw_trace_post(&what, &x);
    ck_assert_str_eq(x.description, "");
    ck_assert_int_eq(x.status, 400);
    cw_http_response_release(&response);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("exchange");
    TCase *tcase = tcase_create("exchange");
    tcase_add_test(tcase, what_is_known_or_looks_secret_is_taken_out);
    tcase_add_test(tcase, redaction_keeps_to_its_room);
    tcase_add_test(tcase, no_known_text_survives_anywhere);
    tcase_add_test(tcase, names_and_kinds_are_written_down);
    tcase_add_test(tcase, answers_that_are_no_json_are_told_by_kind_and_size);
    tcase_add_test(tcase, only_a_safe_error_uri_becomes_a_link);
    tcase_add_test(tcase, texts_are_cut);
    tcase_add_test(tcase, a_failing_heap_gives_nothing_away);
    tcase_add_test(tcase, more_values_than_can_be_remembered_keep_the_answer_out);
    suite_add_tcase(suite, tcase);
    return cw_check_main((Suite *const[]){ suite, NULL });
}
