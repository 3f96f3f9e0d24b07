/* SPDX-License-Identifier: Apache-2.0 */
/* Catalogue files into rows: each format, each reason for a reject, and real lists where they are there. */
#include "config.h"

#include "catalog/import.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"
#include "test_fhir.h"

static bool allow_loopback(void *arg, const char *host, unsigned port)
{
    (void)arg;
    return strcmp(host, "127.0.0.1") == 0 && port == 8481;
}

static const struct cw_catalog_options options = { .environment = CW_ENV_SANDBOX, .allow = allow_loopback };

static struct cw_catalog read_text(const char *text)
{
    struct cw_catalog catalog = { .format = NULL };
    struct cw_err err = { .code = CW_OK };
    enum cw_code rc = cw_catalog_read(cw_span_cstr(text), &options, fhir_arena, &catalog, &err);
    ck_assert_msg(rc == CW_OK, "%s", err.text);
    return catalog;
}

static const struct cw_source_row *row_named(const struct cw_catalog *catalog, const char *name)
{
    for (size_t i = 0; i < catalog->count; i++) {
        if (cw_span_eq_cstr(catalog->rows[i].source.name, name)) {
            return &catalog->rows[i];
        }
    }
    ck_abort_msg("no row %s", name);
    return NULL;
}

/* --- one row, by way of Lantern's form --- */

static const struct {
    const char *name, *url;
    const char *reason;     /* NULL: taken */
    const char *normal;     /* of the base, when taken */
} lantern_rows[] = {
    { "Good Clinic", "https://Fhir.Good.example:443/R4/", NULL, "https://fhir.good.example/R4" },
    { "Good Clinic", ": https://fhir.good.example/R4", NULL, "https://fhir.good.example/R4" },
    { "Good Clinic", " https://fhir.good.example/R4/metadata ", NULL, "https://fhir.good.example/R4" },
    { ": Good Clinic", "https://fhir.good.example/R4", NULL, "https://fhir.good.example/R4" },
    { "Sandbox", "http://127.0.0.1:8481/sandbox/fhir", NULL, "http://127.0.0.1:8481/sandbox/fhir" },
    { "K\xc3\xb6nig 24", "https://fhir.good.example/R4", NULL, "https://fhir.good.example/R4" },
    { "A", "", CW_REJECT_NO_URL, NULL },
    { "A", "   ", CW_REJECT_NO_URL, NULL },
    { "A", "/fhir/r4", CW_REJECT_RELATIVE_URL, NULL },
    { "A", "fhir.good.example/r4", CW_REJECT_RELATIVE_URL, NULL },
    { "A", "ftp://fhir.good.example/r4", CW_REJECT_BAD_URL, NULL },
    { "A", "https://", CW_REJECT_BAD_URL, NULL },
    { "A", "https://user:pw@fhir.good.example/r4", CW_REJECT_BAD_URL, NULL },
    { "A", "https://fhir.good.example/r4?x=1", CW_REJECT_BAD_URL, NULL },
    { "A", "https://fhir.good.example/a b", CW_REJECT_BAD_URL, NULL },
    { "A", "http://fhir.good.example/r4", CW_REJECT_HTTP, NULL },
    { "A", "http://127.0.0.1:8482/fhir", CW_REJECT_INTERNAL_HOST, NULL },
    { "A", "https://10.1.2.3/fhir", CW_REJECT_INTERNAL_HOST, NULL },
    { "A", "https://ehrserver/fhir", CW_REJECT_INTERNAL_HOST, NULL },
    { "A", "https://ehr.hospital.local/fhir", CW_REJECT_INTERNAL_HOST, NULL },
    { "A", "https://[::1]/fhir", CW_REJECT_INTERNAL_HOST, NULL },
    { "", "https://fhir.good.example/r4", CW_REJECT_NO_NAME, NULL },
    { " : ", "https://fhir.good.example/r4", CW_REJECT_NO_NAME, NULL },
    { "--", "https://fhir.good.example/r4", CW_REJECT_NO_NAME, NULL },
    { "10023 4", "https://fhir.good.example/r4", CW_REJECT_NUMERIC_NAME, NULL },
    { "**DO NOT USE** Clinic", "https://fhir.good.example/r4", CW_REJECT_BAD_NAME, NULL },
    { "A", "https://fhir.good.example/api/FHIR/DSTU2", CW_REJECT_NOT_R4, NULL },
};

