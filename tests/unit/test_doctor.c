/* SPDX-License-Identifier: Apache-2.0 */
/* The doctor against hospitals that are ill in one way each: it must name that way, and nothing else that fails. */
#include "config.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "model/signing.h"
#include "os/sys.h"
#include "tests/lib/check_main.h"
#include "tests/lib/ctl_run.h"
#include "tests/lib/script_server.h"

static struct cw_test_db test;
static struct cw_model m;
static struct script_server *server;
static const char *token_body; /* what the token endpoint says now */
static int token_status;
static const char *key_set; /* what stands at our own address; NULL: the real one */
#define ctl(...) ctl_run(&test, (const char *const[]){ __VA_ARGS__, NULL })

static char *say_token(void *arg, const struct script_request *request, int *ret_status)
{
    (void)arg;
    ck_assert_ptr_nonnull(strstr(request->body, "grant_type=refresh_token"));
    *ret_status = token_status;
    return strdup(token_body);
}

static char *say_keys(void *arg, const struct script_request *request, int *ret_status)
{
    struct cw_err err = { 0 };
    CW_AUTO_STR keys;
    (void)arg;
    (void)request;
    cw_str_init(&keys, 65536);
    *ret_status = key_set != NULL && key_set[0] == '\0' ? 404 : 200;
    if (key_set == NULL) {
        ck_assert_int_eq(cw_signing_jwks(&m, &keys, &err), CW_OK);
    }
    return strdup(key_set != NULL ? key_set : cw_str_cstr(&keys));
}

#define SMART(more)                                                                                \
    "{\"authorization_endpoint\":\"/oauth/authorize\",\"token_endpoint\":\"/oauth/"                \
    "token\",\"issuer\":\"https://issuer.test\","                                                  \
    "\"capabilities\":[\"launch-standalone\",\"permission-offline\",\"permission-v2\"],\"scopes_"  \
    "supported\":[\"openid\",\"launch/patient\"],"                                                 \
    "\"code_challenge_methods_supported\":[\"S256\"]" more "}"
#define CAPABILITY(version)                                                                        \
    "{\"resourceType\":\"CapabilityStatement\",\"fhirVersion\":\"" version                         \
    "\",\"software\":{\"name\":\"Test EHR\"},\"rest\":[{\"mode\":\"server\","                      \
    "\"resource\":[{\"type\":\"Patient\"}]}]}"

static const struct script_answer hospital[] = {
    { .path = "/fhir/.well-known/smart-configuration",
      .keep = true,
      .body = SMART(",\"token_endpoint_auth_methods_supported\":[\"client_secret_basic\",\"private_"
                    "key_jwt\"]") },
    { .path = "/fhir/metadata", .keep = true, .body = CAPABILITY("4.0.1") },
    { .path = "/old/.well-known/smart-configuration", .keep = true, .body = SMART("") },
    { .path = "/old/metadata",
      .keep = true,
      .headers = "Date: Tue, 15 Nov 1994 08:12:31 GMT\r\n",
      .body = CAPABILITY("1.0.2") },
    { .path = "/mute/metadata", .keep = true, .status = 401, .body = "{}" },
    { .path = "/mute/.well-known/smart-configuration", .keep = true, .body = SMART("") },
    { .path = "/html/.well-known/smart-configuration",
      .keep = true,
      .type = "text/html",
      .body = "<html>all is well</html>" },
    { .path = "/oauth/token", .keep = true, .make = say_token },
    { .path = "/.well-known/jwks.json", .keep = true, .make = say_keys },
    { .keep = true, .status = 404, .body = "{}" },
};

static void setup(void)
{
    struct cw_err err = { 0 };
    cw_test_db_init(&test, true);
    server = script_server_start(hospital, CW_ARRAY_LEN(hospital));
    ctl_configure(&test, script_server_url(server, ""), script_server_port(server), "");
    ck_assert_int_eq(cw_model_init(&m, test.config, 2, &err), CW_OK);
    token_body = "{\"error\":\"invalid_grant\"}";
    token_status = 400;
    key_set = NULL;
}

static void teardown(void)
{
    script_server_stop(server);
    cw_model_release(&m);
    cw_test_db_release(&test);
}

static const char *put_file(const char *name, const char *content)
{
    static char path[200];
    (void)snprintf(path, sizeof path, "%s/%s", test.folder, name);
    ck_assert_int_eq(cw_file_replace(path, 0600, cw_span_cstr(content), NULL), CW_OK);
    return path;
}

