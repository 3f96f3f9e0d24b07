/* SPDX-License-Identifier: Apache-2.0 */
/* The domain against a real MariaDB: patients, Sessions, attempts, events, the catalogue, registrations, signing keys. */
#include "config.h"

#include <pthread.h>

#include "base/time.h"
#include "model/attempt.h"
#include "model/event.h"
#include "model/keys.h"
#include "model/org.h"
#include "model/registration.h"
#include "model/session.h"
#include "model/signing.h"
#include "model/source.h"
#include "model/wire.h"
#include "os/sys.h"
#include "tests/lib/check_main.h"
#include "tests/lib/database.h"

static struct cw_test_db test;
static struct cw_model m;
static struct cw_org_id org;
static struct cw_org_id other_org;
static struct cw_arena *arena;
static struct cw_err err;
static const struct cw_actor actor = { .kind = CW_ACTOR_OPERATOR, .name = "tester" };

#define NONE cw_span_of(NULL, 0)
#define OK(call) \
    do { \
        enum cw_code ok_code = (call); \
        ck_assert_msg(ok_code == CW_OK, "%s: %s: %s (%d)", cw_code_name(ok_code), err.where, err.text, err.sys); \
    } while (0)

static void setup(void)
{
    static unsigned n;
    char name[40];
    arena = cw_arena_new(64u * 1024u * 1024u);
    snprintf(name, sizeof name, "Clinic %u", ++n);
    OK(cw_org_create(&m, &actor, cw_span_cstr(name), CW_ENV_SANDBOX, &org, &err));
    snprintf(name, sizeof name, "Other %u", n);
    OK(cw_org_create(&m, &actor, cw_span_cstr(name), CW_ENV_SANDBOX, &other_org, &err));
}

static void teardown(void)
{
    cw_clock_shift_us(0);
    cw_arena_free(arena);
}

/* ---- patients */

START_TEST(patient_ids_are_checked)
{
    char longest[201 * 2];
    for (size_t i = 0; i < 201; i++) {
        memcpy(longest + i * 2, "é", 2);
    }
    ck_assert_int_eq(cw_patient_id_check(cw_span_of(longest, 400), &err), CW_OK);
    ck_assert_int_eq(cw_patient_id_check(cw_span_of(longest, 402), &err), CW_E_RANGE);
    static const struct { struct cw_span id; enum cw_code code; } cases[] = {
        { CW_SPAN("u"), CW_OK },           { CW_SPAN(""), CW_E_RANGE },       { CW_SPAN("a b/c?d#ü"), CW_OK },
        { CW_SPAN("a\nb"), CW_E_RANGE },   { CW_SPAN("\xff"), CW_E_RANGE },   { CW_SPAN("a\0b"), CW_E_RANGE },
        { CW_SPAN("conn_x"), CW_E_RANGE }, { CW_SPAN("ps_1"), CW_E_RANGE },   { CW_SPAN("xps_1"), CW_OK },
        { CW_SPAN("\xc2\x85"), CW_E_RANGE },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(cases); i++) {
        ck_assert_msg(cw_patient_id_check(cases[i].id, &err) == cases[i].code, "row %zu", i);
    }
}
END_TEST

START_TEST(a_patient_is_made_found_and_replaced)
{
    const struct cw_patient wanted = { .patient_id = CW_SPAN("user_42"), .email = CW_SPAN("Jane@Example.com"),
                                       .name = CW_SPAN("Jane Döe"), .metadata = CW_SPAN("{\"plan\":\"x\"}") };
    struct cw_patient made;
    struct cw_patient got;
    OK(cw_patient_create(&m, &actor, org, &wanted, arena, &made, &err));
    ck_assert_int_eq(cw_patient_create(&m, &actor, org, &wanted, arena, &got, &err), CW_E_CONFLICT);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM patient_key k LEFT JOIN patient p ON p.id = k.patient WHERE p.id IS NULL"), 0);
    OK(cw_patient_get(&m, org, CW_SPAN("user_42"), arena, &got, &err));
    ck_assert(cw_span_eq(got.name, wanted.name) && cw_span_eq(got.email, wanted.email) && cw_span_eq(got.metadata, wanted.metadata));
    ck_assert_int_eq(got.created_us, made.created_us);
    ck_assert_int_eq(cw_patient_get(&m, other_org, CW_SPAN("user_42"), arena, &got, &err), CW_E_NOT_FOUND);
    ck_assert_int_eq(cw_patient_get(&m, org, CW_SPAN("USER_42"), arena, &got, &err), CW_E_NOT_FOUND);
    const struct cw_patient bare = { .patient_id = CW_SPAN("user_42") };
    OK(cw_patient_replace(&m, &actor, org, &bare, arena, &got, &err));
    OK(cw_patient_get(&m, org, CW_SPAN("user_42"), arena, &got, &err));
    ck_assert(got.name.ptr == NULL && got.email.ptr == NULL && cw_span_eq(got.metadata, CW_SPAN("{}")));
    ck_assert_int_eq(cw_patient_replace(&m, &actor, other_org, &bare, arena, &got, &err), CW_E_NOT_FOUND);
}
END_TEST

