/* SPDX-License-Identifier: Apache-2.0 */
/* What the tokens bring: whose records they open, what was granted of what was asked, and what happens to those that nobody will use. */
#include "config.h"

#include "base/text.h"
#include "base/time.h"
#include "model/connection.h"
#include "model/dynamic_client.h"
#include "os/sys.h"
#include "test_callback.h"
#include "vault/jose.h"

/* An attempt that comes back to the tokens minted before, in the right browser. */
static struct started return_with(struct start start)
{
    start.token_path = start.token_path == NULL ? "/mint" : start.token_path;
    struct started s = begin(start);
    struct fcgi_answer answer = back(&s, COOKIE, "&code=c");
    ck_assert_msg(answer.status == 303, "%d: %s", answer.status, answer.body);
    fcgi_answer_free(&answer);
    return s;
}

static bool is_connected(const struct started *s)
{
    return number_of(s, "SELECT status FROM attempt") == CW_ATTEMPT_CONNECTED;
}

/* Bodies that /revoke was sent since `from`. */
static size_t revoked(size_t from, const char *token)
{
    size_t count = 0;
    char wanted[128];
    (void)snprintf(wanted, sizeof wanted, "token=%s&", token);
    for (size_t i = from; i < script_server_count(portal); i++) {
        const struct script_request *request = script_server_request(portal, i);
        count += strcmp(request->target, "/revoke") == 0 && strstr(request->body, wanted) != NULL ? 1 : 0;
    }
    return count;
}

/* An unsigned-looking JWT over claims. */
static const char *jwt(const char *claims)
{
    static char text[2048];
    CW_AUTO_STR out;
    cw_str_init(&out, sizeof text - 1);
    ck_assert_int_eq(cw_base64url_encode(CW_SPAN("{\"alg\":\"RS256\",\"kid\":\"k\"}"), &out), CW_OK);
    (void)cw_str_add_char(&out, '.');
    ck_assert_int_eq(cw_base64url_encode(cw_span_cstr(claims), &out), CW_OK);
    (void)cw_str_add_cstr(&out, ".c2ln");
    (void)snprintf(text, sizeof text, "%s", cw_str_cstr(&out));
    return text;
}

static struct cw_connection_id connection_of(const struct started *s)
{
    struct cw_err err = { 0 };
    struct cw_attempt attempt;
    must(cw_attempt_get(&app.model, s->session.id, s->id, arena, &attempt, &err), &err, "attempt");
    return attempt.connection;
}

static struct cw_connection read_connection(struct cw_connection_id id)
{
    struct cw_err err = { 0 };
    struct cw_connection connection;
    must(cw_connection_get(&app.model, id, arena, &connection, &err), &err, "connection");
    return connection;
}

static struct cw_connection connection_by(const struct started *s)
{
    return read_connection(connection_of(s));
}

/* One practice behind the base that all share is not the other: two connections, each with its own. */
START_TEST(practices)
{
    static const char *const names[] = { "a-1.Practice-1", "a-1.Practice-2", "a-1.Practice-1" };
    for (size_t i = 0; i < CW_ARRAY_LEN(names); i++) {
        char claims[128];
        (void)snprintf(claims, sizeof claims, "{\"ah_practice\":\"%s\"}", names[i]);
        mint("{\"access_token\":\"%s\",\"refresh_token\":\"r\",\"token_type\":\"Bearer\",\"patient\":\"upstream-athena\"}", jwt(claims));
        struct started s = return_with((struct start){ .profile = "athena", .patient = "pat-athena" });
        ck_assert(is_connected(&s));
    }
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM connection WHERE tenant_context = 'a-1.Practice-1'"), 1);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM connection WHERE tenant_context = 'a-1.Practice-2'"), 1);
}
END_TEST

