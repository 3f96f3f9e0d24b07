/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that lie. This program's own getaddrinfo, connect and getpeername stand before libc's, so that a name can lead anywhere, change
 * between two requests, answer late, or reach another peer than the one that was judged. Public addresses lead to the TLS
 * server of the test; nothing leaves the machine.
 */
#include "config.h"

#include "net/http.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <unistd.h>

#include "base/time.h"
#include "os/sys.h"
#include "net_fixture.h"
#include "test_net.h"
#include "tls_server.h"

#define PUBLIC "93.184.215.14"
#define PUBLIC_DEAD "93.184.215.15"

static struct {
    const char *addresses; /* what "hospital.test" leads to, separated by blanks; NULL: libc's own functions everywhere */
    unsigned slow_s;       /* how long "slow.test" takes */
    unsigned port;         /* of the TLS server that PUBLIC leads to */
    const char *peer;      /* what getpeername says of it instead of the truth */
    int fd;                /* the last socket that was connected to PUBLIC */
    char tried[512];       /* every address that a packet would have gone to */
} world;

static struct addrinfo *one_address(const char *text, unsigned port, int socktype)
{
    struct addrinfo *ai = calloc(1, sizeof *ai + sizeof(struct sockaddr_in6)); /* as libc does, for its freeaddrinfo */
    ck_assert_ptr_nonnull(ai);
    struct sockaddr_in *four = (struct sockaddr_in *)(void *)(ai + 1);
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)(void *)(ai + 1);
    bool is_four = inet_pton(AF_INET, text, &four->sin_addr) == 1;
    ck_assert(is_four || inet_pton(AF_INET6, text, &six->sin6_addr) == 1);
    ai->ai_family = is_four ? AF_INET : AF_INET6;
    ai->ai_socktype = socktype == 0 ? SOCK_STREAM : socktype;
    ai->ai_protocol = IPPROTO_TCP;
    ai->ai_addrlen = is_four ? sizeof *four : sizeof *six;
    ai->ai_addr = (struct sockaddr *)(void *)(ai + 1);
    ai->ai_addr->sa_family = (sa_family_t)ai->ai_family;
    if (is_four) {
        four->sin_port = htons((uint16_t)port);
    } else {
        six->sin6_port = htons((uint16_t)port);
    }
    return ai;
}

static int libc_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **res)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    return real(node, service, hints, res);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **res)
{
    if (node != NULL && strcmp(node, "slow.test") == 0) {
        (void)sleep(world.slow_s);
        return EAI_AGAIN;
    }
    if (world.addresses == NULL || node == NULL || (strcmp(node, "hospital.test") != 0 && strchr(node, '.') != strrchr(node, '\0') - 1)) {
        return libc_getaddrinfo(node, service, hints, res);
    }
    struct cw_span rest = cw_span_cstr(world.addresses);
    struct cw_span word;
    uint64_t port = 0;
    (void)!cw_span_u64(cw_span_cstr(service), 65535, &port);
    struct addrinfo **end = res;
    while (cw_span_word(&rest, &word)) {
        char *text = cw_span_dup(word);
        *end = one_address(text, (unsigned)port, hints == NULL ? 0 : hints->ai_socktype);
        end = &(*end)->ai_next;
        free(text);
    }
    return 0;
}

int connect(int fd, const struct sockaddr *to, socklen_t len)
{
    int (*real)(int, const struct sockaddr *, socklen_t) = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "connect");
    if (world.addresses == NULL || (to->sa_family != AF_INET && to->sa_family != AF_INET6)) {
        return real(fd, to, len);
    }
    char text[INET6_ADDRSTRLEN] = "";
    const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)to;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)to;
    (void)inet_ntop(to->sa_family, to->sa_family == AF_INET ? (const void *)&four->sin_addr : (const void *)&six->sin6_addr,
                    text, sizeof text);
    size_t used = strlen(world.tried);
    (void)snprintf(world.tried + used, sizeof world.tried - used, "%s ", text);
    if (strcmp(text, PUBLIC) != 0) {
        errno = ECONNREFUSED;
        return -1;
    }
    struct sockaddr_in local = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                 .sin_port = htons((uint16_t)world.port) };
    world.fd = fd;
    return real(fd, (struct sockaddr *)&local, sizeof local);
}