/* The URL of a base of the hospital, in the catalogue. */
static const char *import(const char *base)
{
    static char url[128];
    (void)snprintf(url, sizeof url, "%s", script_server_url(server, base));
    ck_assert_int_eq(ctl("source", "import", put_file("list", url), "--name", "Hospital"),
                     CTL_DONE);
    return url;
}

static void add_client(const char *url, const char *method)
{
    char secret[200];
    (void)snprintf(secret, sizeof secret, "%s", put_file("secret", "s3cret-canary\n"));
    if (strncmp(method, "client_secret", 13) == 0) {
        ck_assert_int_eq(ctl("client", "add", "--source", url, "--client-id", "app", "--auth",
                             method, "--secret-file", secret, "--slug", "lake"),
                         CTL_DONE);
    } else {
        ck_assert_int_eq(ctl("client", "add", "--source", url, "--client-id", "app", "--auth",
                             method, "--slug", "lake"),
                         CTL_DONE);
    }
}

/* The member of the first finding with that check; "" when there is none. */
static const char *finding(const char *check, const char *name)
{
    static char text[8][600];
    static unsigned at;
    char *out = text[at++ % 8];
    json_t *rows = ctl_json();
    out[0] = '\0';
    for (size_t i = 0; i < json_array_size(rows) && out[0] == '\0'; i++) {
        const json_t *row = json_array_get(rows, i);
        if (strcmp(json_string_value(json_object_get(row, "check")), check) == 0) {
            (void)snprintf(out, sizeof text[0], "%s",
                           json_string_value(json_object_get(row, name)));
        }
    }
    json_decref(rows);
    return out;
}

static int doctor(const char *url)
{
    int status = ctl("doctor", url, "--json");
    ck_assert_ptr_null(strstr(ctl_out, "canary"));
    ck_assert_ptr_null(strstr(ctl_problem, "canary"));
    return status;
}

START_TEST(a_sound_hospital_passes)
{
    static const char *const fine[] = { "fhir_base_url", "held_change",  "place",
                                        "discovery",     "clock_or_not", "fhir_version",
                                        "capability",    "hosts",        "client_registration",
                                        "redirect_uri",  "auth_method",  "token_probe",
                                        "pkce",          "scopes" };
    const char *url = import("/fhir");
    char redirect[160];
    add_client(url, "client_secret_basic");
    ck_assert_msg(doctor(url) == CTL_DONE, "%s", ctl_out);
    for (size_t i = 0; i < CW_ARRAY_LEN(fine); i++) {
        if (strcmp(fine[i], "clock_or_not") != 0) {
            ck_assert_msg(strcmp(finding(fine[i], "result"), "ok") == 0, "%s: %s", fine[i],
                          ctl_out);
        }
    }
    (void)snprintf(redirect, sizeof redirect, "%s", script_server_url(server, "/callback/lake"));
    ck_assert_str_eq(finding("redirect_uri", "detail"), redirect);
    ck_assert_ptr_nonnull(strstr(finding("token_probe", "detail"), "invalid_grant"));
    ck_assert_str_eq(finding("vendor_profile", "cause"), "profile_default");
    ck_assert_str_eq(finding("certificate", "cause"), "plain_http");

    ck_assert_ptr_null(strchr(finding("hosts", "detail"), ' ')); /* one host, once */
    ck_assert_ptr_nonnull(strstr(finding("scopes_advertised", "detail"), "patient/"));
    ck_assert_str_eq(finding("key_set", "check"), ""); /* no key is used here */
    ck_assert_int_eq(ctl("doctor", url), CTL_DONE);
    ck_assert_ptr_nonnull(strstr(ctl_out, "profile_default. Where the vendor is known"));
}
END_TEST