/* A parent who signs in for two children has a connection for each; the same child again is the same connection. */
START_TEST(two_children)
{
    static const char *const children[] = { "upstream-child-1", "upstream-child-2", "upstream-child-1" };
    for (size_t i = 0; i < CW_ARRAY_LEN(children); i++) {
        mint("{\"access_token\":\"a%zu\",\"refresh_token\":\"r\",\"token_type\":\"Bearer\",\"patient\":\"%s\"}", i, children[i]);
        struct started s = return_with((struct start){ .patient = "pat-parent" });
        ck_assert(is_connected(&s));
    }
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM connection WHERE patient ="
                                              " (SELECT id FROM patient WHERE patient_id = 'pat-parent')"), 2);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(DISTINCT connection) FROM attempt WHERE patient ="
                                              " (SELECT id FROM patient WHERE patient_id = 'pat-parent')"), 2);
}
END_TEST

/* What was not granted stands with the connection, and goes when it is granted after all; no refresh token makes it a one-time one. */
START_TEST(partial_grants)
{
    static const struct start asking = { .patient = "pat-partial", .asked = "patient/Patient.rs patient/Condition.rs patient/Goal.rs" };
    mint("{\"access_token\":\"a\",\"refresh_token\":\"r\",\"patient\":\"upstream-p\",\"scope\":\"patient/Patient.rs patient/Goal.rs\"}");
    struct started s = return_with(asking);
    struct cw_connection connection = connection_by(&s);
    ck_assert(cw_span_eq_cstr(connection.missing_types, "Condition") && !connection.one_time);
    mint("{\"access_token\":\"a\",\"patient\":\"upstream-p\",\"expires_in\":600,\"scope\":\"patient/Patient.rs patient/Condition.rs patient/Goal.rs\"}");
    struct started again = return_with(asking);
    struct cw_connection whole = connection_by(&again);
    ck_assert(cw_ulid_eq(whole.id.ulid, connection.id.ulid) && whole.missing_types.len == 0 && whole.one_time);
    int64_t left_us = whole.ends_us - cw_now_us();
    ck_assert(left_us > 500 * CW_SECOND_US && left_us <= 600 * CW_SECOND_US);
    /* Told once more, and pulled at once. */
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM pull WHERE patient ="
                                              " (SELECT id FROM patient WHERE patient_id = 'pat-partial')"), 1);
}
END_TEST

/* Who connects again while the next pull waits for its night is pulled at once and whole, before scheduled ones. */
START_TEST(a_reconnect_does_not_wait_for_the_night)
{
    static const struct start asking = { .patient = "pat-night" };
#define NIGHT " FROM job j JOIN pull u ON u.id = j.subject JOIN patient p ON p.id = u.patient WHERE p.patient_id = 'pat-night'"
    mint("{\"access_token\":\"a\",\"refresh_token\":\"r\",\"patient\":\"upstream-n\"}");
    struct started s = return_with(asking);
    ck_assert(is_connected(&s));
    cw_test_db_sql(&test, "UPDATE job j JOIN pull u ON u.id = j.subject JOIN patient p ON p.id = u.patient SET u.trigger_kind = 3, u.mode = 2,"
                          " j.priority = 200, j.ready_at = UTC_TIMESTAMP() + INTERVAL 9 HOUR WHERE p.patient_id = 'pat-night'");
    struct started again = return_with(asking);
    ck_assert(is_connected(&again));
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*)" NIGHT), 1);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*)" NIGHT " AND j.ready_at <= UTC_TIMESTAMP(3) AND j.priority = 50"
                                              " AND u.trigger_kind = 1 AND u.mode = 1"), 1);
    /* One that runs goes on. */
    cw_test_db_sql(&test, "UPDATE job j JOIN pull u ON u.id = j.subject JOIN patient p ON p.id = u.patient SET u.status = 2, j.ready_at = NULL"
                          " WHERE p.patient_id = 'pat-night'");
    struct started third = return_with(asking);
    ck_assert(is_connected(&third));
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*)" NIGHT " AND u.status = 2 AND j.ready_at IS NULL"), 1);
#undef NIGHT
}
END_TEST

/* --- a connection that is connected again --- */