int getpeername(int fd, struct sockaddr *restrict to, socklen_t *restrict len)
{
    int (*real)(int, struct sockaddr *, socklen_t *) = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "getpeername");
    int rc = real(fd, to, len);
    if (world.addresses != NULL && fd == world.fd && rc == 0 && to->sa_family == AF_INET) {
        (void)inet_pton(AF_INET, world.peer == NULL ? PUBLIC : world.peer, &((struct sockaddr_in *)(void *)to)->sin_addr);
    }
    return rc;
}

static struct cw_http *http_for(const struct tls_server *server)
{
    char lines[128];
    snprintf(lines, sizeof lines, "ca_file = %s\n", server->ca_path);
    return net_fixture_http(NULL, lines);
}

static enum cw_code get(struct cw_http *http, const char *url, unsigned redirects)
{
    struct cw_http_response response;
    struct cw_err err = { 0 };
    cw_http_response_init(&response);
    struct cw_http_request request = { .url = url, .body_max = 100, .bearer = CW_SPAN("token"), .redirects = redirects,
                                       .total_ms = 5000 };
    enum cw_code rc = cw_http_perform(http, &request, &response, &err);
    cw_http_response_release(&response);
    return rc;
}

START_TEST(where_names_lead)
{
    static const struct {
        const char *addresses, *peer;
        enum cw_code code;
        const char *tried; /* all that a packet went to */
        unsigned requests;
    } rows[] = {
        { PUBLIC, NULL, CW_OK, PUBLIC " ", 1 },
        { "127.0.0.1", NULL, CW_E_BLOCKED, "", 0 },
        { "10.1.2.3 172.16.9.9 192.168.0.1", NULL, CW_E_BLOCKED, "", 0 },
        { "169.254.169.254", NULL, CW_E_BLOCKED, "", 0 },
        { "0.0.0.0", NULL, CW_E_BLOCKED, "", 0 },
        { "255.255.255.255", NULL, CW_E_BLOCKED, "", 0 },
        { "::1", NULL, CW_E_BLOCKED, "", 0 },
        { "::", NULL, CW_E_BLOCKED, "", 0 },
        { "::ffff:127.0.0.1", NULL, CW_E_BLOCKED, "", 0 },
        { "fe80::1", NULL, CW_E_BLOCKED, "", 0 },
        { "fd00:ec2::254", NULL, CW_E_BLOCKED, "", 0 },
        { "64:ff9b::a00:1", NULL, CW_E_BLOCKED, "", 0 },
        { "2002:a00:1::1", NULL, CW_E_BLOCKED, "", 0 },
        { "2001:0:4136:e378:8000:63bf:3fff:fdd2", NULL, CW_E_BLOCKED, "", 0 },
        /* Several, one of them private: it is never tried, neither before nor after a public one that is dead. */
        { "10.1.2.3 " PUBLIC, NULL, CW_OK, PUBLIC " ", 1 },
        { PUBLIC " 10.1.2.3", NULL, CW_OK, PUBLIC " ", 1 },
        { PUBLIC_DEAD " 127.0.0.1 ::1", NULL, CW_E_BLOCKED, PUBLIC_DEAD " ", 0 },
        { "::1 " PUBLIC, NULL, CW_OK, PUBLIC " ", 1 },
        /* Judged public, but the peer at the other end is not: the second look, after TLS, stops the request. */
        { PUBLIC, "10.1.2.3", CW_E_BLOCKED, PUBLIC " ", 0 },
        { PUBLIC, "127.0.0.1", CW_E_BLOCKED, PUBLIC " ", 0 },
    };
    for (size_t i = 0; i < CW_ARRAY_LEN(rows); i++) {
        struct tls_server server;
        tls_server_start(&server, "DNS:hospital.test", TLS1_3_VERSION, TLS_SERVER_OK);
        memset(&world, 0, sizeof world);
        world.port = server.port;
        world.peer = rows[i].peer;
        world.addresses = rows[i].addresses;
        struct cw_http *http = http_for(&server);
        enum cw_code rc = get(http, "https://hospital.test/", 0);
        ck_assert_msg(rc == rows[i].code, "row %zu: %d", i, (int)rc);
        ck_assert_msg(strcmp(world.tried, rows[i].tried) == 0, "row %zu: %s", i, world.tried);
        cw_http_free(http);
        world.addresses = NULL;
        tls_server_stop(&server);
        ck_assert_msg(atomic_load(&server.requests) == rows[i].requests, "row %zu", i);
    }
}
END_TEST