static size_t count_patients(struct cw_patient_filter filter, struct cw_patient **ret)
{
    size_t count = 0;
    OK(cw_patient_list(&m, org, &filter, arena, ret, &count, &err));
    return count;
}

START_TEST(patients_are_listed_by_page_and_email)
{
    struct cw_patient made;
    for (int i = 0; i < 5; i++) {
        char id[16];
        snprintf(id, sizeof id, "p%d", i);
        const struct cw_patient wanted = { .patient_id = cw_span_cstr(id),
                                           .email = i < 2 ? CW_SPAN("Ärzte@Example.com") : NONE };
        OK(cw_patient_create(&m, &actor, org, &wanted, arena, &made, &err));
    }
    struct cw_patient *list = NULL;
    ck_assert_uint_eq(count_patients((struct cw_patient_filter){ .limit = 3 }, &list), 4);
    ck_assert_uint_eq(count_patients((struct cw_patient_filter){ .limit = 3, .after = list[2].row.ulid }, &list), 2);
    ck_assert_uint_eq(count_patients((struct cw_patient_filter){ .limit = 9, .email = CW_SPAN("ärzte@example.COM") }, &list), 2);
    ck_assert_uint_eq(count_patients((struct cw_patient_filter){ .limit = 9, .patient_id = CW_SPAN("p3") }, &list), 1);
    ck_assert_uint_eq(count_patients((struct cw_patient_filter){ .limit = 9, .patient_id = CW_SPAN("p3"),
                                                                 .email = CW_SPAN("ärzte@example.com") }, &list), 0);
}
END_TEST

/* ---- the catalogue */

static struct cw_source_row source_row(const char *base, const char *name, uint8_t identity)
{
    struct cw_source_row row = {
        .source = { .name = cw_span_cstr(name), .vendor = CW_SPAN("epic"), .base_url = cw_span_cstr(base), .city = CW_SPAN("Wien") },
        .normal_base = cw_span_cstr(base),
        .fhir_version = CW_SPAN("4.0.1"),
    };
    memset(row.identity_hash, identity, sizeof row.identity_hash);
    return row;
}

static struct cw_import_counts import(const struct cw_source_row *rows, size_t count)
{
    static const uint8_t hash[CW_HASH_LEN] = { 1 };
    struct cw_import_counts counts;
    OK(cw_source_import(&m, &actor, CW_ENV_SANDBOX, "test", hash, rows, count, 1, &counts, &err));
    return counts;
}

static enum cw_code count_source(void *arg, const struct cw_source *source, struct cw_err *ret_err)
{
    (void)ret_err;
    ck_assert(!source->retired);
    ++*(unsigned *)arg;
    return CW_OK;
}

START_TEST(an_import_creates_changes_and_keeps)
{
    struct cw_source_row rows[] = { source_row("https://a.test/r4", "Alpha", 101), source_row("https://a.test/r4", "Beta", 102),
                                    source_row("https://b.test/r4", "Gamma", 103), source_row("https://b.test/r4", "Twin", 103) };
    uint64_t before = 0;
    uint64_t after = 0;
    OK(cw_catalog_generation(&m, CW_ENV_SANDBOX, &before, &err));
    struct cw_import_counts counts = import(rows, 4);
    ck_assert_uint_eq(counts.created, 3);
    OK(cw_catalog_generation(&m, CW_ENV_SANDBOX, &after, &err));
    ck_assert_uint_eq(after, before + 1);
    counts = import(rows, 4);
    ck_assert(counts.created == 0 && counts.changed == 0 && counts.unchanged == 3);
    struct cw_source first;
    OK(cw_source_resolve(&m, CW_ENV_SANDBOX, NONE, CW_SPAN("https://a.test/r4"), arena, &first, &err));
    ck_assert(cw_span_eq(first.name, CW_SPAN("Alpha")));
    /* Each source of one import belongs to its own endpoint. */
    struct cw_source other;
    OK(cw_source_resolve(&m, CW_ENV_SANDBOX, NONE, CW_SPAN("https://b.test/r4"), arena, &other, &err));
    ck_assert(cw_span_eq(other.name, CW_SPAN("Gamma")));
    ck_assert(cw_span_eq(other.base_url, CW_SPAN("https://b.test/r4")));
    ck_assert(!cw_ulid_eq(other.endpoint.ulid, first.endpoint.ulid));
    rows[0].source.name = CW_SPAN("Alpha Clinic");
    counts = import(rows, 4);
    ck_assert(counts.changed == 1 && counts.unchanged == 2);
    struct cw_source again;
    OK(cw_source_get(&m, CW_ENV_SANDBOX, first.id, arena, &again, &err));
    ck_assert(cw_span_eq(again.name, CW_SPAN("Alpha Clinic")));
    ck_assert_int_eq(cw_source_get(&m, CW_ENV_PRODUCTION, first.id, arena, &again, &err), CW_E_NOT_FOUND);
    ck_assert_int_eq(cw_source_resolve(&m, CW_ENV_SANDBOX, CW_SPAN("https://x"), NONE, arena, &again, &err), CW_E_NOT_FOUND);
    unsigned seen = 0;
    OK(cw_source_each(&m, CW_ENV_SANDBOX, count_source, &seen, &after, &err));
    ck_assert_uint_ge(seen, 3);
    struct cw_source *list = NULL;
    size_t count = 0;
    OK(cw_source_list(&m, CW_ENV_SANDBOX, CW_SPAN("epic"), (struct cw_ulid){ { 0 } }, 1, arena, &list, &count, &err));
    ck_assert_uint_eq(count, 2);
    const struct cw_source_id ids[] = { list[1].id, { cw_ulid_new() }, list[0].id };
    OK(cw_source_get_many(&m, CW_ENV_SANDBOX, ids, 3, arena, &list, &count, &err));
    ck_assert_uint_eq(count, 2);
    ck_assert(cw_ulid_eq(list[0].id.ulid, ids[0].ulid) && cw_ulid_eq(list[1].id.ulid, ids[2].ulid));
}
END_TEST