static void mint_for(const char *patient, const char *name)
{
    mint("{\"access_token\":\"acc-%s\",\"refresh_token\":\"ref-%s\",\"token_type\":\"Bearer\",\"patient\":\"%s\"}", name, name, patient);
}

START_TEST(reconnecting)
{
    mint_for("upstream-me", "first");
    struct started s = return_with((struct start){ .patient = "pat-again" });
    struct cw_connection_id mine = connection_of(&s);
    cw_test_db_sql(&test, "UPDATE connection SET status = 4, failure_code = 'refresh_refused', failure_at = NOW(3) WHERE patient ="
                          " (SELECT id FROM patient WHERE patient_id = 'pat-again')");
    struct cw_connection dead = read_connection(mine);

    /* Somebody else signs in: the tokens go back, and nothing has changed. */
    size_t before = script_server_count(portal);
    mint_for("upstream-sibling", "second");
    struct started other = return_with((struct start){ .patient = "pat-again", .reconnect = mine });
    ck_assert(failed_with(&other, "identity_mismatch"));
    ck_assert_uint_eq(revoked(before, "ref-second"), 1);
    ck_assert_uint_eq(revoked(before, "acc-second"), 1);
    struct cw_connection still = read_connection(mine);
    ck_assert_int_eq(still.status, CW_CONNECTION_REFRESH_FAILED);
    ck_assert(still.updated_us == dead.updated_us && cw_ulid_eq(still.session.ulid, dead.session.ulid));
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM connection WHERE patient ="
                                              " (SELECT id FROM patient WHERE patient_id = 'pat-again')"), 1);

    /* The same person: the same connection, active again, with the new tokens. */
    mint_for("upstream-me", "third");
    struct started again = return_with((struct start){ .patient = "pat-again", .reconnect = mine });
    ck_assert(is_connected(&again));
    struct cw_connection_id same = connection_of(&again);
    ck_assert(cw_ulid_eq(same.ulid, mine.ulid));
    struct cw_connection alive = read_connection(mine);
    ck_assert_int_eq(alive.status, CW_CONNECTION_ACTIVE);
    ck_assert_ptr_null(alive.failure_code.ptr);
    struct cw_grant grant = { 0 };
    struct cw_err err = { 0 };
    must(cw_grant_get(&app.model, mine, &grant, &err), &err, "grant");
    ck_assert_str_eq(grant.refresh.ptr, "ref-third");
    cw_grant_release(&grant);

    /* Without being asked to reconnect, the sibling is a connection of its own. */
    mint_for("upstream-sibling", "fourth");
    struct started sibling = return_with((struct start){ .patient = "pat-again" });
    struct cw_connection_id hers = connection_of(&sibling);
    ck_assert(is_connected(&sibling) && !cw_ulid_eq(hers.ulid, mine.ulid));
    must(cw_grant_get(&app.model, mine, &grant, &err), &err, "grant");
    ck_assert_str_eq(grant.refresh.ptr, "ref-third");
    cw_grant_release(&grant);
}
END_TEST

/* A hospital that cannot take the tokens back now is asked again later; the attempt ends at once. */
START_TEST(tokens_that_still_live)
{
    mint("{\"access_token\":\"acc-left\",\"refresh_token\":\"ref-left\",\"scope\":\"openid\",\"patient\":\"p\"}");
    size_t before = script_server_count(portal);
    struct started s = return_with((struct start){ .patient = "pat-left", .no_way_back = true });
    ck_assert(failed_with(&s, "scope_insufficient"));
    ck_assert_uint_eq(script_server_count(portal), before + 2); /* the exchange and one try */
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM revocation WHERE status = 1 AND refresh_sealed IS NOT NULL AND access_sealed IS NOT NULL"), 1);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM job j JOIN revocation r ON r.id = j.subject"), 1);
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM revocation WHERE refresh_sealed LIKE '%ref-left%'"), 0);
    mint("{\"access_token\":\"acc-gone\",\"scope\":\"openid\",\"patient\":\"p\"}");
    s = return_with((struct start){ .patient = "pat-left" });
    ck_assert(failed_with(&s, "scope_insufficient"));
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM revocation"), 1);
}
END_TEST

