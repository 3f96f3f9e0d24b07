/* SPDX-License-Identifier: Apache-2.0 */
/* A loopback TLS server of one thread with a certificate made at its start. It answers every request with the same text and closes. */
#ifndef CW_TESTS_TLS_SERVER_H
#define CW_TESTS_TLS_SERVER_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

#define TLS_SERVER_OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"

struct tls_server {
    int listener;
    unsigned port;
    const char *answer;
    char ca_path[32]; /* the certificate as PEM; it signs itself */
    SSL_CTX *ctx;
    pthread_t thread;
    atomic_uint requests;
};

/* `name` is the subject alternative name, such as "IP:127.0.0.1"; `newest` the highest protocol version. */
void tls_server_start(struct tls_server *server, const char *name, int newest, const char *answer);
/* Takes the PEM file away too. */
void tls_server_stop(struct tls_server *server);

#endif