START_TEST(the_token_endpoint_is_read_by_its_error)
{
    static const struct {
        int status;
        const char *body, *cause, *result;
    } rows[] = {
        { 400, "{\"error\":\"invalid_grant\"}", "", "ok" },
        { 401, "{\"error\":\"invalid_client\"}", "secret_rejected", "fail" },
        { 200, "{\"error\":\"invalid_client\"}", "secret_rejected", "fail" },
        { 400, "{\"error\":\"unauthorized_client\"}", "not_enabled", "warn" },
        { 400, "{\"error\":\"unsupported_grant_type\"}", "refresh_not_offered", "note" },
        { 400, "{\"error\":\"invalid_request\"}", "probe_inconclusive", "note" },
        { 400, "", "probe_inconclusive", "note" },
        { 500, "oops", "token_endpoint_busy", "warn" },
        { 503, "{}", "token_endpoint_busy", "warn" },
        { 200, "{\"access_token\":\"canary-token\",\"token_type\":\"Bearer\"}", "probe_granted",
          "warn" },
    };
    const char *url = import("/fhir");
    add_client(url, "client_secret_post");
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        token_status = rows[i].status;
        token_body = rows[i].body;
        int status = doctor(url);
        ck_assert_msg(strcmp(finding("token_probe", "cause"), rows[i].cause) == 0, "row %zu: %s", i,
                      finding("token_probe", "cause"));
        ck_assert_msg(strcmp(finding("token_probe", "result"), rows[i].result) == 0, "row %zu", i);
        ck_assert_msg(status == (strcmp(rows[i].result, "fail") == 0 ? CTL_FAILED : CTL_DONE),
                      "row %zu: %s", i, ctl_out);
    }
    ck_assert_str_eq(finding("auth_method", "cause"), "method_not_advertised");
}
END_TEST

START_TEST(our_key_set_is_looked_at_from_outside)
{
    const char *url = import("/fhir");
    add_client(url, "private_key_jwt");
    ck_assert_msg(doctor(url) == CTL_DONE, "%s", ctl_out);
    ck_assert_str_eq(finding("key_set", "result"), "ok");
    key_set = "{\"keys\":[]}";
    ck_assert_int_eq(doctor(url), CTL_FAILED);
    ck_assert_str_eq(finding("key_set", "cause"), "key_set_differs");
    key_set = "";
    ck_assert_int_eq(doctor(url), CTL_FAILED);
    ck_assert_str_eq(finding("key_set", "cause"), "key_set_unreachable");
    key_set = NULL;
    token_body = "{\"error\":\"invalid_client\"}";
    ck_assert_int_eq(doctor(url), CTL_FAILED);
    ck_assert_str_eq(finding("token_probe", "cause"), "key_rejected");
    token_body = "{\"error\":\"invalid_grant\"}";
    ctl_configure(&test, "http://127.0.0.1:1", script_server_port(server), "");
    ck_assert_int_eq(doctor(url), CTL_DONE);
    ck_assert_str_eq(finding("key_set", "cause"), "key_set_not_judged");
}
END_TEST

START_TEST(what_is_wrong_with_a_server_is_named)
{
    const char *url = import("/old");
    add_client(url, "none");
    ck_assert_int_eq(doctor(url), CTL_FAILED);
    ck_assert_str_eq(finding("fhir_version", "cause"), "fhir_version_unsupported");
    ck_assert_str_eq(finding("fhir_version", "detail"), "1.0.2");
    ck_assert_str_eq(finding("clock", "cause"), "clock_off");
    ck_assert_str_eq(finding("auth_method", "cause"), "method_not_told");
    url = import("/mute");
    ck_assert_int_eq(doctor(url), CTL_FAILED); /* no registration */
    ck_assert_str_eq(finding("capability", "cause"), "capability_unreadable");
    url = import("/html");
    ck_assert_int_eq(doctor(url), CTL_FAILED);
    ck_assert_str_eq(finding("discovery", "cause"), "no_discovery");
    ck_assert_ptr_nonnull(
        strstr(finding("place", "detail"), "/html/.well-known/smart-configuration: "));
    script_server_stop(server);
    server = script_server_start(
        hospital, CW_ARRAY_LEN(hospital)); /* on another port: nobody is at the old one */
    ck_assert_int_eq(doctor(url), CTL_FAILED);
    ck_assert_str_eq(finding("reach", "cause"), "host_unreachable");
}
END_TEST