/* A reconnect that fails for any other reason leaves the connection as it was, too. */
START_TEST(reconnect_refused)
{
    mint_for("upstream-me", "kept");
    struct started s = return_with((struct start){ .patient = "pat-kept" });
    struct cw_connection_id mine = connection_of(&s);
    struct cw_connection before = read_connection(mine);
    struct started refused = begin((struct start){ .patient = "pat-kept", .reconnect = mine });
    struct fcgi_answer answer = back(&refused, COOKIE, "&error=access_denied");
    ck_assert_int_eq(answer.status, 303);
    fcgi_answer_free(&answer);
    struct started lost = return_with((struct start){ .patient = "pat-kept", .reconnect = mine, .token_path = "/html" });
    ck_assert(failed_with(&refused, "user_denied") && failed_with(&lost, "token_answer_invalid"));
    struct cw_connection after = read_connection(mine);
    ck_assert(after.status == CW_CONNECTION_ACTIVE && after.updated_us == before.updated_us);
    struct cw_grant grant = { 0 };
    struct cw_err err = { 0 };
    must(cw_grant_get(&app.model, mine, &grant, &err), &err, "grant");
    ck_assert_str_eq(grant.refresh.ptr, "ref-kept");
    cw_grant_release(&grant);
}
END_TEST

/* --- lasting access without a refresh token --- */

static size_t registrations(size_t from)
{
    size_t count = 0;
    for (size_t i = from; i < script_server_count(portal); i++) {
        count += strcmp(script_server_request(portal, i)->target, "/register") == 0 ? 1 : 0;
    }
    return count;
}

START_TEST(registered_for_one_connection)
{
    static const char public_answer[] = "{\"access_token\":\"acc-dyn\",\"token_type\":\"Bearer\",\"expires_in\":600,\"patient\":\"upstream-dyn\"}";
    static const struct {
        const char *profile, *answer, *tokens;
        size_t registered;
        bool one_time, dynamic;
    } rows[] = {
        { "epic", "{\"client_id\":\"dyn-7\"}", public_answer, 1, false, true },
        { "epic", NULL, public_answer, 1, true, false },         /* 404: not offered at this organization */
        { "epic", "<html>", public_answer, 1, true, false },
        { "default", "{\"client_id\":\"dyn-8\"}", public_answer, 0, true, false },
        { "epic", "{\"client_id\":\"dyn-9\"}", public_answer, 1, false, true },
        { "epic", "{\"client_id\":\"dyn-9\"}",
          "{\"access_token\":\"a\",\"refresh_token\":\"r\",\"expires_in\":600,\"patient\":\"upstream-dyn\"}", 0, false, false },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        size_t before = script_server_count(portal);
        mint("%s", rows[i].tokens);
        portal_register = rows[i].answer;
        struct started s = return_with((struct start){ .profile = rows[i].profile, .patient = "pat-dyn" });
        ck_assert_msg(is_connected(&s), "row %zu", i);
        ck_assert_msg(registrations(before) == rows[i].registered, "row %zu", i);
        struct cw_connection connection = connection_by(&s);
        ck_assert_msg(connection.one_time == rows[i].one_time, "row %zu", i);
        ck_assert_msg((connection.ends_us != 0) == rows[i].one_time, "row %zu", i);
        struct cw_err err = { 0 };
        struct cw_dynamic_client client = { .key = NULL };
        enum cw_code rc = cw_dynamic_client_get(&app.model, connection.id, arena, &client, &err);
        ck_assert_msg(rc == (rows[i].dynamic ? CW_OK : CW_E_NOT_FOUND), "row %zu: %d", i, (int)rc);
        cw_signing_key_free(client.key);
    }
    portal_register = NULL;
}
END_TEST

/* --- the id_token --- */

static struct cw_signing_key *issuer_key;