static struct cw_source one_source(void)
{
    struct cw_source_row row = source_row("https://one.test/r4", "One", 201);
    import(&row, 1);
    struct cw_source source;
    OK(cw_source_resolve(&m, CW_ENV_SANDBOX, NONE, row.normal_base, arena, &source, &err));
    return source;
}

START_TEST(a_retired_source_leads_to_its_successor)
{
    struct cw_source_row rows[] = { source_row("https://old.test", "Old", 111), source_row("https://new.test", "New", 112) };
    import(rows, 2);
    struct cw_source old;
    struct cw_source got;
    OK(cw_source_resolve(&m, CW_ENV_SANDBOX, NONE, rows[0].normal_base, arena, &old, &err));
    cw_test_db_sql(&test, "UPDATE source o JOIN source n ON n.name = 'New' SET o.retired_at = NOW(3), o.successor = n.id WHERE o.name = 'Old'");
    OK(cw_source_get(&m, CW_ENV_SANDBOX, old.id, arena, &got, &err));
    ck_assert(cw_span_eq(got.name, CW_SPAN("New")));
    cw_test_db_sql(&test, "UPDATE source SET retired_at = NOW(3), successor = id WHERE name = 'Old'");
    ck_assert_int_eq(cw_source_get(&m, CW_ENV_SANDBOX, old.id, arena, &got, &err), CW_E_NOT_FOUND);
}
END_TEST

START_TEST(a_moved_discovery_is_held)
{
    struct cw_endpoint found = { .id = one_source().endpoint, .issuer = CW_SPAN("https://one.test/"),
                                 .authorization_url = CW_SPAN("https://login.test/authorize"),
                                 .token_url = CW_SPAN("https://login.test/token"), .discovery = CW_SPAN("{\"a\":\"\\u00fc\"}"),
                                 .discovered_us = cw_now_us() };
    struct cw_endpoint got;
    bool held = true;
    OK(cw_endpoint_store_discovery(&m, &actor, &found, &held, &err));
    ck_assert(!held);
    ck_assert_int_eq(cw_endpoint_approve(&m, &actor, found.id, &err), CW_E_STATE);
    found.token_url = CW_SPAN("https://LOGIN.test:443/token2"); /* the same host */
    OK(cw_endpoint_store_discovery(&m, &actor, &found, &held, &err));
    ck_assert(!held);
    found.token_url = CW_SPAN("https://evil.test/token");
    OK(cw_endpoint_store_discovery(&m, &actor, &found, &held, &err));
    ck_assert(held);
    OK(cw_endpoint_get(&m, found.id, arena, &got, &err));
    ck_assert(got.held && cw_span_eq(got.token_url, CW_SPAN("https://LOGIN.test:443/token2")));
    OK(cw_endpoint_approve(&m, &actor, found.id, &err));
    OK(cw_endpoint_get(&m, found.id, arena, &got, &err));
    ck_assert(!got.held && cw_span_eq(got.token_url, found.token_url) && cw_span_eq(got.discovery, found.discovery));
    /* Nor does an answer without an issuer or a revocation open the door to the next one. */
    struct cw_endpoint silent = found;
    silent.issuer = NONE;
    OK(cw_endpoint_store_discovery(&m, &actor, &silent, &held, &err));
    ck_assert(!held);
    found.issuer = CW_SPAN("https://evil.test/");
    OK(cw_endpoint_store_discovery(&m, &actor, &found, &held, &err));
    ck_assert(held);
    found.issuer = CW_SPAN("https://one.test/");
    found.revocation_url = CW_SPAN("https://login.test/revoke");
    OK(cw_endpoint_store_discovery(&m, &actor, &found, &held, &err));
    ck_assert(!held);
    found.revocation_url = CW_SPAN("https://evil.test/revoke");
    OK(cw_endpoint_store_discovery(&m, &actor, &found, &held, &err));
    ck_assert(held);
    OK(cw_endpoint_get(&m, found.id, arena, &got, &err));
    ck_assert(cw_span_eq(got.revocation_url, CW_SPAN("https://login.test/revoke")));
    OK(cw_endpoint_set_quiet(&m, found.id, 2000000, &err));
    OK(cw_endpoint_set_quiet(&m, found.id, 1000000, &err));
    OK(cw_endpoint_get(&m, found.id, arena, &got, &err));
    ck_assert_int_eq(got.retry_after_us, 2000000);
    OK(cw_endpoint_store_capability(&m, found.id, CW_SPAN("{}"), NONE, NONE, &err));
    ck_assert_int_eq(cw_endpoint_set_quiet(&m, (struct cw_endpoint_id){ cw_ulid_new() }, 1, &err), CW_E_NOT_FOUND);
}
END_TEST

