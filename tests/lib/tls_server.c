/* SPDX-License-Identifier: Apache-2.0 */
/* See tls_server.h. Everything that can fail here is a broken test machine, so it aborts. */
#include "config.h"

#include "tls_server.h"

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

static void must(bool ok)
{
    if (!ok) {
        perror("tls_server");
        abort();
    }
}

static X509 *make_certificate(EVP_PKEY *key, const char *name)
{
    X509 *cert = X509_new();
    must(cert != NULL);
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
    must(X509_sign(cert, key, EVP_sha256()) > 0);
    return cert;
}

static void write_certificate(X509 *cert, char path[])
{
    int fd = mkstemp(path);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    must(file != NULL && PEM_write_X509(file, cert) == 1 && fclose(file) == 0);
}

static void serve_one(struct tls_server *server, SSL *ssl)
{
    char request[4096];
    if (SSL_accept(ssl) == 1 && SSL_read(ssl, request, sizeof request) > 0) {
        atomic_fetch_add(&server->requests, 1);
        (void)SSL_write(ssl, server->answer, (int)strlen(server->answer));
        (void)SSL_shutdown(ssl);
    }
}

static void *serve(void *arg)
{
    struct tls_server *server = arg;
    int fd;
    while ((fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        SSL *ssl = SSL_new(server->ctx);
        SSL_set_fd(ssl, fd);
        serve_one(server, ssl);
        SSL_free(ssl);
        (void)close(fd);
    }
    return NULL;
}

void tls_server_start(struct tls_server *server, const char *name, int newest, const char *answer)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    must(key != NULL);
    X509 *cert = make_certificate(key, name);
    *server = (struct tls_server){ .answer = answer, .ca_path = "/tmp/cw-ca-XXXXXX" };
    write_certificate(cert, server->ca_path);
    server->ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_security_level(server->ctx, 0); /* the server would do old versions: it is the client that must not */
    must(SSL_CTX_use_certificate(server->ctx, cert) == 1 && SSL_CTX_use_PrivateKey(server->ctx, key) == 1);
    must(SSL_CTX_set_min_proto_version(server->ctx, TLS1_VERSION) == 1);
    must(SSL_CTX_set_max_proto_version(server->ctx, newest) == 1);
    X509_free(cert);
    EVP_PKEY_free(key);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(bind(server->listener, (struct sockaddr *)&at, sizeof at) == 0 && listen(server->listener, 8) == 0);
    must(getsockname(server->listener, (struct sockaddr *)&at, &len) == 0);
    server->port = ntohs(at.sin_port);
    must(pthread_create(&server->thread, NULL, serve, server) == 0);
}

void tls_server_stop(struct tls_server *server)
{
    must(shutdown(server->listener, SHUT_RDWR) == 0);
    must(pthread_join(server->thread, NULL) == 0);
    (void)close(server->listener);
    SSL_CTX_free(server->ctx);
    must(unlink(server->ca_path) == 0);
}
