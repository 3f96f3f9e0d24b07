/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS for real: a server of one thread with certificates made here. Only a chain to the configured CA and the right name pass; nothing of
 * a request leaves before that; old protocol versions are refused.
 */
#include "config.h"

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/http.h"
#include "net_fixture.h"
#include "test_net.h"

struct tls_server {
    int listener;
    unsigned port;
    SSL_CTX *ctx;
    pthread_t thread;
    atomic_uint requests;
};

/* A self-signed certificate for a subject alternative name such as "IP:127.0.0.1". */
static X509 *make_certificate(EVP_PKEY *key, const char *name)
{
    X509 *cert = X509_new();
    ck_assert_ptr_nonnull(cert);
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME *subject = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(cert, subject);
    X509_EXTENSION *san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, name);
    X509_EXTENSION *ca = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
    X509_add_ext(cert, san, -1);
    X509_add_ext(cert, ca, -1);
    X509_EXTENSION_free(san);
    X509_EXTENSION_free(ca);
    ck_assert_int_gt(X509_sign(cert, key, EVP_sha256()), 0);
    return cert;
}

static void write_certificate(X509 *cert, char path[])
{
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    FILE *file = fdopen(fd, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(PEM_write_X509(file, cert), 1);
    ck_assert_int_eq(fclose(file), 0);
}

static void serve_one(struct tls_server *server, SSL *ssl)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    char request[4096];
    if (SSL_accept(ssl) == 1 && SSL_read(ssl, request, sizeof request) > 0) {
        atomic_fetch_add(&server->requests, 1);
        (void)SSL_write(ssl, answer, sizeof answer - 1);
        (void)SSL_shutdown(ssl);
    }
}

static void *serve(void *arg)
{
    struct tls_server *server = arg;
    int fd;
    while ((fd = accept(server->listener, NULL, NULL)) >= 0) {
        SSL *ssl = SSL_new(server->ctx);
        SSL_set_fd(ssl, fd);
        serve_one(server, ssl);
        SSL_free(ssl);
        (void)close(fd);
    }
    return NULL;
}

static void start(struct tls_server *server, EVP_PKEY *key, X509 *cert, int newest)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    server->ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_security_level(server->ctx, 0); /* the server would do old versions: it is the client that must not */
    ck_assert_int_eq(SSL_CTX_use_certificate(server->ctx, cert), 1);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey(server->ctx, key), 1);
    ck_assert_int_eq(SSL_CTX_set_min_proto_version(server->ctx, TLS1_VERSION), 1);
    ck_assert_int_eq(SSL_CTX_set_max_proto_version(server->ctx, newest), 1);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(server->listener, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(listen(server->listener, 8), 0);
    ck_assert_int_eq(getsockname(server->listener, (struct sockaddr *)&at, &len), 0);
    server->port = ntohs(at.sin_port);
    ck_assert_int_eq(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void stop(struct tls_server *server)
{
    ck_assert_int_eq(shutdown(server->listener, SHUT_RDWR), 0);
    ck_assert_int_eq(pthread_join(server->thread, NULL), 0);
    (void)close(server->listener);
    SSL_CTX_free(server->ctx);
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
    EVP_PKEY *key = EVP_EC_gen("P-256");
    ck_assert_ptr_nonnull(key);
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct tls_server server = { .requests = 0 };
        char path[] = "/tmp/cw-ca-XXXXXX";
        X509 *cert = make_certificate(key, rows[i].name);
        write_certificate(cert, path);
        start(&server, key, cert, rows[i].newest);
        enum cw_code rc = get(server.port, rows[i].trusted ? path : NULL);
        ck_assert_msg(rc == rows[i].code, "row %zu: %d", i, (int)rc);
        ck_assert_msg(atomic_load(&server.requests) == (rc == CW_OK ? 1u : 0u), "row %zu", i);
        stop(&server);
        X509_free(cert);
        ck_assert_int_eq(unlink(path), 0);
    }
    EVP_PKEY_free(key);
}
END_TEST

Suite *tls_suite(void)
{
    Suite *suite = suite_create("tls");
    TCase *tcase = tcase_create("tls");
    tcase_set_timeout(tcase, 30);
    tcase_add_test(tcase, who_passes);
    suite_add_tcase(suite, tcase);
    return suite;
}