/* ---- registrations and keys */

START_TEST(host_patterns_match_hosts_only)
{
    static const struct { const char *host, *pattern; bool match; } cases[] = {
        { "a.test", "a.test", true },       { "A.Test", "a.test", true },          { "b.a.test", "a.test", false },
        { "b.a.test", "*.a.test", true },   { "c.b.a.test", "*.a.test", true },    { "a.test", "*.a.test", false },
        { "xa.test", "*.a.test", false },   { "a.test:8443", "a.test", true },     { "a.test:8443", "a.test:8443", true },
        { "a.test", "a.test:8443", false }, { "a.test", "a.test:443", true },      { "[::1]:8480", "[::1]:8480", true },
        { "[::1]", "[::1]:8480", false },   { "", "a.test", false },               { ".a.test", "*.a.test", false },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(cases); i++) {
        struct cw_span pattern = cw_span_cstr(cases[i].pattern);
        ck_assert_msg(cw_host_matches(cw_span_cstr(cases[i].host), &pattern, 1) == cases[i].match, "row %zu", i);
    }
}
END_TEST

START_TEST(a_registration_never_goes_to_a_foreign_host)
{
    struct cw_source source = one_source();
    const struct cw_span hosts[] = { CW_SPAN("one.test"), CW_SPAN("*.login.test") };
    struct cw_registration wanted = { .environment = CW_ENV_SANDBOX, .vendor = CW_SPAN("epic"), .client_id = CW_SPAN("client"),
                                      .method = CW_AUTH_BASIC, .hosts = hosts, .host_count = 2 };
    struct cw_registration_id id;
    ck_assert_int_eq(cw_registration_add(&m, &actor, &wanted, NONE, &id, &err), CW_E_RANGE);
    OK(cw_registration_add(&m, &actor, &wanted, CW_SPAN("s3cret"), &id, &err));
    struct cw_registration got;
    const struct cw_span good[] = { CW_SPAN("one.test"), CW_SPAN("eu.login.test") };
    const struct cw_span evil[] = { CW_SPAN("one.test"), CW_SPAN("evil.test") };
    OK(cw_registration_choose(&m, CW_ENV_SANDBOX, source.id, CW_SPAN("epic"), good, 2, arena, &got, &err));
    ck_assert(cw_ulid_eq(got.id.ulid, id.ulid) && got.host_count == 2);
    ck_assert_int_eq(cw_registration_choose(&m, CW_ENV_SANDBOX, source.id, CW_SPAN("epic"), evil, 2, arena, &got, &err), CW_E_NOT_FOUND);
    ck_assert_int_eq(cw_registration_choose(&m, CW_ENV_SANDBOX, source.id, CW_SPAN("epic"), good, 0, arena, &got, &err), CW_E_NOT_FOUND);
    ck_assert_int_eq(cw_registration_choose(&m, CW_ENV_PRODUCTION, source.id, CW_SPAN("epic"), good, 2, arena, &got, &err), CW_E_NOT_FOUND);
    ck_assert_int_eq(cw_registration_choose(&m, CW_ENV_SANDBOX, source.id, NONE, good, 2, arena, &got, &err), CW_E_NOT_FOUND);
    CW_AUTO_SECRET secret = { .ptr = NULL };
    OK(cw_registration_secret(&m, id, &secret, &err));
    ck_assert(cw_span_eq(cw_secret_span(&secret), CW_SPAN("s3cret")));
    wanted.vendor = NONE;
    wanted.source = source.id;
    wanted.method = CW_AUTH_NONE;
    wanted.slug = CW_SPAN("own");
    struct cw_registration_id own;
    OK(cw_registration_add(&m, &actor, &wanted, NONE, &own, &err));
    ck_assert_int_eq(cw_registration_add(&m, &actor, &wanted, NONE, &own, &err), CW_E_CONFLICT);
    OK(cw_registration_choose(&m, CW_ENV_SANDBOX, source.id, CW_SPAN("epic"), good, 2, arena, &got, &err));
    ck_assert(cw_span_eq(got.slug, CW_SPAN("own")));
    OK(cw_registration_by_slug(&m, CW_SPAN("own"), arena, &got, &err));
    const struct cw_span wide = CW_SPAN("*.com");
    wanted.slug = NONE;
    wanted.hosts = &wide;
    wanted.host_count = 1;
    ck_assert_int_eq(cw_registration_add(&m, &actor, &wanted, NONE, &own, &err), CW_E_RANGE);
}
END_TEST

static void *ask_key(void *arg)
{
    enum cw_code *rc = arg;
    struct cw_signing_key *key = NULL;
    *rc = cw_signing_key_current(&m, CW_ALG_ES384, &key, NULL);
    cw_signing_key_free(key);
    return NULL;
}

