/* SPDX-License-Identifier: Apache-2.0 */
/* Our identifier in a served Patient: once, and nothing else changed. */
#include "config.h"

#include "fhir/identifier.h"

#include "test_fhir.h"

#define SYSTEM CW_SPAN("urn:chartway:patient-id")
#define OURS "{\"system\":\"urn:chartway:patient-id\",\"value\":\"app \\\"1\\\"\"}"

static const struct {
    const char *sent, *served;
} put_rows[] = {
    { "{}", "{\"identifier\":[" OURS "]}" },
    { "{ \"id\": \"1\" }", "{ \"id\": \"1\",\"identifier\":[" OURS "] }" },
    { "{\"id\":\"1\",\"n\":1.10}", "{\"id\":\"1\",\"n\":1.10,\"identifier\":[" OURS "]}" },
    { "{\"identifier\":[],\"n\":0.50}", "{\"identifier\":[" OURS "],\"n\":0.50}" },
    { "{\"identifier\":[ ],\"n\":1}", "{\"identifier\":[" OURS " ],\"n\":1}" },
    { "{\"identifier\":null,\"n\":1}", "{\"identifier\":[" OURS "],\"n\":1}" },
    { "{\"identifier\":{\"system\":\"s\",\"value\":\"1\"}}",
      "{\"identifier\":[{\"system\":\"s\",\"value\":\"1\"}," OURS "]}" },
    { "{\"identifier\":{\"system\":\"urn:chartway:patient-id\",\"value\":\"1\"}}", "{\"identifier\":[" OURS "]}" },
    { "{\"identifier\" : [\n  {\"system\":\"s\"}\n] }", "{\"identifier\" : [\n  {\"system\":\"s\"}," OURS "\n] }" },
    { "{\"identifier\":[{\"system\":\"urn:chartway:patient-id\",\"value\":\"x\"}]}", "{\"identifier\":[" OURS "]}" },
    { "{\"identifier\":[{\"system\":\"urn:chartway:patient-id\"}, {\"system\":\"a\"}, {\"system\":\"b\"}]}",
      "{\"identifier\":[{\"system\":\"a\"}, {\"system\":\"b\"}," OURS "]}" },
    { "{\"identifier\":[{\"system\":\"a\"}, {\"system\":\"urn:chartway:patient-id\"}, {\"system\":\"b\"}]}",
      "{\"identifier\":[{\"system\":\"a\"}, {\"system\":\"b\"}," OURS "]}" },
    { "{\"identifier\":[{\"system\":\"a\"}, {\"system\":\"b\"}, {\"system\":\"urn:chartway:patient-id\"} ]}",
      "{\"identifier\":[{\"system\":\"a\"}, {\"system\":\"b\"}," OURS " ]}" },
    /* disguised: an escape, a second member of that name */
    { "{\"identifier\":[{\"system\":\"urn:\\u0063hartway:patient-id\"},1]}", "{\"identifier\":[1," OURS "]}" },
    { "{\"identifier\":[{\"\\u0073ystem\":\"urn:chartway:patient-id\"}]}", "{\"identifier\":[" OURS "]}" },
    { "{\"identifier\":[{\"system\":\"x\",\"system\":\"urn:chartway:patient-id\"}]}", "{\"identifier\":[" OURS "]}" },
    /* not ours: the value alone, a deeper system, another resource's */
    { "{\"identifier\":[{\"value\":\"urn:chartway:patient-id\",\"assigner\":{\"system\":\"urn:chartway:patient-id\"}}]}",
      "{\"identifier\":[{\"value\":\"urn:chartway:patient-id\",\"assigner\":{\"system\":\"urn:chartway:patient-id\"}}," OURS "]}" },
    { "{\"contained\":[{\"identifier\":[{\"system\":\"urn:chartway:patient-id\"}]}]}",
      "{\"contained\":[{\"identifier\":[{\"system\":\"urn:chartway:patient-id\"}]}],\"identifier\":[" OURS "]}" },
};

START_TEST(put)
{
    struct cw_str out;
    cw_str_init(&out, 65536);
    struct cw_err err = { .code = CW_OK };
    enum cw_code rc = cw_identifier_put(cw_span_cstr(put_rows[_i].sent), SYSTEM, CW_SPAN("app \"1\""), &out, &err);
    ck_assert_msg(rc == CW_OK, "row %d: %s", _i, err.text);
    ck_assert_str_eq(cw_str_cstr(&out), put_rows[_i].served);
    /* Served again it stays as it is. */
    struct cw_str again;
    cw_str_init(&again, 65536);
    ck_assert_int_eq(cw_identifier_put(cw_str_span(&out), SYSTEM, CW_SPAN("app \"1\""), &again, &err), CW_OK);
    ck_assert_uint_le(again.len, out.len);
    cw_str_release(&again);
    cw_str_release(&out);
}
END_TEST

static const struct {
    const char *sent;
    enum cw_code code;
} fault_rows[] = {
    { "", CW_E_SYNTAX },
    { "[]", CW_E_KIND },
    { "{\"identifier\":\"x\"}", CW_E_KIND },
    { "{\"identifier\":true}", CW_E_KIND },
    { "{\"identifier\":1}", CW_E_KIND },
    { "{\"identifier\":[],\"identifier\":[]}", CW_E_CONFLICT },
    { "{\"identifier\":[{]}", CW_E_SYNTAX },
    { "{\"identifier\":[]", CW_E_SYNTAX },
    { "{\"identifier\":[]}}", CW_E_SYNTAX },
    { "{\"\\u0069dentifier\":[]}", CW_E_SYNTAX },
};

START_TEST(faults)
{
    struct cw_str out;
    cw_str_init(&out, 65536);
    struct cw_err err;
    ck_assert_int_eq(cw_identifier_put(cw_span_cstr(fault_rows[_i].sent), SYSTEM, CW_SPAN("v"), &out, &err),
                     fault_rows[_i].code);
    cw_str_release(&out);
}
END_TEST

START_TEST(too_big)
{
    struct cw_str out;
    size_t whole = strlen("{\"identifier\":[" OURS "]}");
    for (size_t max = whole - 1; max <= whole + 1; max++) {
        cw_str_init(&out, max);
        ck_assert_int_eq(cw_identifier_put(CW_SPAN("{}"), SYSTEM, CW_SPAN("app \"1\""), &out, NULL),
                         max < whole ? CW_E_TOO_BIG : CW_OK);
        cw_str_release(&out);
    }
}
END_TEST

Suite *suite_fhir_identifier(void)
{
    Suite *suite = suite_create("fhir/identifier");
    TCase *tcase = tcase_create("identifier");
    tcase_add_loop_test(tcase, put, 0, (int)CW_ARRAY_LEN(put_rows));
    tcase_add_loop_test(tcase, faults, 0, (int)CW_ARRAY_LEN(fault_rows));
    tcase_add_test(tcase, too_big);
    suite_add_tcase(suite, tcase);
    return suite;
}