START_TEST(lantern_row_rules)
{
    char json[1024];
    ck_assert_int_lt(snprintf(json, sizeof(json), "{\"Endpoints\":[{\"URL\":\"%s\",\"OrganizationName\":\"%s\",\"NPIID\":\"\",\"OrganizationZipCode\":\"53703\"}]}",
                              lantern_rows[_i].url, lantern_rows[_i].name),
                     (int)sizeof(json));
    struct cw_catalog catalog = read_text(json);
    ck_assert_str_eq(catalog.format, "lantern");
    if (lantern_rows[_i].reason != NULL) {
        ck_assert_uint_eq(catalog.count, 0);
        ck_assert_uint_eq(catalog.reject_count, 1);
        ck_assert_str_eq(catalog.rejects[0].reason, lantern_rows[_i].reason);
        return;
    }
    ck_assert_msg(catalog.count == 1, "row %d: %s", _i, catalog.reject_count > 0 ? catalog.rejects[0].reason : "");
    ck_assert_span_eq(catalog.rows[0].normal_base, lantern_rows[_i].normal);
    ck_assert_span_eq(catalog.rows[0].source.postal_code, "53703");
    ck_assert(catalog.rows[0].source.name.ptr[0] != ':');
}
END_TEST

START_TEST(lantern_shared_base)
{
    struct cw_catalog catalog = read_text("{\"Endpoints\":["
                                          "{\"URL\":\"https://api.platform.athenahealth.com/fhir/r4\",\"OrganizationName\":\"North Clinic\"},"
                                          "{\"URL\":\"https://api.platform.athenahealth.com/fhir/r4/\",\"OrganizationName\":\"South Clinic\"},"
                                          "{\"URL\":\"https://API.platform.athenahealth.com/fhir/r4\",\"OrganizationName\":\"NORTH  clinic\"},"
                                          "{\"URL\":\"https://api.platform.athenahealth.com/fhir/r4\",\"OrganizationName\":\"North Clinic\",\"OrganizationZipCode\":\"1\"},"
                                          "7,{\"URL\":[],\"OrganizationName\":3}]}");
    ck_assert_uint_eq(catalog.count, 3);
    ck_assert_span_eq(catalog.rows[0].source.vendor, "athena");
    ck_assert_span_eq(catalog.rows[0].source.base_url, "https://api.platform.athenahealth.com/fhir/r4");
    ck_assert_uint_eq(catalog.reject_count, 3);
    ck_assert_str_eq(catalog.rejects[0].reason, CW_REJECT_DUPLICATE);
    ck_assert_uint_eq(catalog.rejects[0].position, 2);
    ck_assert_str_eq(catalog.rejects[1].reason, CW_REJECT_UNREADABLE);
    ck_assert_str_eq(catalog.rejects[2].reason, CW_REJECT_NO_URL);
}
END_TEST

/* --- bundles --- */

#define URL_EXT "http://hl7.org/fhir/StructureDefinition/"

static const char brands[] =
    "{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"entry\":["
    "{\"fullUrl\":\"https://b.example/Organization/top\",\"resource\":{\"resourceType\":\"Organization\",\"id\":\"top\",\"name\":\"Example Health\","
    "\"alias\":[\"Old Name\",7],\"address\":[{\"line\":[\"1 Main St\"],\"city\":\"Madison\",\"state\":\"WI\",\"postalCode\":\"53703\",\"country\":\"US\"},"
    "{\"city\":\"Anamosa\",\"state\":\"IA\"}],"
    "\"extension\":[{\"url\":\"" URL_EXT "organization-brand\",\"extension\":[{\"url\":\"brandLogo\",\"valueUrl\":\"https://b.example/logo.png\"}]},"
    "{\"url\":\"" URL_EXT "organization-portal\",\"extension\":[{\"url\":\"portalName\",\"valueString\":\"MyExample\"},"
    "{\"url\":\"portalUrl\",\"valueUrl\":\"https://b.example/portal\"},"
    "{\"url\":\"portalEndpoint\",\"valueReference\":{\"reference\":\"Endpoint/e4\"}},"
    "{\"url\":\"portalEndpoint\",\"valueReference\":{\"reference\":\"https://b.example/Endpoint/e2\"}}]}],"
    "\"endpoint\":[{\"reference\":\"Endpoint/e4\"},{\"reference\":\"Endpoint/gone\"}]}},"
    "{\"resource\":{\"resourceType\":\"Organization\",\"id\":\"part\",\"name\":\"Example Kids\",\"partOf\":{\"reference\":\"Organization/top\"}}},"
    "{\"resource\":{\"resourceType\":\"Organization\",\"id\":\"alone\",\"name\":\"Nobody\"}},"
    "{\"resource\":{\"resourceType\":\"Endpoint\",\"id\":\"e4\",\"status\":\"active\",\"connectionType\":{\"code\":\"hl7-fhir-rest\"},"
    "\"extension\":[{\"url\":\"" URL_EXT "endpoint-fhir-version\",\"valueCode\":\"4.0.1\"}],\"address\":\"https://fhir.b.example/r4\"}},"
    "{\"fullUrl\":\"https://b.example/Endpoint/e2\",\"resource\":{\"resourceType\":\"Endpoint\",\"id\":\"e2\","
    "\"extension\":[{\"url\":\"" URL_EXT "endpoint-fhir-version\",\"valueCode\":\"1.0.2\"}],\"address\":\"https://fhir.b.example/r2\"}}]}";