START_TEST(two_nodes_make_one_pair_of_signing_keys)
{
    enum cw_code codes[3];
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, ask_key, &codes[i]), 0);
    }
    for (size_t i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(codes[i], CW_OK);
    }
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM signing_key WHERE alg = 'ES384'"), 2);
    CW_AUTO_STR jwks;
    cw_str_init(&jwks, 65536);
    OK(cw_signing_jwks(&m, &jwks, &err));
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM signing_key"), 4);
    ck_assert_ptr_nonnull(strstr(cw_str_cstr(&jwks), "\"keys\":[{"));
    ck_assert_ptr_null(strstr(cw_str_cstr(&jwks), "\"d\":"));
}
END_TEST

/* ---- Sessions and attempts */

static struct cw_session new_session(struct cw_source_id direct)
{
    const struct cw_session_new input = {
        .patient = { .patient_id = CW_SPAN("user_7"), .name = CW_SPAN("Jo") },
        .direct_source = direct,
        .return_url = CW_SPAN("https://app.test/back"),
        .metadata = CW_SPAN("{\"k\":1}"),
        .expires_in_s = 600,
    };
    struct cw_session session;
    OK(cw_session_create(&m, &actor, org, &input, arena, &session, &err));
    return session;
}

static struct cw_attempt_new new_attempt(const struct cw_session *session, const struct cw_source *source, uint8_t state)
{
    struct cw_attempt_new input = {
        .session = session->id, .source = source->id, .endpoint = source->endpoint, .registration = { cw_ulid_new() },
        .browser = CW_SPAN("cookie"), .verifier = CW_SPAN("verifier"), .nonce = CW_SPAN("nonce"),
        .redirect_uri = CW_SPAN("https://cw.test/callback/x"), .scopes_asked = CW_SPAN("patient/*.read"),
        .pinned = CW_SPAN("{}"), .language = CW_SPAN("en"), .state_expires_us = cw_now_us() + 900 * CW_SECOND_US,
        .consent_version = CW_SPAN("v1"),
    };
    memset(input.state_hash, state, sizeof input.state_hash);
    cw_sha256(cw_span_of(&session->id, sizeof session->id), input.state_hash);
    input.state_hash[0] = state;
    return input;
}

START_TEST(a_session_reads_back_as_it_was_made)
{
    struct cw_source source = one_source();
    struct cw_session made = new_session((struct cw_source_id){ { { 0 } } });
    struct cw_session got;
    OK(cw_session_get(&m, org, made.id, arena, &got, &err));
    ck_assert(got.status == CW_SESSION_OPEN && got.connection_count == 0 && cw_span_eq(got.secret, made.secret));
    ck_assert(cw_span_eq(got.metadata, CW_SPAN("{\"k\":1}")) && cw_span_eq(got.patient_id, CW_SPAN("user_7")));
    ck_assert_int_eq(got.expires_us, made.expires_us);
    ck_assert_int_eq(cw_session_get(&m, other_org, made.id, arena, &got, &err), CW_E_NOT_FOUND);
    struct cw_session_page page;
    OK(cw_session_open_page(&m, made.secret, arena, &page, &err));
    ck_assert(cw_span_eq(page.patient_name, CW_SPAN("Jo")) && cw_ulid_eq(page.org.id.ulid, org.ulid));
    ck_assert_int_eq(cw_session_open_page(&m, CW_SPAN("AAAAAAAAAAAAAAAAAAAAAA"), arena, &page, &err), CW_E_NOT_FOUND);
    ck_assert_int_eq(cw_session_open_page(&m, CW_SPAN("../etc"), arena, &page, &err), CW_E_NOT_FOUND);
    struct cw_session direct = new_session(source.id);
    ck_assert(cw_ulid_eq(direct.patient.ulid, made.patient.ulid));
    struct cw_session *list = NULL;
    size_t count = 0;
    const struct cw_ulid zero = { { 0 } };
    OK(cw_session_list(&m, org, NONE, 0, zero, 1, arena, &list, &count, &err));
    ck_assert(count == 2 && cw_ulid_eq(list[0].id.ulid, direct.id.ulid));
    OK(cw_session_list(&m, org, CW_SPAN("user_7"), CW_SESSION_COMPLETE, zero, 9, arena, &list, &count, &err));
    ck_assert_uint_eq(count, 0);
    OK(cw_session_list(&m, org, CW_SPAN("user_7"), CW_SESSION_OPEN, direct.id.ulid, 9, arena, &list, &count, &err));
    ck_assert_uint_eq(count, 1);
}
END_TEST

static void *complete_session(void *arg)
{
    bool first = false;
    struct cw_session_id id = *(const struct cw_session_id *)arg;
    return cw_session_complete(&m, &actor, id, CW_ENDED_DONE, &first, NULL) == CW_OK && first ? arg : NULL;
}

