/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bench of the callback: a portal that answers at once, and the browsers that come back from it, in one program, so that what the portal
 * took of a request can be taken off its time to the microsecond. Codes that start with "hang" are held for 30 seconds.
 *
 *   callback_bench PORTAL-PORT CHARTWAY-PORT     commands on standard input, a line each:
 *     R PATH COOKIE   one more request
 *     G THREADS       send all, THREADS at a time: "p50 p99 max" of total minus portal in microseconds, then how many did not answer 303
 *     H               send all at once, wait until the portal holds them: how many it holds
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { REQUESTS_MAX = 8192, BYTES = 16384, STACK = 65536, HANG_S = 30 };

static struct request {
    char *path;
    char *cookie;
    int64_t took_us;
    bool redirected;
} requests[REQUESTS_MAX];
static unsigned request_count;
static atomic_uint next_request;
static unsigned portal_port, chartway_port;
static atomic_uint held;
static atomic_llong portal_us[REQUESTS_MAX]; /* by the number in the code */

static void must(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void start_thread(void *(*run)(void *), void *arg, pthread_t *thread)
{
    pthread_attr_t attributes;
    pthread_t own;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_attr_setdetachstate(&attributes, thread == NULL ? PTHREAD_CREATE_DETACHED : PTHREAD_CREATE_JOINABLE);
    must(pthread_create(thread == NULL ? &own : thread, &attributes, run, arg) == 0, "thread");
    pthread_attr_destroy(&attributes);
}

static void send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n <= 0) {
            return;
        }
        bytes += n;
        len -= (size_t)n;
    }
}

/* --- the portal --- */

/* Reads head and body; false when the peer goes first. */
static bool read_request(int fd, char *room, size_t size)
{
    size_t len = 0;
    while (len + 1 < size) {
        ssize_t n = recv(fd, room + len, size - 1 - len, 0);
        if (n <= 0) {
            return false;
        }
        len += (size_t)n;
        room[len] = '\0';
        const char *end = strstr(room, "\r\n\r\n");
        const char *length = strstr(room, "Content-Length: ");
        size_t body = length == NULL ? 0 : strtoull(length + 16, NULL, 10);
        if (end != NULL && len >= (size_t)(end + 4 - room) + body) {
            return true;
        }
    }
    return false;
}

static void answer(int fd, const char *status, const char *body)
{
    char head[256];
    int len = snprintf(head, sizeof head,
                       "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", status,
                       strlen(body));
    send_all(fd, head, (size_t)len);
    send_all(fd, body, strlen(body));
}

static void answer_discovery(int fd)
{
    char body[1024];
    snprintf(body, sizeof body,
             "{\"authorization_endpoint\":\"http://127.0.0.1:%u/authorize\",\"token_endpoint\":\"http://127.0.0.1:%u/token\","
             "\"grant_types_supported\":[\"authorization_code\"],\"code_challenge_methods_supported\":[\"S256\"],"
             "\"scopes_supported\":[\"launch/patient\",\"offline_access\",\"patient/*.rs\"],\"capabilities\":[\"launch-standalone\","
             "\"client-public\",\"context-standalone-patient\",\"permission-patient\",\"permission-v2\",\"permission-offline\"]}",
             portal_port, portal_port);
    answer(fd, "200 OK", body);
}

/* code=hang… or code=NUMBER. */
static void answer_token(int fd, const char *request, int64_t since_us)
{
    const char *code = strstr(request, "code=");
    must(code != NULL, "a token request without code");
    if (strncmp(code + 5, "hang", 4) == 0) {
        atomic_fetch_add(&held, 1);
        sleep(HANG_S);
        return;
    }
    unsigned long number = strtoul(code + 5, NULL, 10);
    char body[512];
    snprintf(body, sizeof body,
             "{\"access_token\":\"access-%lu-0123456789abcdef0123456789abcdef\",\"refresh_token\":\"refresh-%lu-0123456789abcdef\","
             "\"token_type\":\"Bearer\",\"expires_in\":3600,\"scope\":\"launch/patient offline_access patient/*.rs\",\"patient\":\"p%lu\"}",
             number, number, number);
    answer(fd, "200 OK", body);
    atomic_store(&portal_us[number % REQUESTS_MAX], now_us() - since_us);
}

struct arrival {
    int fd;
    int64_t at_us; /* the portal's time begins when it has the connection, not when a thread of it runs */
};

static void *serve(void *arg)
{
    struct arrival arrival = *(struct arrival *)arg;
    int fd = arrival.fd;
    char request[BYTES];
    free(arg);
    if (read_request(fd, request, sizeof request)) {
        if (strncmp(request, "POST /token ", 12) == 0) {
            answer_token(fd, strstr(request, "\r\n\r\n"), arrival.at_us);
        } else if (strstr(request, "/.well-known/smart-configuration ") != NULL) {
            answer_discovery(fd);
        } else {
            answer(fd, "404 Not Found", "{}");
        }
    }
    close(fd);
    return NULL;
}