/* The name is public when it is checked and private when it is used again: with the same client, and with one that asks anew. */
START_TEST(rebinding)
{
    struct tls_server server;
    tls_server_start(&server, "DNS:hospital.test", TLS1_3_VERSION, TLS_SERVER_OK);
    memset(&world, 0, sizeof world);
    world.port = server.port;
    world.addresses = PUBLIC;
    struct cw_http *http = http_for(&server);
    ck_assert_int_eq(get(http, "https://hospital.test/", 0), CW_OK);
    world.addresses = "127.0.0.1 10.0.0.1";
    (void)get(http, "https://hospital.test/", 0); /* an address looked up before may still be used; it was judged then */
    cw_http_free(http);
    http = http_for(&server);
    ck_assert_int_eq(get(http, "https://hospital.test/", 0), CW_E_BLOCKED);
    ck_assert_ptr_null(strstr(world.tried, "127.0.0.1"));
    ck_assert_ptr_null(strstr(world.tried, "10.0.0.1"));
    cw_http_free(http);
    world.addresses = NULL;
    tls_server_stop(&server);
}
END_TEST

/* A dot at the end is another text of the same name. */
START_TEST(names_with_a_dot_at_the_end)
{
    struct cw_http *http = net_fixture_http(NULL, "allow = localhost:443 metadata:443\n");
    memset(&world, 0, sizeof world);
    world.addresses = "127.0.0.1 169.254.169.254 ::1";
    ck_assert_int_eq(get(http, "https://localhost./", 0), CW_E_BLOCKED);
    ck_assert_int_eq(get(http, "https://METADATA./computeMetadata/v1/", 0), CW_E_BLOCKED);
    ck_assert_str_eq(world.tried, "");
    world.addresses = NULL;
    cw_http_free(http);
}
END_TEST

START_TEST(redirect_to_a_private_name)
{
    struct tls_server server;
    tls_server_start(&server, "DNS:hospital.test", TLS1_3_VERSION,
                     "HTTP/1.1 302 Found\r\nLocation: https://localhost/latest/meta-data\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    memset(&world, 0, sizeof world);
    world.port = server.port;
    world.addresses = PUBLIC;
    struct cw_http *http = http_for(&server);
    ck_assert_int_eq(get(http, "https://hospital.test/", 3), CW_E_BLOCKED);
    ck_assert_str_eq(world.tried, PUBLIC " ");
    cw_http_free(http);
    world.addresses = NULL;
    tls_server_stop(&server);
}
END_TEST

static void on_done(void *arg, enum cw_code code, struct cw_http_response *response, const struct cw_err *err)
{
    (void)response;
    (void)err;
    *(enum cw_code *)arg = code;
}

/* A name server that does not answer costs its own request the time that it has, and nobody else's a moment. */
START_TEST(slow_name_server)
{
    memset(&world, 0, sizeof world);
    world.slow_s = 6;
    struct cw_http *http = net_fixture_http(NULL, "");
    struct cw_http_response response;
    cw_http_response_init(&response);
    struct cw_http_request request = { .url = "https://slow.test/", .body_max = 100, .total_ms = 300 };
    int64_t before = cw_monotonic_us();
    ck_assert_int_eq(cw_http_perform(http, &request, &response, NULL), CW_E_TIMEOUT);
    ck_assert_int_lt(cw_monotonic_us() - before, 2 * CW_SECOND_US);
    cw_http_response_release(&response);
    cw_http_free(http);

    struct cw_config *config = net_fixture_config(NULL, "");
    struct cw_http_multi *multi = NULL;
    enum cw_code code = CW_OK;
    ck_assert_int_eq(cw_http_multi_new(config, &multi, NULL), CW_OK);
    before = cw_monotonic_us();
    ck_assert_int_eq(cw_http_multi_add(multi, &request, NULL, on_done, &code, NULL), CW_OK);
    while (cw_http_multi_run(multi, 100) > 0) {
    }
    ck_assert_int_eq(code, CW_E_TIMEOUT);
    ck_assert_int_lt(cw_monotonic_us() - before, 2 * CW_SECOND_US);
    cw_http_multi_free(multi);
    cw_config_free(config);
    ck_assert_int_lt(cw_monotonic_us() - before, 2 * CW_SECOND_US);
}
END_TEST

Suite *resolver_suite(void)
{
    Suite *suite = suite_create("resolver");
    TCase *tcase = tcase_create("resolver");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, where_names_lead);
    tcase_add_test(tcase, rebinding);
    tcase_add_test(tcase, names_with_a_dot_at_the_end);
    tcase_add_test(tcase, redirect_to_a_private_name);
    tcase_add_test(tcase, slow_name_server);
    suite_add_tcase(suite, tcase);
    return suite;
}