START_TEST(of_two_ends_one_writes_the_event)
{
    struct cw_session session = new_session((struct cw_source_id){ { { 0 } } });
    int64_t before = cw_test_db_number(&test, "SELECT COUNT(*) FROM event");
    pthread_t threads[4];
    unsigned firsts = 0;
    for (size_t i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, complete_session, &session.id), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        void *first = NULL;
        pthread_join(threads[i], &first);
        firsts += first != NULL;
    }
    ck_assert_uint_eq(firsts, 1);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM event"), before + 1);
    OK(cw_session_get(&m, org, session.id, arena, &session, &err));
    ck_assert(session.status == CW_SESSION_COMPLETE && session.ended == CW_ENDED_DONE && session.ended_us != 0);
    CW_AUTO_STR text;
    cw_str_init(&text, 65536);
    struct cw_jsonw w;
    cw_jsonw_init(&w, &text);
    cw_wire_session(&w, &session, "https://cw.test");
    ck_assert_int_eq(cw_jsonw_end(&w), CW_OK);
    ck_assert_ptr_nonnull(strstr(cw_str_cstr(&text), "\"status\":\"complete\",\"url\":\"https://cw.test/c/"));
    ck_assert_ptr_nonnull(strstr(cw_str_cstr(&text), "\"metadata\":{\"k\":1}"));
}
END_TEST

START_TEST(an_attempt_in_flight_keeps_its_session_open)
{
    struct cw_source source = one_source();
    struct cw_session session = new_session((struct cw_source_id){ { { 0 } } });
    struct cw_session idle = new_session((struct cw_source_id){ { { 0 } } });
    struct cw_attempt_new input = new_attempt(&session, &source, 1);
    struct cw_attempt_id id;
    OK(cw_attempt_start(&m, &actor, &input, &id, &err));
    cw_clock_shift_us(601 * CW_SECOND_US);
    unsigned expired = 0;
    OK(cw_session_expire_due(&m, &actor, 100, &expired, &err));
    ck_assert_uint_ge(expired, 1);
    OK(cw_session_get(&m, org, session.id, arena, &session, &err));
    ck_assert_int_eq(session.status, CW_SESSION_OPEN);
    OK(cw_session_get(&m, org, idle.id, arena, &idle, &err));
    ck_assert(idle.status == CW_SESSION_EXPIRED && idle.ended == CW_ENDED_TIMED_OUT);
    bool first = false;
    ck_assert_int_eq(cw_session_complete(&m, &actor, idle.id, CW_ENDED_DONE, &first, &err), CW_E_STATE);
    struct cw_attempt_new late = new_attempt(&session, &source, 2);
    ck_assert_int_eq(cw_attempt_start(&m, &actor, &late, &id, &err), CW_E_STATE);
    cw_clock_shift_us(901 * CW_SECOND_US);
    OK(cw_session_get(&m, org, session.id, arena, &session, &err));
    ck_assert_int_eq(session.status, CW_SESSION_EXPIRED);
    unsigned swept = 0;
    OK(cw_attempt_sweep(&m, &actor, 100, &swept, &err));
    ck_assert_uint_ge(swept, 1);
    OK(cw_session_get(&m, org, session.id, arena, &session, &err));
    ck_assert_uint_eq(session.connection_count, 1);
    ck_assert(cw_span_eq(session.connections[0].failure_code, CW_SPAN(CW_FAIL_NOT_RETURNED)));
    ck_assert(cw_ulid_is_zero(session.connections[0].id.ulid));
}
END_TEST

static enum cw_code consume(const struct cw_attempt_new *started, struct cw_span browser, struct cw_attempt *ret, struct cw_err *ret_err)
{
    struct cw_attempt_return answer = { .redirect_uri = started->redirect_uri, .browser = browser };
    memcpy(answer.state_hash, started->state_hash, sizeof answer.state_hash);
    return cw_attempt_consume(&m, &answer, arena, ret, ret_err);
}

