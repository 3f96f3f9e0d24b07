/* SPDX-License-Identifier: Apache-2.0 */
/* The outgoing policy: address blocks at their edges, and the exactness of the operator's list. */
#include "config.h"

#include "net/policy.h"

#include "test_net.h"

START_TEST(addresses)
{
    static const struct {
        const char *text;
        bool is_public;
    } rows[] = {
        { "8.8.8.8", true },          { "1.0.0.1", true },            { "9.255.255.255", true },
        { "11.0.0.0", true },         { "100.63.255.255", true },     { "100.128.0.0", true },
        { "126.255.255.255", true },  { "128.0.0.0", true },          { "169.253.255.255", true },
        { "172.15.255.255", true },   { "172.32.0.0", true },         { "192.167.255.255", true },
        { "192.169.0.0", true },      { "198.17.255.255", true },     { "198.20.0.0", true },
        { "223.255.255.255", true },  { "2600::1", true },            { "2a00:1450::1", true },
        { "0.0.0.0", false },         { "0.255.255.255", false },     { "10.0.0.1", false },
        { "100.64.0.0", false },      { "100.127.255.255", false },   { "127.0.0.1", false },
        { "127.255.255.255", false }, { "169.254.169.254", false },   { "172.16.0.0", false },
        { "172.31.255.255", false },  { "192.0.0.1", false },         { "192.168.0.1", false },
        { "198.18.0.0", false },      { "198.19.255.255", false },    { "224.0.0.1", false },
        { "239.255.255.255", false }, { "240.0.0.1", false },         { "255.255.255.255", false },
        { "::", false },              { "::1", false },               { "::ffff:10.0.0.1", false },
        { "::ffff:8.8.8.8", false },  { "::8.8.8.8", false },         { "64:ff9b::7f00:1", false },
        { "fc00::1", false },         { "fd12::1", false },           { "fe80::1", false },
        { "fec0::1", false },         { "ff02::1", false },           { "2001::1", false },
        { "2001:1ff::1", false },     { "2001:200::1", true },        { "2001:db8::1", false },
        { "2002:7f00:1::", false },   { "1fff::1", false },           { "4000::1", false },
        { "localhost", false },       { "", false },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        ck_assert_msg(cw_address_text_is_public(rows[i].text) == rows[i].is_public, "row %zu: %s", i, rows[i].text);
    }
    struct sockaddr local = { .sa_family = AF_UNIX };
    ck_assert(!cw_address_is_public(&local, sizeof local));
}
END_TEST

static struct cw_net_policy *policy_with(const char *allow, enum cw_code *ret_code)
{
    CW_AUTO_STR text;
    cw_str_init(&text, 4096);
    (void)cw_str_addf(&text, "[server]\norigin = https://chartway.example\n[vault]\nmaster_keys = a=/x\n");
    (void)cw_str_addf(&text, "[net]\nallow = %s\n", allow);
    struct cw_config *config = NULL;
    struct cw_net_policy *policy = NULL;
    *ret_code = cw_config_parse(cw_str_span(&text), &config, NULL);
    if (*ret_code == CW_OK) {
        *ret_code = cw_net_policy_new(config, &policy, NULL);
    }
    cw_config_free(config);
    return policy;
}

START_TEST(allow_list_is_exact)
{
    static const struct {
        const char *url;
        bool allowed;
        enum cw_code code;
    } rows[] = {
        { "http://127.0.0.1:8481/x", true, CW_OK },
        { "https://127.0.0.1:8481/x", true, CW_OK },
        { "http://2130706433:8481/x", true, CW_OK }, /* the same address in the same text form */
        { "http://Sandbox.Test:80/", true, CW_OK },
        { "https://[::1]:9443/", true, CW_OK },
        { "http://127.0.0.1:8482/", false, CW_E_BLOCKED },
        { "http://127.0.0.2:8481/", false, CW_E_BLOCKED },
        { "http://localhost:8481/", false, CW_E_BLOCKED },
        { "http://sandbox.test.:80/", false, CW_E_BLOCKED },
        { "http://a.sandbox.test/", false, CW_E_BLOCKED },
        { "https://hospital.example/", false, CW_OK },
        { "https://hospital.example:8443/", false, CW_E_BLOCKED },
        { "http://hospital.example/", false, CW_E_BLOCKED },
    };
    enum cw_code rc;
    struct cw_net_policy *policy = policy_with("127.0.0.1:8481 SANDBOX.test:80  [::1]:9443", &rc);
    ck_assert_int_eq(rc, CW_OK);
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_url *url = NULL;
        ck_assert_int_eq(cw_url_parse(cw_span_cstr(rows[i].url), &url, NULL), CW_OK);
        ck_assert_msg(cw_net_policy_allows(policy, url) == rows[i].allowed, "row %zu", i);
        ck_assert_msg(cw_net_policy_check(policy, url, NULL) == rows[i].code, "row %zu", i);
        cw_url_free(url);
    }
    cw_net_policy_free(policy);
}
END_TEST

/* The operator's own list of where anything may go at all. */
START_TEST(only_list)
{
    static const struct {
        const char *url;
        enum cw_code code;
    } rows[] = {
        { "https://hospital.example/", CW_OK },
        { "https://HOSPITAL.example/fhir", CW_OK },
        { "https://a.epic.example/", CW_OK },
        { "https://b.a.epic.example/", CW_OK },
        { "http://127.0.0.1:8481/", CW_OK },
        { "https://epic.example/", CW_E_BLOCKED },
        { "https://evilepic.example/", CW_E_BLOCKED },
        { "https://a.epic.example.evil/", CW_E_BLOCKED },
        { "https://hospital.example./", CW_E_BLOCKED },
        { "https://a.hospital.example/", CW_E_BLOCKED },
        { "https://other.example/", CW_E_BLOCKED },
        { "http://hospital.example/", CW_E_BLOCKED },
        { "https://hospital.example:444/", CW_E_BLOCKED },
    };
    enum cw_code rc;
    struct cw_net_policy *policy = policy_with("127.0.0.1:8481\nonly = Hospital.example *.epic.example", &rc);
    ck_assert_int_eq(rc, CW_OK);
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct cw_url *url = NULL;
        ck_assert_int_eq(cw_url_parse(cw_span_cstr(rows[i].url), &url, NULL), CW_OK);
        ck_assert_msg(cw_net_policy_check(policy, url, NULL) == rows[i].code, "row %zu", i);
        cw_url_free(url);
    }
    cw_net_policy_free(policy);
}
END_TEST

/* Refused by the reader of the configuration or, where that is content, by the policy. */
START_TEST(bad_lists)
{
    static const char *const rows[] = { "127.0.0.1", "127.0.0.1:", ":80", "http://h:80", "h:80/x", "h:80?x1", "u@h:80", "h:0",
                                        "h:99999", "ok:80 bad" };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        enum cw_code rc;
        struct cw_net_policy *policy = policy_with(rows[i], &rc);
        ck_assert_msg(rc == CW_E_CONFIG, "row %zu: %d", i, (int)rc);
        cw_net_policy_free(policy);
    }
}
END_TEST

Suite *policy_suite(void)
{
    Suite *suite = suite_create("policy");
    TCase *tcase = tcase_create("policy");
    tcase_add_test(tcase, addresses);
    tcase_add_test(tcase, allow_list_is_exact);
    tcase_add_test(tcase, only_list);
    tcase_add_test(tcase, bad_lists);
    suite_add_tcase(suite, tcase);
    return suite;
}