static char *key_set(const struct cw_signing_key *key)
{
    CW_AUTO_STR text;
    cw_str_init(&text, 8192);
    struct cw_jsonw w;
    cw_jsonw_init(&w, &text);
    cw_jsonw_open_object(&w);
    cw_jsonw_key(&w, "keys");
    cw_jsonw_open_array(&w);
    ck_assert_int_eq(cw_signing_key_jwk(key, &w), CW_OK);
    cw_jsonw_close_array(&w);
    cw_jsonw_close_object(&w);
    ck_assert_int_eq(cw_jsonw_end(&w), CW_OK);
    return cw_str_take(&text);
}

/* The portal's tokens with an id_token over these claims and no other word on the patient. */
static void mint_id_token(const struct cw_signing_key *key, const char *issuer, const char *nonce, const char *user)
{
    char claims[512];
    CW_AUTO_STR token;
    cw_str_init(&token, 4096);
    long long now_s = (long long)(cw_now_us() / CW_SECOND_US);
    (void)snprintf(claims, sizeof claims,
                   "{\"iss\":\"%s\",\"aud\":\"our-client\",\"sub\":\"s\",\"exp\":%lld,\"iat\":%lld,\"nonce\":\"%s\",\"fhirUser\":\"%s\"}", issuer,
                   now_s + 300, now_s, nonce, user);
    ck_assert_int_eq(cw_jws_sign(key, cw_span_cstr(claims), &token, NULL), CW_OK);
    mint("{\"access_token\":\"acc-id\",\"refresh_token\":\"ref-id\",\"token_type\":\"Bearer\",\"id_token\":\"%s\"}", cw_str_cstr(&token));
}

START_TEST(identity_from_an_id_token)
{
    struct cw_signing_key *stranger = NULL;
    ck_assert_int_eq(cw_signing_key_make(CW_ALG_ES384, &issuer_key, NULL), CW_OK);
    ck_assert_int_eq(cw_signing_key_make(CW_ALG_ES384, &stranger, NULL), CW_OK);
    char *set = key_set(issuer_key);
    portal_keys = set;
    const struct {
        const struct cw_signing_key *key;
        const char *issuer, *nonce, *user, *failure; /* failure NULL: connected */
    } rows[] = {
        { issuer_key, "https://issuer", "nonce", "Patient/upstream-id", NULL },
        { issuer_key, "https://issuer", "nonce", "RelatedPerson/upstream-id", "no_patient_context" },
        { issuer_key, "https://other", "nonce", "Patient/upstream-id", "no_patient_context" },
        { stranger, "https://issuer", "nonce", "Patient/upstream-id", "no_patient_context" },
        { issuer_key, "https://issuer", "another", "Patient/upstream-id", "id_token_invalid" },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        size_t before = script_server_count(portal);
        mint_id_token(rows[i].key, rows[i].issuer, rows[i].nonce, rows[i].user);
        struct started s = return_with((struct start){ .issuer = "https://issuer", .keys = true, .patient = "pat-id" });
        ck_assert_msg(is_connected(&s) == (rows[i].failure == NULL), "row %zu", i);
        ck_assert_msg(rows[i].failure == NULL || failed_with(&s, rows[i].failure), "row %zu", i);
        /* What nobody will use goes back, the longer-lived one too. */
        ck_assert_msg(revoked(before, "ref-id") == (rows[i].failure == NULL ? 0 : 1), "row %zu", i);
        ck_assert_msg(revoked(before, "acc-id") == (rows[i].failure == NULL ? 0 : 1), "row %zu", i);
    }
    ck_assert_int_eq(cw_test_db_number(&test, "SELECT COUNT(*) FROM connection WHERE patient ="
                                              " (SELECT id FROM patient WHERE patient_id = 'pat-id')"), 1);
    portal_keys = NULL;
    free(set);
    cw_signing_key_free(stranger);
    cw_signing_key_free(issuer_key);
}
END_TEST