START_TEST(a_state_is_consumed_once_by_its_browser)
{
    struct cw_source source = one_source();
    struct cw_session session = new_session(source.id);
    struct cw_attempt_new input = new_attempt(&session, &source, 1);
    struct cw_attempt_id id;
    struct cw_attempt attempt;
    OK(cw_attempt_start(&m, &actor, &input, &id, &err));
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM consent_receipt WHERE source_name = 'One' AND text_version = 'v1'") > 0, 1);
    struct cw_attempt_new elsewhere = { .redirect_uri = CW_SPAN("https://cw.test/callback/y") };
    memcpy(elsewhere.state_hash, input.state_hash, sizeof input.state_hash);
    ck_assert_int_eq(consume(&elsewhere, CW_SPAN("cookie"), &attempt, &err), CW_E_NOT_FOUND);
    ck_assert_int_eq(consume(&input, NONE, &attempt, &err), CW_E_DENIED);
    ck_assert_int_eq(consume(&input, CW_SPAN("thief"), &attempt, &err), CW_E_DENIED);
    OK(consume(&input, CW_SPAN("cookie"), &attempt, &err));
    ck_assert(cw_span_eq(attempt.verifier, CW_SPAN("verifier")) && cw_span_eq(attempt.nonce, CW_SPAN("nonce")));
    ck_assert_int_eq(consume(&input, CW_SPAN("cookie"), &attempt, &err), CW_E_STATE);
    ck_assert_int_eq(cw_attempt_fail(&m, &actor, id, CW_FAIL_BROWSER_MISMATCH, NONE, &err), CW_E_STATE); /* a stranger's late word */
    ck_assert_int_eq(cw_attempt_fail(&m, &actor, id, CW_FAIL_STATE_EXPIRED, NONE, &err), CW_E_STATE);
    OK(cw_attempt_get(&m, session.id, id, arena, &attempt, &err));
    ck_assert_int_eq(attempt.status, CW_ATTEMPT_EXCHANGING);
    OK(cw_attempt_fail(&m, &actor, id, CW_FAIL_TOKEN_EXCHANGE, CW_SPAN("their words"), &err));
    OK(cw_attempt_fail(&m, &actor, id, CW_FAIL_INTERNAL, NONE, &err));
    OK(cw_session_get(&m, org, session.id, arena, &session, &err));
    ck_assert(session.status == CW_SESSION_COMPLETE && session.ended == CW_ENDED_RETURNED); /* Direct mode */
    ck_assert(cw_span_eq(session.connections[0].failure_code, CW_SPAN(CW_FAIL_TOKEN_EXCHANGE)));
    struct cw_session slow = new_session(source.id);
    struct cw_attempt_new stale = new_attempt(&slow, &source, 2);
    OK(cw_attempt_start(&m, &actor, &stale, &id, &err));
    cw_clock_shift_us(901 * CW_SECOND_US);
    ck_assert_int_eq(consume(&stale, CW_SPAN("cookie"), &attempt, &err), CW_E_EXPIRED);
}
END_TEST

static void *consume_once(void *arg)
{
    struct cw_attempt attempt;
    struct cw_err own;
    struct cw_arena *room = cw_arena_new(65536);
    enum cw_code rc = cw_attempt_consume(&m, arg, room, &attempt, &own);
    cw_arena_free(room);
    return (void *)(intptr_t)rc;
}

/* The answer to the commit was lost: asked again it is the same connection, with one event. */
START_TEST(connecting_is_asked_again)
{
    struct cw_source source = one_source();
    struct cw_session session = new_session(source.id);
    struct cw_attempt_new input = new_attempt(&session, &source, 1);
    struct cw_attempt_id id;
    struct cw_attempt attempt;
    struct cw_connection_id first, second;
    OK(cw_attempt_start(&m, &actor, &input, &id, &err));
    OK(consume(&input, CW_SPAN("cookie"), &attempt, &err));
    const struct cw_attempt_success success = { .attempt = id, .upstream_patient = CW_SPAN("again"), .scopes_granted = CW_SPAN("patient/*.rs"),
                                                .access_token = CW_SPAN("a"), .refresh_token = CW_SPAN("r"),
                                                .obtained_us = cw_now_us(), .expires_us = cw_now_us() + CW_HOUR_US };
    OK(cw_attempt_connect(&m, &actor, &success, &first, &err));
    int64_t told = cw_test_db_number(&test, "SELECT COUNT(*) FROM event");
    OK(cw_attempt_connect(&m, &actor, &success, &second, &err));
    ck_assert(cw_ulid_eq(first.ulid, second.ulid));
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM event"), told);
}
END_TEST

/* A patient whose key is damaged keeps nobody else's attempts from their end. */
START_TEST(one_bad_row_stops_no_sweep)
{
    struct cw_source source = one_source();
    struct cw_session session = new_session((struct cw_source_id){ { { 0 } } });
    struct cw_attempt_id id;
    struct cw_attempt_new first = new_attempt(&session, &source, 1), second = new_attempt(&session, &source, 2);
    OK(cw_attempt_start(&m, &actor, &first, &id, &err));
    OK(cw_attempt_start(&m, &actor, &second, &id, &err));
    cw_test_db_sql(&test, "INSERT INTO patient (id, organization, patient_id, key_version, created_at, updated_at)"
                          " SELECT UNHEX(REPEAT('01', 16)), organization, 'keyless', 1, created_at, updated_at FROM patient LIMIT 1");
    unsigned swept = 0;
    cw_clock_shift_us(901 * CW_SECOND_US);
    cw_test_db_sql(&test, "UPDATE attempt SET patient = (SELECT id FROM patient WHERE patient_id = 'keyless') WHERE status = 1 ORDER BY id LIMIT 1");
    ck_assert_int_eq(cw_attempt_sweep(&m, &actor, 100, &swept, &err), CW_E_NOT_FOUND);
    ck_assert_uint_ge(swept, 1);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM attempt WHERE status = 1"), 1);
    cw_test_db_sql(&test, "DELETE a, p FROM attempt a JOIN patient p ON p.id = a.patient WHERE p.patient_id = 'keyless'");
}
END_TEST

