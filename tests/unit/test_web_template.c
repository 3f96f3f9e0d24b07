/* SPDX-License-Identifier: Apache-2.0 */
/* Templates, locales, return URLs and limits: each on a small www folder of its own. */
#include "config.h"

#include "test_web.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lib/faulty_alloc.h"
#include "os/sys.h"
#include "web/browser.h"
#include "web/template.h"
#include "web/web_int.h"

#define EN "{\"_name\":\"English\",\"_dir\":\"ltr\",\"hi\":\"Hi, {who}!\",\"plain\":\"a < b\"}"
#define ES "{\"_name\":\"Espa\xc3\xb1ol\",\"_dir\":\"ltr\",\"hi\":\"\xc2\xa1Hola, {who}!\",\"plain\":\"a < b\"}"

static char folder[PATH_MAX];
static struct cw_arena *arena;

static void put(const char *path, const char *content)
{
    char whole[PATH_MAX + 64];
    snprintf(whole, sizeof whole, "%s/%s", folder, path);
    ck_assert_int_eq(cw_file_replace(whole, 0644, cw_span_cstr(content), NULL), CW_OK);
}

static void make_folder(const char *path)
{
    char whole[PATH_MAX + 64];
    snprintf(whole, sizeof whole, "%s/%s", folder, path);
    ck_assert_int_eq(mkdir(whole, 0755), 0);
}