static void *accept_all(void *arg)
{
    int listener = (int)(intptr_t)arg;
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct arrival *arrival = malloc(sizeof *arrival);
        must(arrival != NULL, "malloc");
        *arrival = (struct arrival){ fd, now_us() };
        start_thread(serve, arrival, NULL);
    }
    return NULL;
}

static void start_portal(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)portal_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    must(bind(listener, (struct sockaddr *)&at, sizeof at) == 0 && listen(listener, 1024) == 0, "portal");
    start_thread(accept_all, (void *)(intptr_t)listener, NULL);
}

/* --- the browsers --- */

static void one_request(struct request *request)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)chartway_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    char text[BYTES];
    int len = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nCookie: %s\r\nAccept: text/html\r\nConnection: close\r\n\r\n",
                       request->path, chartway_port, request->cookie);
    int64_t since_us = now_us();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(connect(fd, (struct sockaddr *)&at, sizeof at) == 0, "connect");
    send_all(fd, text, (size_t)len);
    size_t got = 0;
    ssize_t n;
    while (got + 1 < sizeof text && (n = recv(fd, text + got, sizeof text - 1 - got, 0)) > 0) {
        got += (size_t)n;
    }
    text[got] = '\0';
    request->took_us = now_us() - since_us;
    request->redirected = strncmp(text, "HTTP/1.1 303", 12) == 0 && strstr(text, "success=true") != NULL;
    close(fd);
}

static void *drive(void *arg)
{
    unsigned at;
    while ((at = atomic_fetch_add(&next_request, 1)) < request_count) {
        one_request(&requests[at]);
    }
    return arg;
}

static void *drive_one(void *arg)
{
    one_request(arg);
    return NULL;
}

static int by_time(const void *a, const void *b)
{
    const struct request *x = a;
    const struct request *y = b;
    return (x->took_us > y->took_us) - (x->took_us < y->took_us);
}

static void take_portal_off(struct request *request)
{
    const char *code = strstr(request->path, "code=");
    if (code != NULL) {
        request->took_us -= atomic_exchange(&portal_us[strtoul(code + 5, NULL, 10) % REQUESTS_MAX], 0);
    }
}

static void go(unsigned threads)
{
    pthread_t running[256];
    must(threads > 0 && threads <= 256 && request_count > 0, "G");
    atomic_store(&next_request, 0);
    for (unsigned i = 0; i < threads; i++) {
        start_thread(drive, NULL, &running[i]);
    }
    unsigned missed = 0;
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(running[i], NULL);
    }
    for (unsigned i = 0; i < request_count; i++) {
        take_portal_off(&requests[i]);
        missed += requests[i].redirected ? 0 : 1;
    }
    qsort(requests, request_count, sizeof *requests, by_time);
    printf("%lld %lld %lld %u\n", (long long)requests[request_count / 2].took_us,
           (long long)requests[(size_t)request_count * 99 / 100].took_us, (long long)requests[request_count - 1].took_us, missed);
    request_count = 0;
}

static void hang(void)
{
    unsigned wanted = request_count;
    for (unsigned i = 0; i < wanted; i++) {
        struct request *own = malloc(sizeof *own);
        must(own != NULL, "malloc");
        *own = requests[i];
        start_thread(drive_one, own, NULL);
    }
    for (unsigned waits = 0; atomic_load(&held) < wanted && waits < 1000; waits++) {
        usleep(10000);
    }
    printf("%u\n", atomic_load(&held));
    request_count = 0;
}

int main(int argc, char **argv)
{
    must(argc == 3, "usage: callback_bench PORTAL-PORT CHARTWAY-PORT");
    portal_port = (unsigned)strtoul(argv[1], NULL, 10);
    chartway_port = (unsigned)strtoul(argv[2], NULL, 10);
    start_portal();
    char line[BYTES];
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("ready\n");
    while (fgets(line, sizeof line, stdin) != NULL) {
        char path[BYTES / 2];
        char cookie[BYTES / 4];
        line[strcspn(line, "\n")] = '\0';
        char *blank = line[0] == 'R' ? strchr(line + 2, ' ') : NULL;
        if (blank != NULL && request_count < REQUESTS_MAX) {
            snprintf(path, sizeof path, "%.*s", (int)(blank - line - 2), line + 2);
            snprintf(cookie, sizeof cookie, "%s", blank + 1);
            requests[request_count] = (struct request){ .path = strdup(path), .cookie = strdup(cookie) };
            request_count++;
        } else if (line[0] == 'G') {
            go((unsigned)strtoul(line + 1, NULL, 10));
        } else if (line[0] == 'H') {
            hang();
        }
    }
    return 0;
}