START_TEST(brand_bundle)
{
    struct cw_catalog catalog = read_text(brands);
    ck_assert_str_eq(catalog.format, "smart_brands");
    ck_assert_uint_eq(catalog.count, 2);
    const struct cw_source_row *top = row_named(&catalog, "Example Health");
    ck_assert_span_eq(top->source.portal_name, "MyExample");
    ck_assert_span_eq(top->source.portal_url, "https://b.example/portal");
    ck_assert_span_eq(top->source.logo_url, "https://b.example/logo.png");
    ck_assert_span_eq(top->source.aliases, "Old Name\nAnamosa");
    ck_assert_span_eq(top->source.address_line, "1 Main St");
    ck_assert_span_eq(top->source.city, "Madison");
    ck_assert_span_eq(top->fhir_version, "4.0.1");
    ck_assert_ptr_null(top->source.brand.ptr);
    const struct cw_source_row *part = row_named(&catalog, "Example Kids");
    ck_assert_span_eq(part->source.brand, "Example Health");
    ck_assert_span_eq(part->source.aliases, "Example Health");
    ck_assert_span_eq(part->source.base_url, "https://fhir.b.example/r4");
    ck_assert_span_eq(part->source.portal_name, "MyExample");
    ck_assert_uint_eq(catalog.reject_count, 3); /* r2 for both, and Nobody */
    ck_assert_str_eq(catalog.rejects[0].reason, CW_REJECT_NOT_R4);
    ck_assert_str_eq(catalog.rejects[2].reason, CW_REJECT_NO_ENDPOINT);
}
END_TEST

/* Each as a big vendor writes it. */
static const char *const endpoint_entries[] = {
    "{\"resource\":{\"resourceType\":\"Endpoint\",\"contained\":[{\"resourceType\":\"Organization\",\"id\":\"wKX/r+A=\",\"name\":\"Clinic\"}],"
    "\"managingOrganization\":{\"reference\":\"wKX/r+A=\"},\"status\":\"active\",\"address\":\"https://fhir.c.example/api/FHIR/R4\"}}",
    "{\"resource\":{\"resourceType\":\"Endpoint\",\"contained\":[{\"resourceType\":\"Organization\",\"id\":\"O-1\",\"name\":\"Clinic\"}],"
    "\"managingOrganization\":{\"id\":\"#O-1\"},\"address\":\"https://fhir.c.example/r4/\"}}",
    "{\"resource\":{\"resourceType\":\"endpoint\",\"contained\":[{\"id\":\"x\",\"name\":\"Clinic\"}],\"address\":\"https://fhir.c.example/r4/\"}}",
    "{\"resource\":{\"resourceType\":\"Endpoint\",\"name\":\"Clinic\",\"address\":\"https://fhir.c.example/r4\",\"managingOrganization\":{\"reference\":\"gone\"}}}",
    "{\"resourceType\":\"Endpoint\",\"name\":\"Clinic\",\"address\":\"https://fhir.c.example/r4\",\"connectionType\":[{\"code\":\"hl7-fhir-rest\"}]}",
    "{\"resource\":{\"resourceType\":\"Endpoint\",\"address\":\"https://fhir.c.example/r4\",\"managingOrganization\":{\"reference\":\"o1\"}}},"
    "{\"resource\":{\"resourceType\":\"ORGANIZATION\",\"id\":\"o1\",\"name\":\"Clinic\"}}",
    "{\"resource\":{\"resourceType\":\"Organization\",\"id\":\"o1\",\"name\":\"Clinic\",\"endpoint\":[{\"reference\":\"e1\"}]}},"
    "{\"resource\":{\"resourceType\":\"Endpoint\",\"id\":\"e1\",\"address\":\"https://fhir.c.example/r4\"}}",
};