START_TEST(a_missing_registration_is_told_with_its_host)
{
    char unknown[128], elsewhere[64];
    const char *url = import("/fhir");
    ck_assert_int_eq(doctor(url), CTL_FAILED);
    ck_assert_str_eq(finding("client_registration", "cause"), "no_registration");
    ck_assert_ptr_nonnull(strstr(finding("client_registration", "detail"), "127.0.0.1:"));
    ck_assert_int_eq(ctl("client", "add", "--source", url, "--client-id", "x", "--auth", "none",
                         "--host", "other.test", "--slug", "far"),
                     CTL_DONE);
    ck_assert_int_eq(doctor(url), CTL_FAILED);
    ck_assert_str_eq(finding("client_registration", "cause"), "host_not_listed");
    (void)snprintf(elsewhere, sizeof elsewhere, "far does not list: 127.0.0.1:%u",
                   script_server_port(server));
    ck_assert_str_eq(finding("client_registration", "detail"), elsewhere);
    (void)snprintf(unknown, sizeof unknown, "%s", script_server_url(server, "/mute"));
    ck_assert_int_eq(doctor(unknown), CTL_FAILED);
    ck_assert_str_eq(finding("catalogue", "cause"), "not_in_catalogue");
    ck_assert_str_eq(finding("discovery", "result"), "ok");
    ck_assert_int_eq(ctl("doctor", "https://192.168.1.1/fhir", "--json"), CTL_FAILED);
    ck_assert_str_eq(finding("reach", "cause"), "host_blocked");
    ck_assert_int_eq(ctl("doctor", "fhirsrc_00000000000000000000000000"), CTL_FAILED);
    ck_assert_int_eq(ctl("doctor"), CTL_USAGE);
}
END_TEST

/* ---- a server with a certificate of its own: openssl's, since ours are all plain http */

static void shell(const char *script)
{
    pid_t child = fork();
    if (child == 0) {
        (void)!freopen("/dev/null", "w", stdout);
        (void)!freopen("/dev/null", "w", stderr);
        (void)execl("/bin/sh", "sh", "-e", "-c", script, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}

static unsigned free_port(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    (void)close(fd);
    return ntohs(address.sin_port);
}

static pid_t serve_tls(unsigned port)
{
    char script[2048];
    (void)snprintf(script, sizeof script,
                   "cd %s && mkdir -p www/fhir/.well-known && printf '%%s' '%s' > "
                   "www/fhir/.well-known/smart-configuration"
                   " && printf '%%s' '%s' > www/fhir/metadata && openssl req -x509 -newkey "
                   "rsa:2048 -nodes -days 9 -subj /CN=test"
                   " -addext subjectAltName=IP:127.0.0.1 -keyout tls.key -out tls.pem",
                   test.folder, SMART(""), CAPABILITY("4.0.1"));
    shell(script);
    pid_t child = fork();
    if (child == 0) {
        char number[16];
        (void)snprintf(number, sizeof number, "%u", port);
        (void)snprintf(script, sizeof script, "%s/www", test.folder);
        (void)!chdir(script);
        (void)!freopen("/dev/null", "r", stdin);
        (void)!freopen("/dev/null", "w", stdout);
        (void)!freopen("/dev/null", "w", stderr);
        (void)execlp("openssl", "openssl", "s_server", "-quiet", "-accept", number, "-cert",
                     "../tls.pem", "-key", "../tls.key", "-WWW", (char *)NULL);
        _exit(127);
    }
    return child;
}

START_TEST(a_certificate_near_its_end_is_seen)
{
    unsigned port = free_port();
    char url[64], more[200];
    pid_t child = serve_tls(port);
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%u/fhir", port);
    (void)snprintf(more, sizeof more, "ca_file = %s/tls.pem\n", test.folder);
    ctl_configure(&test, NULL, port, more);
    for (int tries = 0; tries < 50; tries++) {
        (void)doctor(url);
        if (finding("certificate", "cause")[0] != '\0') {
            break;
        }
        (void)usleep(100000);
    }
    (void)kill(child, SIGTERM);
    (void)waitpid(child, NULL, 0);
    ck_assert_msg(strcmp(finding("certificate", "cause"), "certificate_ends") == 0, "%s", ctl_out);
    ck_assert_ptr_nonnull(strstr(finding("certificate", "detail"), "verified; until 20"));
    (void)snprintf(more, sizeof more, "rm -rf %s/www", test.folder);
    shell(more);
}
END_TEST

int main(int argc, char **argv)
{
    (void)argc;
    cw_test_db_need(argv);
    Suite *suite = suite_create("doctor");
    TCase *tcase = tcase_create("doctor");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_sound_hospital_passes);
    tcase_add_test(tcase, the_token_endpoint_is_read_by_its_error);
    tcase_add_test(tcase, our_key_set_is_looked_at_from_outside);
    tcase_add_test(tcase, what_is_wrong_with_a_server_is_named);
    tcase_add_test(tcase, a_missing_registration_is_told_with_its_host);
    tcase_add_test(tcase, a_certificate_near_its_end_is_seen);
    suite_add_tcase(suite, tcase);
    return cw_check_main((Suite *const[]){ suite, NULL });
}