START_TEST(a_state_is_consumed_once_at_the_same_moment)
{
    enum { ROUNDS = 20, THREADS = 4 };
    struct cw_source source = one_source();
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct cw_session session = new_session(source.id);
        struct cw_attempt_new input = new_attempt(&session, &source, 1);
        struct cw_attempt_id id;
        pthread_t threads[THREADS];
        unsigned won = 0;
        struct cw_attempt_return answer = { .redirect_uri = input.redirect_uri, .browser = input.browser };
        memcpy(answer.state_hash, input.state_hash, sizeof answer.state_hash);
        OK(cw_attempt_start(&m, &actor, &input, &id, &err));
        for (unsigned i = 0; i < THREADS; i++) {
            ck_assert_int_eq(pthread_create(&threads[i], NULL, consume_once, &answer), 0);
        }
        for (unsigned i = 0; i < THREADS; i++) {
            void *rc = NULL;
            ck_assert_int_eq(pthread_join(threads[i], &rc), 0);
            ck_assert((intptr_t)rc == CW_OK || (intptr_t)rc == CW_E_STATE);
            won += (intptr_t)rc == CW_OK;
        }
        ck_assert_uint_eq(won, 1);
    }
}
END_TEST

START_TEST(ten_attempts_are_enough)
{
    struct cw_source source = one_source();
    struct cw_session session = new_session((struct cw_source_id){ { { 0 } } });
    struct cw_attempt_id id;
    for (uint8_t i = 0; i < 10; i++) {
        struct cw_attempt_new input = new_attempt(&session, &source, (uint8_t)(i + 1));
        OK(cw_attempt_start(&m, &actor, &input, &id, &err));
    }
    struct cw_attempt_new input = new_attempt(&session, &source, 11);
    ck_assert_int_eq(cw_attempt_start(&m, &actor, &input, &id, &err), CW_E_LIMITED);
    OK(cw_attempt_fail(&m, &actor, id, CW_FAIL_USER_DENIED, NONE, &err));
    OK(cw_attempt_start(&m, &actor, &input, &id, &err));
}
END_TEST

/* ---- events */

static void *sequence_all(void *arg)
{
    for (int i = 0; i < 20; i++) {
        unsigned count = 0;
        enum cw_code rc = cw_event_sequence(&m, arg, 7, &count, NULL);
        if (rc != CW_OK && rc != CW_E_CONFLICT && rc != CW_E_RETRY) {
            return arg;
        }
    }
    return NULL;
}

START_TEST(events_are_numbered_without_gaps)
{
    for (int i = 0; i < 30; i++) {
        struct cw_session session = new_session((struct cw_source_id){ { { 0 } } });
        bool first = false;
        OK(cw_session_complete(&m, &actor, session.id, CW_ENDED_DONE, &first, &err));
    }
    static char names[2][8] = { "node-a", "node-b" };
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, sequence_all, names[i]), 0);
    }
    for (size_t i = 0; i < 2; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        ck_assert_ptr_null(failed);
    }
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM event WHERE sequence IS NULL"), 0);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM (SELECT organization FROM event GROUP BY organization"
                                              " HAVING MAX(sequence) <> COUNT(*) OR MIN(sequence) <> 1) AS bad"), 0);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM event_counter c WHERE last_sequence <>"
                                              " (SELECT COUNT(*) FROM event e WHERE e.organization = c.organization)"), 0);
}
END_TEST

int main(int argc, char **argv)
{
    (void)argc;
    cw_test_db_need(argv);
    cw_test_db_init(&test, true);
    if (cw_model_init(&m, test.config, 4, &err) != CW_OK) {
        fprintf(stderr, "%s: %s\n", err.where, err.text);
        return 1;
    }
    Suite *suite = suite_create("model");
    TCase *tcase = tcase_create("model");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, patient_ids_are_checked);
    tcase_add_test(tcase, a_patient_is_made_found_and_replaced);
    tcase_add_test(tcase, patients_are_listed_by_page_and_email);
    tcase_add_test(tcase, an_import_creates_changes_and_keeps);
    tcase_add_test(tcase, a_retired_source_leads_to_its_successor);
    tcase_add_test(tcase, a_moved_discovery_is_held);
    tcase_add_test(tcase, host_patterns_match_hosts_only);
    tcase_add_test(tcase, a_registration_never_goes_to_a_foreign_host);
    tcase_add_test(tcase, two_nodes_make_one_pair_of_signing_keys);
    tcase_add_test(tcase, a_session_reads_back_as_it_was_made);
    tcase_add_test(tcase, of_two_ends_one_writes_the_event);
    tcase_add_test(tcase, an_attempt_in_flight_keeps_its_session_open);
    tcase_add_test(tcase, a_state_is_consumed_once_by_its_browser);
    tcase_add_test(tcase, a_state_is_consumed_once_at_the_same_moment);
    tcase_add_test(tcase, connecting_is_asked_again);
    tcase_add_test(tcase, one_bad_row_stops_no_sweep);
    tcase_add_test(tcase, ten_attempts_are_enough);
    tcase_add_test(tcase, events_are_numbered_without_gaps);
    suite_add_tcase(suite, tcase);
    int result = cw_check_main((Suite *[]){ suite, NULL });
    cw_db_pool_free(test.pool); /* what the model prepared is what shall be EXPLAINed */
    test.pool = m.pool;
    m.pool = NULL;
    cw_model_release(&m);
    cw_test_db_release(&test);
    return result;
}