START_TEST(endpoint_bundle)
{
    struct cw_str json;
    cw_str_init(&json, 65536);
    cw_str_addf(&json, "{\"resourceType\":\"bundle\",\"entry\":[%s]}", endpoint_entries[_i]);
    struct cw_catalog catalog = read_text(cw_str_cstr(&json));
    ck_assert_msg(catalog.count == 1, "entry %d: %s", _i, catalog.reject_count > 0 ? catalog.rejects[0].reason : "");
    ck_assert_uint_eq(catalog.reject_count, 0);
    ck_assert_span_eq(catalog.rows[0].source.name, "Clinic");
    if (_i == 0) {
        ck_assert_span_eq(catalog.rows[0].source.vendor, "epic");
    }
    cw_str_release(&json);
}
END_TEST

static const struct {
    const char *entry, *reason;
} bad_endpoints[] = {
    { "{\"resource\":{\"resourceType\":\"Endpoint\",\"status\":\"off\",\"name\":\"A\",\"address\":\"https://a.example/r4\"}}", CW_REJECT_INACTIVE },
    { "{\"resource\":{\"resourceType\":\"Endpoint\",\"name\":\"A\",\"connectionType\":{\"code\":\"direct-project\"},\"address\":\"mailto:a@a.example\"}}", CW_REJECT_NOT_FHIR },
    { "{\"resource\":{\"resourceType\":\"Endpoint\",\"name\":\"A\"}}", CW_REJECT_NO_URL },
    { "{\"resource\":{\"resourceType\":\"Endpoint\",\"address\":\"https://a.example/r4\"}}", CW_REJECT_NO_NAME },
    { "[1]", CW_REJECT_UNREADABLE },
};

START_TEST(bad_endpoint)
{
    struct cw_str json;
    cw_str_init(&json, 65536);
    cw_str_addf(&json, "{\"entry\":[%s],\"resourceType\":\"Bundle\"}", bad_endpoints[_i].entry);
    struct cw_catalog catalog = read_text(cw_str_cstr(&json));
    ck_assert_uint_eq(catalog.count, 0);
    ck_assert_uint_eq(catalog.reject_count, 1);
    ck_assert_str_eq(catalog.rejects[0].reason, bad_endpoints[_i].reason);
    cw_str_release(&json);
}
END_TEST

START_TEST(organization_loop)
{
    struct cw_catalog catalog =
        read_text("{\"resourceType\":\"Bundle\",\"entry\":[{\"resource\":{\"resourceType\":\"Organization\",\"id\":\"a\",\"name\":\"A\",\"partOf\":{\"reference\":\"b\"}}},"
                  "{\"resource\":{\"resourceType\":\"Organization\",\"id\":\"b\",\"name\":\"B\",\"partOf\":{\"reference\":\"a\"}}}]}");
    ck_assert_uint_eq(catalog.count, 0);
    ck_assert_uint_eq(catalog.reject_count, 2);
}
END_TEST

/* --- whole files --- */

static const struct {
    const char *text;
    enum cw_code code;
} file_rows[] = {
    { "https://fhir.good.example/r4", CW_OK },
    { "", CW_E_SYNTAX },
    { "hello", CW_E_SYNTAX },
    { "Name,URL\nA,https://a.example\n", CW_E_SYNTAX },
    { "{\"Endpoints\":[", CW_E_SYNTAX },
    { "{\"Endpoints\":[1}", CW_E_SYNTAX },
    { "{\"Endpoints\":[]} x", CW_E_SYNTAX },
    { "{\"Endpoints\":{}}", CW_E_UNSUPPORTED },
    { "{\"resourceType\":\"Bundle\"}", CW_E_UNSUPPORTED },
    { "{\"resourceType\":\"Patient\",\"entry\":[]}", CW_E_UNSUPPORTED },
    { "[]", CW_E_UNSUPPORTED },
    { "{\"Endpoints\":[]}", CW_OK },
    { "\xef\xbb\xbf{\"Endpoints\":[]}\r\n", CW_OK },
};

START_TEST(file_formats)
{
    struct cw_catalog catalog;
    struct cw_err err = { .code = CW_OK };
    ck_assert_int_eq(cw_catalog_read(cw_span_cstr(file_rows[_i].text), &options, fhir_arena, &catalog, &err), file_rows[_i].code);
    ck_assert_int_eq(err.code, file_rows[_i].code);
}
END_TEST

START_TEST(bare_url)
{
    struct cw_catalog catalog = read_text(" https://fhir.good.example/r4\n");
    ck_assert_str_eq(catalog.format, "url");
    ck_assert_span_eq(catalog.rows[0].source.name, "fhir.good.example");
}
END_TEST

