/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS for real: only a chain to the configured CA and the right name pass; nothing of a request leaves before that; old protocol
 * versions are refused; nothing of the environment chooses whom to trust or writes the session's keys down.
 */
#include "config.h"

#include <dlfcn.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include "net/http.h"
#include "net_fixture.h"
#include "test_net.h"
#include "tls_server.h"

/* Set where the test stands between libcurl and OpenSSL's store. */
static unsigned ca_folders_read, ca_files_read;

/* The same for a file of CA certificates. */
int X509_STORE_load_file(X509_STORE *store, const char *path)
{
    int (*real)(X509_STORE *, const char *) = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "X509_STORE_load_file");
    ca_files_read++;
    return real(store, path);
}

/* libcurl calls this for a folder of CA certificates; this definition comes before OpenSSL's. */
int X509_STORE_load_path(X509_STORE *store, const char *path)
{
    int (*real)(X509_STORE *, const char *) = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "X509_STORE_load_path");
    ca_folders_read++;
    return real(store, path);
}

static enum cw_code get(unsigned port, const char *ca_file)
{
    char lines[256];
    char url[64];
    snprintf(lines, sizeof lines, "allow = 127.0.0.1:%u\n%s%s\n", port, ca_file == NULL ? "" : "ca_file = ", ca_file == NULL ? "" : ca_file);
    snprintf(url, sizeof url, "https://127.0.0.1:%u/", port);
    struct cw_http *http = net_fixture_http(NULL, lines);
    struct cw_http_response response;
    cw_http_response_init(&response);
    struct cw_http_request request = { .url = url, .body_max = 100, .bearer = CW_SPAN("token") };
    enum cw_code rc = cw_http_perform(http, &request, &response, NULL);
    ck_assert((rc == CW_OK) == response.request_sent);
    cw_http_response_release(&response);
    cw_http_free(http);
    return rc;
}

START_TEST(who_passes)
{
    static const struct {
        const char *name;
        int newest;
        bool trusted;
        enum cw_code code;
    } rows[] = {
        { "IP:127.0.0.1", TLS1_3_VERSION, true, CW_OK },
        { "IP:127.0.0.1", TLS1_2_VERSION, true, CW_OK },
        { "IP:127.0.0.1", TLS1_1_VERSION, true, CW_E_UNAVAILABLE },
        { "IP:127.0.0.1", TLS1_3_VERSION, false, CW_E_UNAVAILABLE },
        { "IP:127.0.0.2", TLS1_3_VERSION, true, CW_E_UNAVAILABLE },
        { "DNS:localhost", TLS1_3_VERSION, true, CW_E_UNAVAILABLE },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct tls_server server;
        tls_server_start(&server, rows[i].name, rows[i].newest, TLS_SERVER_OK);
        enum cw_code rc = get(server.port, rows[i].trusted ? server.ca_path : NULL);
        ck_assert_msg(rc == rows[i].code, "row %zu: %d", i, (int)rc);
        ck_assert_msg(atomic_load(&server.requests) == (rc == CW_OK ? 1u : 0u), "row %zu", i);
        tls_server_stop(&server);
    }
}
END_TEST

/* A named CA file is all that is trusted: libcurl's built-in folder of the system is not read beside it. */
START_TEST(ca_file_stands_alone)
{
    struct tls_server server;
    tls_server_start(&server, "IP:127.0.0.1", TLS1_3_VERSION, TLS_SERVER_OK);
    ck_assert_int_eq(get(server.port, NULL), CW_E_UNAVAILABLE);
    ca_folders_read = 0;
    ck_assert_int_eq(get(server.port, server.ca_path), CW_OK);
    ck_assert_uint_eq(ca_folders_read, 0);
    tls_server_stop(&server);
}
END_TEST

/* The system's bundle costs 20 ms to parse: a client does it once, not for every connection. */
START_TEST(ca_bundle_is_parsed_once)
{
    struct tls_server server;
    char lines[64], url[64];
    tls_server_start(&server, "IP:127.0.0.1", TLS1_3_VERSION, TLS_SERVER_OK);
    snprintf(lines, sizeof lines, "allow = 127.0.0.1:%u\n", server.port);
    snprintf(url, sizeof url, "https://127.0.0.1:%u/", server.port);
    struct cw_http *http = net_fixture_http(NULL, lines);
    struct cw_http_request request = { .url = url, .body_max = 100, .fresh_connection = true };
    ca_files_read = ca_folders_read = 0;
    for (int i = 0; i < 3; i++) {
        struct cw_http_response response;
        cw_http_response_init(&response);
        ck_assert_int_eq(cw_http_perform(http, &request, &response, NULL), CW_E_UNAVAILABLE); /* signed by nobody there */
        cw_http_response_release(&response);
    }
    ck_assert_uint_eq(ca_files_read, 1);
    ck_assert_uint_eq(ca_folders_read, 0);
    cw_http_free(http);
    tls_server_stop(&server);
}
END_TEST

START_TEST(environment_chooses_no_trust)
{
    struct tls_server server;
    tls_server_start(&server, "IP:127.0.0.1", TLS1_3_VERSION, TLS_SERVER_OK);
    ck_assert_int_eq(setenv("SSL_CERT_FILE", server.ca_path, 1), 0);
    ck_assert_int_eq(setenv("CURL_CA_BUNDLE", server.ca_path, 1), 0);
    ck_assert_int_eq(get(server.port, NULL), CW_E_UNAVAILABLE);
    ck_assert_int_eq(unsetenv("SSL_CERT_FILE"), 0);
    ck_assert_int_eq(unsetenv("CURL_CA_BUNDLE"), 0);
    tls_server_stop(&server);
}
END_TEST

/* libcurl writes every session's secrets to the file of SSLKEYLOGFILE: with them a recorded exchange can be read. main() has set
 * it before libcurl's start, and then done as every program does. */
START_TEST(session_keys_are_not_logged)
{
    struct tls_server server;
    struct stat file;
    tls_server_start(&server, "IP:127.0.0.1", TLS1_3_VERSION, TLS_SERVER_OK);
    ck_assert_int_eq(get(server.port, server.ca_path), CW_OK);
    ck_assert_int_eq(stat(test_net_keylog, &file), 0);
    ck_assert_int_eq(file.st_size, 0);
    tls_server_stop(&server);
}
END_TEST

Suite *tls_suite(void)
{
    Suite *suite = suite_create("tls");
    TCase *tcase = tcase_create("tls");
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, who_passes);
    tcase_add_test(tcase, ca_file_stands_alone);
    tcase_add_test(tcase, ca_bundle_is_parsed_once);
    tcase_add_test(tcase, environment_chooses_no_trust);
    tcase_add_test(tcase, session_keys_are_not_logged);
    suite_add_tcase(suite, tcase);
    return suite;
}
