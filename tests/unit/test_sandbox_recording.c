/* SPDX-License-Identifier: Apache-2.0 */
/* Recordings: what is found in a file, how an answer is found, and what of it is played. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sandbox/recordings.h"
#include "tests/lib/check_main.h"
#include "tests/unit/test_sandbox.h"

#define B "https://ehr.example.org/api/FHIR/R4"
#define HERE "http://127.0.0.1:8480/sandbox/as/recorded-x/fhir"
#define LINE(url, rest) "{\"method\":\"GET\",\"url\":\"" url "\",\"status\":200," rest "}\n"
#define PATIENT LINE(B "/Patient/p-1", "\"body\":{\"resourceType\":\"Patient\",\"id\":\"p-1\",\"name\":[{\"text\":\"Rita Recorded\"}]}")

static struct cw_sbx_recording *read_good(const char *text)
{
    struct cw_sbx_recording *recording = NULL;
    struct cw_err err = { 0 };
    enum cw_code rc = cw_sbx_recording_read(cw_span_cstr(text), &recording, &err);
    ck_assert_msg(rc == CW_OK, "%s: %s", cw_code_name(rc), err.text);
    return recording;
}

static bool play(struct cw_sbx_recording *recording, const char *path, const char *query, struct cw_sbx_recorded *ret)
{
    struct cw_sbx_wish wish = { CW_SPAN("GET"), cw_span_cstr(path), cw_span_cstr(query) };
    return cw_sbx_recording_play(recording, &wish, ret);
}

/* The body that plays, or "(none)". */
static const char *body_of(struct cw_sbx_recording *recording, const char *path, const char *query)
{
    static char out[4096];
    struct cw_sbx_recorded recorded;
    CW_AUTO_STR body;
    cw_str_init(&body, sizeof out - 1);
    if (!play(recording, path, query, &recorded)) {
        return "(none)";
    }
    ck_assert_int_eq(cw_sbx_recorded_body(recording, &recorded, CW_SPAN(HERE), &body), CW_OK);
    memcpy(out, cw_str_cstr(&body), body.len + 1);
    return out;
}