static void setup(void)
{
    snprintf(folder, sizeof folder, "/tmp/cw-test-www-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    make_folder("tpl");
    make_folder("tpl/part");
    make_folder("locales");
    put("locales/en.json", EN);
    arena = cw_arena_new(1 << 20);
    ck_assert_ptr_nonnull(arena);
}

static void teardown(void)
{
    static const char *const files[] = { "tpl/page.html", "tpl/part/in.html", "locales/en.json", "locales/es.json",
                                         "tpl/part", "tpl", "locales", "" };
    for (size_t i = 0; i < CW_ARRAY_LEN(files); i++) {
        char whole[PATH_MAX + 64];
        snprintf(whole, sizeof whole, "%s/%s", folder, files[i]);
        (void)remove(whole);
    }
    cw_arena_free(arena);
}

/* Loads page.html made of `html`. */
static enum cw_code load(const char *html, struct cw_templates **ret, struct cw_err *err)
{
    put("tpl/page.html", html);
    return cw_templates_load(folder, ret, err);
}

static struct cw_page *sample_page(void)
{
    struct cw_page *page = cw_page_new(arena);
    cw_page_cstr(page, "evil", "<a href=\"x\" id='y'>&");
    cw_page_cstr(page, "who", "<Ann>");
    cw_page_cstr(page, "js", "javascript:alert(1)");
    cw_page_cstr(page, "tab", "/\t/evil.example");
    cw_page_cstr(page, "slashes", "//evil.example");
    cw_page_cstr(page, "path", "/c/1?a=b&c=d");
    cw_page_cstr(page, "far", "https://a.example/?x=1");
    cw_page_cstr(page, "empty", "");
    cw_page_bool(page, "yes", true);
    cw_page_bool(page, "no", false);
    cw_page_int(page, "seven", 7);
    cw_page_text(page, "broken", cw_span_of("a\xff", 2));
    for (int i = 0; i < 2; i++) {
        struct cw_page *item = cw_page_item(page, "list");
        cw_page_int(item, "n", i);
    }
    return page;
}

START_TEST(values_are_escaped_by_place)
{
    static const struct {
        const char *html;
        const char *want;
    } rows[] = {
        { "<p>{{evil}}</p>", "<p>&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;</p>" },
        { "<p title=\"{{evil}}\">", "<p title=\"&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;\">" },
        { "<p title='{{evil}}'>", "<p title='&lt;a href=&quot;x&quot; id=&#39;y&#39;&gt;&amp;'>" },
        { "<a href=\"{{js}}\">", "<a href=\"#\">" },
        { "<a href=\"{{tab}}\">", "<a href=\"#\">" },
        { "<a href=\"{{slashes}}\">", "<a href=\"#\">" },
        { "<a href=\"{{empty}}\">", "<a href=\"#\">" },
        { "<a href=\"{{path}}\">", "<a href=\"/c/1?a=b&amp;c=d\">" },
        { "<a href='{{far}}'>", "<a href='https://a.example/?x=1'>" },
        { "<a href=\"/x/{{path}}\">", "<a href=\"/x/%2Fc%2F1%3Fa%3Db%26c%3Dd\">" },
        { "<form action=\"{{path}}{{seven}}\">", "<form action=\"/c/1?a=b&amp;c=d7\">" },
        { "<p>{{broken}}</p>", "<p>a\xef\xbf\xbd</p>" },
        { "{{#yes}}1{{/yes}}{{#no}}2{{/no}}{{^no}}3{{/no}}{{^yes}}4{{/yes}}{{#gone}}5{{/gone}}{{^gone}}6{{/gone}}", "136" },
        { "{{#list}}[{{n}}{{seven}}]{{/list}}{{^list}}none{{/list}}", "[07][17]" },
        { "{{#evil}}text{{/evil}}{{#empty}}no{{/empty}}", "text" },
        { "<i{{#yes}} class=\"{{seven}}\"{{/yes}}>", "<i class=\"7\">" },
        { "<b id=\"a{{#no}}b{{/no}}c\">{{! gone }}</b>", "<b id=\"ac\"></b>" },
        { "<p>{{t.hi}}</p>", "<p>Hi, &lt;Ann&gt;!</p>" },
        { "<p title=\"{{t.plain}}\">", "<p title=\"a &lt; b\">" },
        { "<html lang=\"{{lang}}\" dir=\"{{dir}}\">", "<html lang=\"en\" dir=\"ltr\">" },
        { "<!doctype html><!-- a > b -->{{seven}}", "<!doctype html><!-- a > b -->7" },
        { "<script type=\"module\" src=\"/static/js/a.js\"></script>", "<script type=\"module\" src=\"/static/js/a.js\"></script>" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_templates *templates;
        struct cw_err err = { .code = CW_OK };
        ck_assert_msg(load(rows[i].html, &templates, &err) == CW_OK, "row %zu: %s", i, err.text);
        CW_AUTO_STR out;
        cw_str_init(&out, 4096);
        ck_assert_int_eq(cw_template_render(templates, "page", "en", sample_page(), &out, &err), CW_OK);
        ck_assert_msg(strcmp(cw_str_cstr(&out), rows[i].want) == 0, "row %zu: %s", i, cw_str_cstr(&out));
        cw_templates_free(templates);
    }
}
END_TEST

START_TEST(unsafe_templates_stop_the_start)
{
    static const char *const rows[] = {
        "<p title={{evil}}>", "<{{evil}}>", "<p {{evil}}=\"1\">", "<p onclick=\"x()\">", "<p onclick=\"{{evil}}\">",
        "<p style=\"color:red\">", "<style>p{}</style>", "<script>x()</script>", "<script>{{evil}}</script>",
        "<!-- {{evil}} -->", "<meta content=\"{{evil}}\">", "<img srcset=\"{{far}}\">", "a < b",
        "{{#yes}}", "{{/yes}}", "{{#yes}}{{#no}}{{/yes}}{{/no}}", "{{#yes}}<p title=\"{{/yes}}\">",
        "<a {{#yes}}on{{/yes}}click=\"{{evil}}\">", "{{t.nothing}}", "<a href=\"{{t.hi}}\">", "{{Evil}}", "{{", "{{}}", "<p",
        "{{>part/none}}", "{{>page}}", "<p title=\"a", "<p title=>",
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_templates *templates;
        struct cw_err err = { .code = CW_OK };
        enum cw_code rc = load(rows[i], &templates, &err);
        ck_assert_msg(rc == CW_E_SYNTAX, "row %zu, %s: %d", i, rows[i], rc);
        ck_assert_msg(strstr(err.text, "page.html:1") != NULL, "row %zu: %s", i, err.text);
    }
}
END_TEST

START_TEST(includes_and_unknown_templates)
{
    struct cw_templates *templates;
    put("tpl/part/in.html", "[{{seven}}]");
    ck_assert_int_eq(load("<p title=\"{{>part/in}}\">{{>part/in}}</p>", &templates, NULL), CW_OK);
    CW_AUTO_STR out;
    cw_str_init(&out, 100);
    ck_assert_int_eq(cw_template_render(templates, "page", "en", sample_page(), &out, NULL), CW_OK);
    ck_assert_str_eq(cw_str_cstr(&out), "<p title=\"[7]\">[7]</p>");
    ck_assert_int_eq(cw_template_render(templates, "nothing", "en", sample_page(), &out, NULL), CW_E_NOT_FOUND);
    struct cw_str small;
    cw_str_init(&small, 10);
    ck_assert_int_eq(cw_template_render(templates, "page", "en", sample_page(), &small, NULL), CW_E_TOO_BIG);
    cw_templates_free(templates);
    put("tpl/part/in.html", "<p title=\"{{seven}}");
    ck_assert_int_eq(load("x", &templates, NULL), CW_E_SYNTAX);
}
END_TEST

START_TEST(locales_must_agree)
{
    static const char *const wrong[] = {
        "{\"_name\":\"E\",\"_dir\":\"ltr\",\"hi\":\"{who}\"}",                                     /* a key is missing */
        "{\"_name\":\"E\",\"_dir\":\"ltr\",\"hi\":\"{who}\",\"other\":\"\"}",                      /* another key */
        "{\"_name\":\"E\",\"_dir\":\"ltr\",\"hi\":\"{who}\",\"plain\":\"\",\"more\":\"\"}",        /* one more */
        "{\"_name\":\"E\",\"_dir\":\"ltr\",\"hi\":\"who\",\"plain\":\"\"}",                        /* a place is missing */
        "{\"_name\":\"E\",\"_dir\":\"ltr\",\"hi\":\"{who}\",\"plain\":\"{who}\"}",                 /* a place too many */
        "{\"_name\":\"E\",\"_dir\":\"ltr\",\"hi\":\"{who}\",\"plain\":1}",                         /* not a text */
        "[]", "{",
    };
    struct cw_templates *templates;
    for (size_t i = 0; i < CW_ARRAY_LEN(wrong); i++) {
        put("locales/es.json", wrong[i]);
        ck_assert_msg(load("x", &templates, NULL) == CW_E_CONFIG, "row %zu", i);
    }
    put("locales/es.json", ES);
    ck_assert_int_eq(load("{{t.hi}}", &templates, NULL), CW_OK);
    ck_assert(cw_locale_has(templates, "hi") && !cw_locale_has(templates, "h") && !cw_locale_has(templates, "hix"));
    const char *name;
    ck_assert_uint_eq(cw_language_count(templates), 2);
    ck_assert_str_eq(cw_language_at(templates, 1, &name), "es");
    ck_assert_str_eq(name, "Espa\xc3\xb1ol");
    CW_AUTO_STR out;
    cw_str_init(&out, 100);
    ck_assert_int_eq(cw_locale_text(templates, "es", "hi", sample_page(), &out), CW_OK);
    ck_assert_str_eq(cw_str_cstr(&out), "\xc2\xa1Hola, <Ann>!");
    cw_templates_free(templates);
}
END_TEST

START_TEST(languages_are_chosen)
{
    static const struct {
        const char *asked;
        const char *accept;
        const char *want;
    } rows[] = {
        { NULL, NULL, "en" },
        { "es", NULL, "es" },
        { "es-MX", "en", "es" },
        { "fr", "es", "es" },
        { NULL, "fr, es;q=0.5, en;q=0.4", "es" },
        { NULL, "fr, es;q=0.3, en-GB;q=0.4", "en" },
        { NULL, "es;q=0, en;q=0.1", "en" },
        { NULL, "ES-419", "es" },
        { NULL, "es;q=nan", "en" },
        { NULL, ",,;;q=,*", "en" },
    };
    struct cw_templates *templates;
    put("locales/es.json", ES);
    ck_assert_int_eq(load("x", &templates, NULL), CW_OK);
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        const char *tag = cw_language_choose(templates, cw_span_cstr(rows[i].asked), cw_span_cstr(rows[i].accept));
        ck_assert_msg(strcmp(tag, rows[i].want) == 0, "row %zu: %s", i, tag);
    }
    cw_templates_free(templates);
}
END_TEST

START_TEST(memory_that_runs_out_is_told)
{
    struct cw_templates *templates;
    struct cw_arena *tiny = cw_arena_new(512);
    ck_assert_int_eq(load("{{#list}}{{n}}{{/list}}", &templates, NULL), CW_OK);
    struct cw_page *page = cw_page_new(tiny);
    ck_assert_ptr_nonnull(page);
    for (int i = 0; i < 100; i++) {
        cw_page_int(cw_page_item(page, "list"), "n", i);
    }
    CW_AUTO_STR out;
    cw_str_init(&out, 1000);
    ck_assert_int_eq(cw_template_render(templates, "page", "en", page, &out, NULL), CW_E_OOM);
    cw_arena_free(tiny);
    cw_templates_free(templates);
}
END_TEST

/* One page from the files to its text: each allocation on the way fails once. */
static enum cw_code load_and_render(void)
{
    struct cw_templates *templates = NULL;
    struct cw_arena *own = cw_arena_new(1 << 20);
    if (own == NULL) {
        return CW_E_OOM;
    }
    enum cw_code rc = cw_templates_load(folder, &templates, NULL);
    struct cw_page *page = cw_page_new(own);
    CW_AUTO_STR out;
    cw_str_init(&out, 4096);
    if (rc == CW_OK && page == NULL) {
        rc = CW_E_OOM;
    }
    if (rc == CW_OK) {
        cw_page_text(page, "broken", cw_span_of("a\xff", 2));
        cw_page_cstr(page, "who", "you");
        cw_page_int(cw_page_item(page, "list"), "n", 1);
        rc = cw_template_render(templates, "page", "en", page, &out, NULL);
    }
    cw_templates_free(templates);
    cw_arena_free(own);
    return rc;
}

static enum cw_code parse_form(void)
{
    static const struct cw_input table[] = { { .name = "a", .kind = CW_IN_TEXT, .max = 10 }, { .name = NULL } };
    struct cw_inputs inputs;
    struct cw_input_fault fault;
    struct cw_arena *own = cw_arena_new(1 << 20);
    enum cw_code rc = own == NULL ? CW_E_OOM
                                  : cw_inputs_parse(own, CW_SPAN("x=%20&a=%C3%A9"), table, true, &inputs, &fault);
    cw_arena_free(own);
    return rc;
}

START_TEST(a_heap_that_fails_is_told)
{
    enum cw_code (*const things[])(void) = { load_and_render, parse_form };
    put("tpl/page.html", "<p title=\"{{broken}}\">{{t.hi}}{{#list}}{{n}}{{/list}}</p>");
    faulty_alloc_hook_jansson();
    for (size_t i = 0; i < CW_ARRAY_LEN(things); i++) {
        unsigned n = 0;
        bool reached = true;
        while (reached) {
            faulty_alloc_arm(++n);
            enum cw_code rc = things[i]();
            reached = faulty_alloc_disarm();
            /* jansson does not tell a failed allocation from a bad text, so its load says that the locale is wrong */
            ck_assert_msg(reached ? rc == CW_E_OOM || rc == CW_E_CONFIG : rc == CW_OK, "thing %zu, allocation %u: %d", i, n, rc);
        }
        ck_assert_uint_gt(n, 3);
    }
    faulty_alloc_arm(1);
    ck_assert_ptr_null(cw_limiter_new(100));
    ck_assert(faulty_alloc_disarm());
}
END_TEST

START_TEST(return_urls_keep_what_is_the_apps)
{
    static const struct {
        const char *url;
        const char *want;
    } rows[] = {
        { "https://a.example/back", "https://a.example/back?patient_id=p%2F1&success=true" },
        { "https://a.example/back?", "https://a.example/back?patient_id=p%2F1&success=true" },
        { "https://a.example/?x=%20+y&&z", "https://a.example/?x=%20+y&z&patient_id=p%2F1&success=true" },
        { "https://a.example/?patient_id=evil&x=1&patient%5Fid=2", "https://a.example/?x=1&patient_id=p%2F1&success=true" },
        { "https://a.example/?error=old#frag?patient_id=x", "https://a.example/?patient_id=p%2F1&success=true#frag?patient_id=x" },
        { "com.example.app:/cb#", "com.example.app:/cb?patient_id=p%2F1&success=true#" },
    };
    const struct cw_return_param params[] = {
        { "patient_id", CW_SPAN("p/1") }, { "success", CW_SPAN("true") }, { "error", { NULL, 0 } }, { NULL, { NULL, 0 } },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_STR out;
        cw_str_init(&out, 4096);
        ck_assert_int_eq(cw_return_url(cw_span_cstr(rows[i].url), params, &out), CW_OK);
        ck_assert_msg(strcmp(cw_str_cstr(&out), rows[i].want) == 0, "row %zu: %s", i, cw_str_cstr(&out));
    }
    CW_AUTO_STR small;
    cw_str_init(&small, 20);
    ck_assert_int_eq(cw_return_url(CW_SPAN("https://a.example/back"), params, &small), CW_E_TOO_BIG);
}
END_TEST

START_TEST(form_action_names_where_a_return_leads)
{
    static const struct {
        const char *url;
        const char *want;
    } rows[] = {
        { "https://a.example/back?x#y", "https://a.example" },
        { "http://127.0.0.1:3000", "http://127.0.0.1:3000" },
        { "https://a.example;script-src:1/", "https://a.example" },
        { "com.example.app:/cb", "com.example.app:" },
        { "nonsense", "" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        CW_AUTO_STR out;
        cw_str_init(&out, 4096);
        ck_assert_int_eq(cw_return_form_action(cw_span_cstr(rows[i].url), &out), CW_OK);
        ck_assert_str_eq(cw_str_cstr(&out), rows[i].want);
    }
}
END_TEST

START_TEST(limits_are_by_kind_and_key)
{
    struct cw_limiter *limiter = cw_limiter_new(64);
    unsigned wait = 0;
    ck_assert_ptr_nonnull(limiter);
    for (int i = 0; i < 5; i++) {
        ck_assert(cw_limiter_take(limiter, "page", CW_SPAN("192.0.2.1"), 5, &wait));
    }
    ck_assert(!cw_limiter_take(limiter, "page", CW_SPAN("192.0.2.1"), 5, &wait));
    ck_assert_uint_ge(wait, 1);
    ck_assert_uint_le(wait, 13);
    ck_assert(cw_limiter_take(limiter, "page", CW_SPAN("192.0.2.2"), 5, &wait));
    ck_assert(cw_limiter_take(limiter, "search", CW_SPAN("192.0.2.1"), 5, &wait));
    ck_assert(!cw_limiter_take(limiter, "none", CW_SPAN("x"), 0, &wait));
    for (int i = 0; i < 10000; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        ck_assert(cw_limiter_take(limiter, "flood", cw_span_cstr(key), 5, &wait)); /* the table stays as it is */
    }
    cw_limiter_free(limiter);
    cw_limiter_free(NULL);
}
END_TEST

Suite *web_template_suite(void)
{
    Suite *suite = suite_create("web: pages");
    TCase *tcase = tcase_create("pages");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, values_are_escaped_by_place);
    tcase_add_test(tcase, unsafe_templates_stop_the_start);
    tcase_add_test(tcase, includes_and_unknown_templates);
    tcase_add_test(tcase, locales_must_agree);
    tcase_add_test(tcase, languages_are_chosen);
    tcase_add_test(tcase, memory_that_runs_out_is_told);
    tcase_add_test(tcase, a_heap_that_fails_is_told);
    tcase_add_test(tcase, return_urls_keep_what_is_the_apps);
    tcase_add_test(tcase, form_action_names_where_a_return_leads);
    tcase_add_test(tcase, limits_are_by_kind_and_key);
    suite_add_tcase(suite, tcase);
    return suite;
}