START_TEST(name_limit)
{
    for (size_t len = CW_SOURCE_NAME_MAX - 1; len <= CW_SOURCE_NAME_MAX + 1; len++) {
        char name[CW_SOURCE_NAME_MAX + 2] = "";
        memset(name, 'a', len);
        struct cw_catalog_options named = options;
        named.name = cw_span_of(name, len);
        struct cw_catalog catalog;
        ck_assert_int_eq(cw_catalog_read(CW_SPAN("https://a.example/r4"), &named, fhir_arena, &catalog, NULL), CW_OK);
        ck_assert_uint_eq(catalog.count, len <= CW_SOURCE_NAME_MAX ? 1 : 0);
        if (catalog.count == 0) {
            ck_assert_str_eq(catalog.rejects[0].reason, CW_REJECT_BAD_NAME);
        }
    }
}
END_TEST

START_TEST(identity_is_stable)
{
    struct cw_catalog one = read_text("{\"Endpoints\":[{\"URL\":\"https://A.example:443/r4/\",\"OrganizationName\":\"The Clinic\",\"OrganizationZipCode\":\"1\"}]}");
    struct cw_catalog two = read_text("{\"Endpoints\":[{\"OrganizationName\":\" the  CLINIC\",\"URL\":\"https://a.example/r4\",\"OrganizationZipCode\":\"1\"}]}");
    ck_assert_mem_eq(one.rows[0].identity_hash, two.rows[0].identity_hash, CW_HASH_LEN);
}
END_TEST

START_TEST(no_memory)
{
    struct cw_arena *small = cw_arena_new(512);
    struct cw_catalog catalog;
    ck_assert_int_eq(cw_catalog_read(cw_span_cstr(brands), &options, small, &catalog, NULL), CW_E_OOM);
    cw_arena_free(small);
}
END_TEST

/* Real lists are no part of the project; where they are, every one must be read and most of it taken. */
#define REAL CW_TEST_SRCDIR "/../shared/data/catalog" /* beside the checkout */

static void real_file(const char *name, struct cw_span content)
{
    struct cw_catalog catalog;
    struct cw_err err = { .code = CW_OK };
    enum cw_code rc = cw_catalog_read(content, &options, fhir_arena, &catalog, &err);
    ck_assert_msg(rc == CW_OK, "%s: %s", name, err.text);
    ck_assert_msg(catalog.count > 0, "%s: no row", name);
    if (strstr(name, "lantern") != NULL || strstr(name, "oracle") != NULL) {
        ck_assert_msg(catalog.count > 9 * catalog.reject_count, "%s: %zu rows, %zu rejects", name, catalog.count, catalog.reject_count);
    }
    if (getenv("CATALOG_VERBOSE") != NULL) {
        printf("%s %s: %zu rows, %zu rejects\n", name, catalog.format, catalog.count, catalog.reject_count);
        for (size_t i = 0; i < catalog.reject_count && i < 10; i++) {
            printf("   %s %.*s %.*s\n", catalog.rejects[i].reason, (int)catalog.rejects[i].name.len, catalog.rejects[i].name.ptr,
                   (int)catalog.rejects[i].url.len, catalog.rejects[i].url.ptr);
        }
    }
    cw_arena_clear(fhir_arena);
}

START_TEST(real_lists)
{
    if (access(REAL, R_OK) == 0) {
        ck_assert_uint_gt(fhir_each_file(REAL, real_file), 0);
    }
}
END_TEST

Suite *suite_catalog_import(void)
{
    Suite *suite = suite_create("catalog/import");
    TCase *tcase = tcase_create("import");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, fhir_setup, fhir_teardown);
    tcase_add_loop_test(tcase, lantern_row_rules, 0, (int)CW_ARRAY_LEN(lantern_rows));
    tcase_add_test(tcase, lantern_shared_base);
    tcase_add_test(tcase, brand_bundle);
    tcase_add_loop_test(tcase, endpoint_bundle, 0, (int)CW_ARRAY_LEN(endpoint_entries));
    tcase_add_loop_test(tcase, bad_endpoint, 0, (int)CW_ARRAY_LEN(bad_endpoints));
    tcase_add_test(tcase, organization_loop);
    tcase_add_loop_test(tcase, file_formats, 0, (int)CW_ARRAY_LEN(file_rows));
    tcase_add_test(tcase, bare_url);
    tcase_add_test(tcase, name_limit);
    tcase_add_test(tcase, identity_is_stable);
    tcase_add_test(tcase, no_memory);
    tcase_add_test(tcase, real_lists);
    suite_add_tcase(suite, tcase);
    return suite;
}