START_TEST(base_and_patient_are_what_most_urls_say)
{
    static const struct {
        const char *text, *base, *patient;
    } rows[] = {
        { PATIENT, B, "p-1" },
        { LINE("https://h.example/Patient/1", "\"body\":\"\""), "https://h.example", "1" },
        { LINE("https://h.example/metadata", "\"body\":\"\"") LINE("https://h.example/Goal?subject=Patient%2F7", "\"body\":\"\""),
          "https://h.example", "7" },
        { LINE("https://h.example/Patient/app/r4/Goal?patient=7", "\"body\":\"\"") LINE("https://h.example/Patient/app/r4/Patient/7", "\"body\":\"\""),
          "https://h.example/Patient/app/r4", "7" },
        { LINE("https://h.example/r4/Patient/7/Condition", "\"body\":\"\"") LINE("https://h.example/r4/Patient/7/$everything", "\"body\":\"\""),
          "https://h.example/r4", "7" },
        { LINE("https://h.example/r4/Patient/someone-else", "\"body\":\"\"") LINE("https://h.example/r4/Goal?patient=7", "\"body\":\"\"")
          LINE("https://h.example/r4/Device?patient=7", "\"body\":\"\"") LINE("https://other.example/doc.pdf", "\"body\":\"\""),
          "https://h.example/r4", "7" },
        { LINE("https://h.example/base//Patient/7", "\"body\":\"\"") LINE("https://h.example/base//Goal?patient=7", "\"body\":\"\""), "https://h.example/base/", "7" },
        { LINE("https://h.example/r4/ExplanationOfBenefit?beneficiary=9&_count=10", "\"body\":\"\""), "https://h.example/r4", "9" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_sbx_recording *recording = read_good(rows[i].text);
        ck_assert_msg(cw_span_eq_cstr(cw_sbx_recording_base(recording), rows[i].base), "row %zu", i);
        ck_assert_str_eq(cw_sbx_recording_patient(recording)->id, rows[i].patient);
        cw_sbx_recording_free(recording);
    }
    struct cw_sbx_recording *recording = read_good(PATIENT "\r\n\n" LINE("https://other.example/doc.pdf", "\"body\":\"\""));
    ck_assert_str_eq(cw_sbx_recording_patient(recording)->name, "Rita Recorded");
    ck_assert_uint_eq(cw_sbx_recording_exchanges(recording), 2);
    ck_assert_uint_eq(cw_sbx_recording_outside(recording), 1);
    cw_sbx_recording_free(recording);
}
END_TEST

START_TEST(a_query_is_found_in_any_order_and_coding)
{
    struct cw_sbx_recording *recording =
        read_good(PATIENT LINE(B "/Observation?_count=50&category=vital%2Dsigns&patient=p-1", "\"body\":\"v\"")
                      LINE(B "/Observation?patient=p-1&category=a+b,c", "\"body\":\"s\"")
                          LINE(B "/Goal?patient=p-1&_count=20", "\"body\":\"g20\"") LINE(B "/Goal?patient=p-1&_count=10", "\"body\":\"g10\"")
                              LINE(B "?page=AbC%2F1", "\"body\":\"p\"") LINE(B "/Goal?patient=p-1&code=a b|c", "\"body\":\"raw\"") LINE(B "/Binary/a%20b", "\"body\":\"b\""));
    ck_assert_str_eq(body_of(recording, "/Observation", "patient=p-1&category=vital-signs&_count=50"), "v");
    ck_assert_str_eq(body_of(recording, "/Observation", "category=a%20b%2Cc&patient=p-1&_count=100"), "s"); /* page sizes are a wish */
    ck_assert_str_eq(body_of(recording, "/Goal", "_count=10&patient=p-1"), "g10");
    ck_assert_str_eq(body_of(recording, "", "page=AbC/1"), "p");
    ck_assert_str_eq(body_of(recording, "/Goal", "code=a%20b%7Cc&patient=p-1"), "raw");
    ck_assert_str_eq(body_of(recording, "/Binary/a b", ""), "b");
    ck_assert_str_eq(body_of(recording, "/Observation", "patient=p-1"), "(none)");
    ck_assert_str_eq(body_of(recording, "/Observation", "patient=p-1&category=vital-signs&category=x"), "(none)");
    ck_assert_str_eq(body_of(recording, "/goal", "_count=10&patient=p-1"), "(none)");
    ck_assert_str_eq(body_of(recording, "/Goal", "patient=%zz"), "(none)");
    struct cw_sbx_recorded recorded;
    ck_assert(!cw_sbx_recording_play(recording, &(struct cw_sbx_wish){ CW_SPAN("POST"), CW_SPAN("/Goal"), CW_SPAN("patient=p-1") }, &recorded));
    cw_sbx_recording_free(recording);
}
END_TEST

START_TEST(answers_play_in_their_order_and_the_last_stays)
{
    struct cw_sbx_recording *recording =
        read_good("{\"url\":\"" B "/Goal?patient=1\",\"status\":429,\"headers\":{\"retry-after\":\"1\"},\"body\":\"\"}\n"
                  LINE(B "/Device?patient=1", "\"body\":\"d\"") LINE(B "/Goal?patient=1", "\"body\":\"one\"")
                      LINE(B "/Goal?patient=1", "\"body\":\"two\""));
    for (unsigned round = 0; round < 2; round++) {
        struct cw_sbx_recorded recorded;
        ck_assert(play(recording, "/Goal", "patient=1", &recorded));
        ck_assert_int_eq(recorded.status, 429);
        ck_assert_str_eq(body_of(recording, "/Goal", "patient=1"), "one");
        ck_assert_str_eq(body_of(recording, "/Goal", "patient=1"), "two");
        ck_assert_str_eq(body_of(recording, "/Goal", "patient=1"), "two");
        ck_assert_str_eq(body_of(recording, "/Device", "patient=1"), "d");
        cw_sbx_recording_rewind(recording);
    }
    cw_sbx_recording_free(recording);
}
END_TEST

static void join(const char *name, const char *value, void *arg)
{
    cw_str_addf(arg, "%s: %s\n", name, value);
}

START_TEST(headers_play_but_those_of_the_connection)
{
    struct cw_sbx_recording *recording = read_good(
        LINE(B "/Patient/1", "\"headers\":{\"Content-Type\":\"application/fhir+json\",\"Content-Length\":\"7\",\"content-encoding\":\"gzip\","
                             "\"Transfer-Encoding\":\"chunked\",\"Connection\":\"close\",\"Keep-Alive\":\"1\",\"Status\":\"500\",\"X-Accel-Redirect\":\"/secret\","
                             "\"ETag\":\"W/\\\"1\\\"\",\"Location\":\"" B "/Patient/1\",\"www-authenticate\":[\"Bearer\",\"Basic realm=\\\"x\\\"\"],"
                             "\"Set-Cookie\":[\"a=1\",\"b=2\"]},\"body\":\"\""));
    struct cw_sbx_recorded recorded;
    CW_AUTO_STR all;
    cw_str_init(&all, 4096);
    ck_assert(play(recording, "/Patient/1", "", &recorded));
    ck_assert_int_eq(cw_sbx_recorded_headers(recording, &recorded, CW_SPAN(HERE), join, &all), CW_OK);
    ck_assert_str_eq(cw_str_cstr(&all), "Content-Type: application/fhir+json\nETag: W/\"1\"\nLocation: " HERE "/Patient/1\n"
                                        "www-authenticate: Bearer, Basic realm=\"x\"\nSet-Cookie: a=1\nSet-Cookie: b=2\n");
    cw_sbx_recording_free(recording);
}
END_TEST

START_TEST(bodies_are_texts_json_or_bytes)
{
    static const struct {
        const char *rest, *played;
    } rows[] = {
        { "\"body\":\"{\\\"url\\\":\\\"" B "/Binary/1\\\"}\"", "{\"url\":\"" HERE "/Binary/1\"}" },
        { "\"body\":{\"url\": \"" B "\", \"n\": 1.00}", "{\"url\": \"" HERE "\", \"n\": 1.00}" },
        { "\"body\":\"{\\\"url\\\":\\\"https:\\\\/\\\\/ehr.example.org\\\\/api\\\\/FHIR\\\\/R4\\\\/Goal?page=2\\\"}\"",
          "{\"url\":\"http:\\/\\/127.0.0.1:8480\\/sandbox\\/as\\/recorded-x\\/fhir\\/Goal?page=2\"}" },
        { "\"body\":\"{\\\"a\\\":\\\"" B "B/Goal\\\",\\\"b\\\":\\\"" B "-old\\\"}\"", "{\"a\":\"" B "B/Goal\",\"b\":\"" B "-old\"}" },
        { "\"body\":\"{\\\"a\\\":\\\"http://ehr.example.org/api/FHIR/R4/Goal\\\",\\\"b\\\":\\\"ftp://ehr.example.org/api/FHIR/R4/Goal\\\"}\"",
          "{\"a\":\"" HERE "/Goal\",\"b\":\"ftp://ehr.example.org/api/FHIR/R4/Goal\"}" },
        { "\"body\":\"\\ufeff{\\\"a\\\":\\\"" B "\\\"}\"", "\xef\xbb\xbf{\"a\":\"" HERE "\"}" },
        { "\"body\":\"<html>" B "/\"", "<html>" B "/" }, /* no JSON: a document's bytes are its own */
        { "\"body\":\"{\\\"url\\\":\\\"/api/FHIR/R4/Goal?page=2\\\",\\\"b\\\":\\\"/api/FHIR/R40\\\",\\\"c\\\":\\\"\\\\/api\\\\/FHIR\\\\/R4?x\\\"}\"",
          "{\"url\":\"/sandbox/as/recorded-x/fhir/Goal?page=2\",\"b\":\"/api/FHIR/R40\",\"c\":\"\\/sandbox\\/as\\/recorded-x\\/fhir?x\"}" },
        { "\"body_base64\":\"eyJhIjoxfQ==\"", "{\"a\":1}" },
        { "\"body\":null", "" },
        { "\"accept\":null", "" },
        { "\"body\":\"\\u00fc\\ud83d\\ude00\"", "ü😀" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        char line[2048];
        snprintf(line, sizeof line, PATIENT "{\"url\":\"" B "/Binary/1\",\"status\":200,%s}", rows[i].rest);
        struct cw_sbx_recording *recording = read_good(line);
        ck_assert_str_eq(body_of(recording, "/Binary/1", ""), rows[i].played);
        cw_sbx_recording_free(recording);
    }
}
END_TEST

START_TEST(links_from_the_root_of_a_host_lead_back_too)
{
    struct cw_sbx_recording *recording =
        read_good(LINE("https://h.example/Patient/1", "\"body\":{\"resourceType\":\"Patient\",\"link\":[{\"url\": \"/Goal?a=1\"},{\"url\":\"//x/y\"},{\"ref\":\"/Goal\"}]}"));
    ck_assert_str_eq(body_of(recording, "/Patient/1", ""), "{\"resourceType\":\"Patient\",\"link\":[{\"url\": \"/sandbox/as/recorded-x/fhir/Goal?a=1\"},"
                                                           "{\"url\":\"//x/y\"},{\"ref\":\"/Goal\"}]}");
    cw_sbx_recording_free(recording);
}
END_TEST

START_TEST(what_cannot_be_played_is_refused_with_its_line)
{
#define BAD(rest) PATIENT "{" rest "}", "line 2"
    static const struct {
        const char *text, *says;
        enum cw_code code;
    } rows[] = {
        { "", "no URL in it is one of FHIR", CW_E_MISSING },
        { LINE("https://h.example/r4/metadata", "\"body\":\"\""), "names a patient", CW_E_MISSING },
        { PATIENT "not json", "line 2", CW_E_SYNTAX },
        { PATIENT "[1]", "line 2", CW_E_SYNTAX },
        { PATIENT "{\"url\":\"" B "/Goal\",\"status\":200,\"body\":\"\xff\"}", "line 2", CW_E_SYNTAX },
        { PATIENT "\n" PATIENT "{} {}", "line 4", CW_E_SYNTAX },
        { BAD("\"url\":\"/Goal\",\"status\":200"), CW_E_RANGE },
        { BAD("\"url\":\"file:///etc/passwd\",\"status\":200"), CW_E_RANGE },
        { BAD("\"url\":\"" B "/Go al\",\"status\":200"), CW_E_RANGE },
        { BAD("\"url\":\"" B "/Goal?a=%zz\",\"status\":200"), CW_E_RANGE },
        { BAD("\"url\":\"" B "/Goal\\u0000\",\"status\":200"), CW_E_RANGE },
        { BAD("\"status\":200"), CW_E_RANGE },
        { BAD("\"url\":\"" B "/Goal\",\"status\":0"), CW_E_RANGE },
        { BAD("\"url\":\"" B "/Goal\",\"status\":\"200\""), CW_E_RANGE },
        { BAD("\"url\":\"" B "/Goal\",\"method\":\"GET /\",\"status\":200"), CW_E_RANGE },
        { BAD("\"url\":\"" B "/Goal\",\"status\":200,\"headers\":{\"a b\":\"c\"}"), CW_E_RANGE },
        { BAD("\"url\":\"" B "/Goal\",\"status\":200,\"headers\":{\"a\":\"b\\r\\nc: d\"}"), CW_E_RANGE },
        { BAD("\"url\":\"" B "/Goal\",\"status\":200,\"headers\":{\"a\":1}"), CW_E_RANGE },
        { BAD("\"url\":\"" B "/Goal\",\"status\":200,\"headers\":[]"), CW_E_RANGE },
        { BAD("\"url\":\"" B "/Goal\",\"status\":200,\"body_base64\":\"&&\""), CW_E_SYNTAX },
        { BAD("\"url\":\"" B "/Goal\",\"status\":200,\"body_base64\":{}"), CW_E_SYNTAX },
        { BAD("\"url\":\"" B "/Goal\",\"status\":200,\"body\":\"\\ud800\""), CW_E_SYNTAX },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_sbx_recording *recording = NULL;
        struct cw_err err = { 0 };
        enum cw_code rc = cw_sbx_recording_read(cw_span_cstr(rows[i].text), &recording, &err);
        ck_assert_msg(rc == rows[i].code, "row %zu: %s %s", i, cw_code_name(rc), err.text);
        ck_assert_msg(strstr(err.text, rows[i].says) != NULL, "row %zu: %s", i, err.text);
    }
}
END_TEST

START_TEST(more_headers_than_an_answer_can_have_are_refused)
{
    CW_AUTO_STR text;
    struct cw_sbx_recording *recording = NULL;
    struct cw_err err = { 0 };
    cw_str_init(&text, 65536);
    cw_str_add_cstr(&text, "{\"url\":\"" B "/Patient/1\",\"status\":200,\"headers\":{\"x\":\"");
    for (size_t i = 0; i < CW_SBX_RECORDED_HEADER_MAX; i++) {
        cw_str_add_char(&text, 'y');
    }
    cw_str_add_cstr(&text, "\"}}");
    ck_assert_int_eq(cw_sbx_recording_read(cw_str_span(&text), &recording, &err), CW_E_RANGE);
    cw_str_clear(&text);
    cw_str_add_cstr(&text, "{\"url\":\"" B "/Patient/1\",\"status\":200,\"headers\":{\"x\":\"y\"");
    for (unsigned i = 0; i < CW_SBX_RECORDED_HEADERS_MAX; i++) {
        cw_str_addf(&text, ",\"x%u\":\"y\"", i);
    }
    cw_str_add_cstr(&text, "}}");
    ck_assert_int_eq(cw_sbx_recording_read(cw_str_span(&text), &recording, &err), CW_E_RANGE);
}
END_TEST

static void put_file(const char *folder, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

START_TEST(each_file_of_a_folder_is_a_hospital)
{
    char folder[] = "/tmp/cw-recordings-XXXXXX";
    struct cw_sbx_recordings *recordings = NULL;
    struct cw_sbx_personality as;
    struct cw_err err = { 0 };
    ck_assert_ptr_nonnull(mkdtemp(folder));
    put_file(folder, "Some Vendor.2.ndjson", PATIENT);
    put_file(folder, "b.ndjson", PATIENT);
    put_file(folder, "notes.txt", "no recording");
    ck_assert_int_eq(cw_sbx_recordings_open(folder, &recordings, &err), CW_OK);
    ck_assert_uint_eq(cw_sbx_recordings_count(recordings), 2);
    ck_assert_ptr_nonnull(cw_sbx_recordings_find(recordings, CW_SPAN("recorded-some-vendor-2"), &as));
    ck_assert_str_eq(as.name, "recorded-some-vendor-2");
    ck_assert_ptr_null(cw_sbx_recordings_find(recordings, CW_SPAN("recorded-c"), &as));
    cw_sbx_recordings_free(recordings);
    put_file(folder, "B.ndjson", PATIENT);
    ck_assert_int_eq(cw_sbx_recordings_open(folder, &recordings, &err), CW_E_CONFLICT);
    put_file(folder, "B.ndjson", "");
    ck_assert_int_eq(cw_sbx_recordings_open(folder, &recordings, &err), CW_E_MISSING);
    ck_assert_msg(strstr(err.text, "recorded-b: ") != NULL, "%s", err.text);
    ck_assert_int_eq(cw_sbx_recordings_open("/nowhere/at/all", &recordings, &err), CW_E_IO);
    ck_assert_int_eq(cw_sbx_recordings_open("", &recordings, &err), CW_OK);
    ck_assert_uint_eq(cw_sbx_recordings_count(recordings), 0);
    cw_sbx_recordings_free(recordings);
    static const char *const names[] = { "Some Vendor.2.ndjson", "b.ndjson", "B.ndjson", "notes.txt" };
    for (size_t i = 0; i < CW_ARRAY_LEN(names); i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}
END_TEST

Suite *sandbox_recording_suite(void)
{
    Suite *suite = suite_create("sandbox recordings");
    TCase *tcase = tcase_create("all");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, base_and_patient_are_what_most_urls_say);
    tcase_add_test(tcase, a_query_is_found_in_any_order_and_coding);
    tcase_add_test(tcase, answers_play_in_their_order_and_the_last_stays);
    tcase_add_test(tcase, headers_play_but_those_of_the_connection);
    tcase_add_test(tcase, bodies_are_texts_json_or_bytes);
    tcase_add_test(tcase, links_from_the_root_of_a_host_lead_back_too);
    tcase_add_test(tcase, what_cannot_be_played_is_refused_with_its_line);
    tcase_add_test(tcase, more_headers_than_an_answer_can_have_are_refused);
    tcase_add_test(tcase, each_file_of_a_folder_is_a_hospital);
    suite_add_tcase(suite, tcase);
    return suite;
}