/* Nothing but the server's search names the patient: exactly one person must be there. */
START_TEST(patient_from_a_search)
{
#define PATIENT(id) "{\"resource\":{\"resourceType\":\"Patient\",\"id\":\"" id "\"}}"
    mint("{\"access_token\":\"a\",\"refresh_token\":\"r\",\"token_type\":\"Bearer\"}");
    portal_patients = "{\"resourceType\":\"Bundle\",\"entry\":[" PATIENT("upstream-only") "]}";
    struct started s = return_with((struct start){ .patient = "pat-search" });
    ck_assert(is_connected(&s));
    portal_patients = "{\"resourceType\":\"Bundle\",\"entry\":[" PATIENT("upstream-1") "," PATIENT("upstream-2") "]}";
    s = return_with((struct start){ .patient = "pat-search" });
    ck_assert(failed_with(&s, "no_patient_context"));
    portal_patients = NULL;
}
END_TEST

/* Which of our keys signs: the profile's, unless the server names another of ours and not that. */
START_TEST(the_key_that_signs)
{
    static const struct {
        enum cw_jose_alg profile;
        unsigned advertised;
        enum cw_jose_alg chosen;
    } rows[] = {
        { CW_ALG_RS384, 0, CW_ALG_RS384 },
        { CW_ALG_RS384, 1u << CW_ALG_RS384 | 1u << CW_ALG_ES384, CW_ALG_RS384 },
        { CW_ALG_ES384, 1u << CW_ALG_RS384 | 1u << CW_ALG_ES384, CW_ALG_ES384 },
        { CW_ALG_RS384, 1u << CW_ALG_ES384, CW_ALG_ES384 },
        { CW_ALG_ES384, 1u << CW_ALG_RS384, CW_ALG_RS384 },
        { CW_ALG_RS384, 1u << CW_ALG_RS256 | 1u << CW_ALG_ES256, CW_ALG_RS384 }, /* none of ours: the lists are often wrong */
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        const struct cw_profile profile = { .jwt_alg = rows[i].profile };
        ck_assert_msg(cw_smart_choose_alg(&profile, rows[i].advertised) == rows[i].chosen, "row %zu", i);
    }
    struct cw_err err = { 0 };
    struct cw_span host = CW_SPAN("signs.example");
    const struct cw_registration wanted = { .environment = CW_ENV_SANDBOX, .slug = CW_SPAN("signs"), .vendor = CW_SPAN("default"),
                                            .client_id = CW_SPAN("signer"), .method = CW_AUTH_KEY_JWT, .hosts = &host, .host_count = 1 };
    struct cw_identity_wish wish = { .auth_algs = 1u << CW_ALG_ES384 };
    struct cw_smart_identity identity;
    must(cw_registration_add(&app.model, &operator, &wanted, (struct cw_span){ NULL, 0 }, &wish.registration, &err), &err, "registration");
    must(cw_smart_identity_open(&app.model, app.profiles, &wish, arena, &identity, &err), &err, "identity");
    char *set = key_set(identity.client.key);
    ck_assert_ptr_nonnull(strstr(set, "\"ES384\""));
    free(set);
    cw_smart_identity_release(&identity);
}
END_TEST

Suite *callback_grant_suite(void)
{
    Suite *suite = suite_create("callback_grants");
    TCase *tcase = tcase_create("callback_grants");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, practices);
    tcase_add_test(tcase, two_children);
    tcase_add_test(tcase, partial_grants);
    tcase_add_test(tcase, a_reconnect_does_not_wait_for_the_night);
    tcase_add_test(tcase, reconnecting);
    tcase_add_test(tcase, reconnect_refused);
    tcase_add_test(tcase, tokens_that_still_live);
    tcase_add_test(tcase, registered_for_one_connection);
    tcase_add_test(tcase, identity_from_an_id_token);
    tcase_add_test(tcase, patient_from_a_search);
    tcase_add_test(tcase, the_key_that_signs);
    suite_add_tcase(suite, tcase);
    return suite;
}
