/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hospital that costs nothing: its portal lets everybody in at once, and its pages lie in memory. What a pull from it takes is Chartway's own.
 * One process is as many hosts as a bench wants, each with an address of its own on the loopback network.
 *
 *   fast_host PORT HOSTS PATIENTS PAGES ENTRIES DELAY_MS     "ready" when it listens; DELAY_MS before each page of Observations
 */
#include "config.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST_MAX = 16384, HEAD_MAX = 2048, ENTRY_MAX = 2048, STACK = 128 * 1024, PATIENTS_MAX = 1024, PAGES_MAX = 256, HOSTS_MAX = 1000 };

struct text {
    char *bytes;
    size_t len;
};

static struct text *pages; /* the entries of each patient's pages: all but the head of the Bundle */
static unsigned port, hosts, patients, page_count, entries, delay_ms;
static atomic_uint arrivals;

static void must(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

/* ---- the charts */

/* An Observation of about 1.3 KB with numbers of its own, as laboratories send them. */
static int entry(char *out, unsigned patient, unsigned page, unsigned at)
{
    unsigned number = (patient * page_count + page) * entries + at;
    return snprintf(
        out, ENTRY_MAX,
        "%s{\"fullUrl\":\"urn:x:%u\",\"resource\":{\"resourceType\":\"Observation\",\"id\":\"o-%u\",\"meta\":{\"versionId\":\"1\",\"lastUpdated\":\"20%02u-%02u-%02uT%02u:%02u:00.000Z\","
        "\"profile\":[\"http://hl7.org/fhir/us/core/StructureDefinition/us-core-observation-lab\"]},\"identifier\":[{\"use\":\"usual\",\"system\":\"urn:oid:1.2.840.114350.1.13.0.1.7.6.798268\",\"value\":\"%u-%u\"}],"
        "\"status\":\"final\",\"category\":[{\"coding\":[{\"system\":\"http://terminology.hl7.org/CodeSystem/observation-category\",\"code\":\"laboratory\",\"display\":\"Laboratory\"}],\"text\":\"Laboratory\"}],"
        "\"code\":{\"coding\":[{\"system\":\"http://loinc.org\",\"code\":\"%u-%u\",\"display\":\"Analyte %u [Mass/volume] in Serum or Plasma\"}],\"text\":\"Analyte %u\"},\"subject\":{\"reference\":\"Patient/p%u\",\"display\":\"Patient %u\"},"
        "\"effectiveDateTime\":\"20%02u-%02u-%02uT%02u:15:00Z\",\"issued\":\"20%02u-%02u-%02uT%02u:45:30.%03uZ\",\"valueQuantity\":{\"value\":%u.%02u,\"unit\":\"mg/dL\",\"system\":\"http://unitsofmeasure.org\",\"code\":\"mg/dL\"},"
        "\"referenceRange\":[{\"low\":{\"value\":%u,\"unit\":\"mg/dL\"},\"high\":{\"value\":%u,\"unit\":\"mg/dL\"},\"text\":\"%u - %u mg/dL\"}]}}",
        at == 0 ? "" : ",", number, number, 10 + number % 15, 1 + number % 12, 1 + number % 28, number % 24, number % 60, number, number * 7919u % 100000u,
        1000 + number * 31 % 9000, number % 10, number % 211, number % 211, patient, patient, 10 + number % 15, 1 + number % 12, 1 + number % 28, number % 24,
        10 + number % 15, 1 + number % 12, 1 + number % 28, number % 24, number % 1000, 20 + number * 17 % 300, number % 100, 10 + number % 50, 200 + number % 90,
        10 + number % 50, 200 + number % 90);
}

static void make_pages(void)
{
    pages = calloc((size_t)patients * page_count, sizeof *pages);
    must(pages != NULL, "memory");
    for (unsigned patient = 0; patient < patients; patient++) {
        for (unsigned page = 0; page < page_count; page++) {
            struct text *text = &pages[patient * page_count + page];
            text->bytes = malloc((size_t)entries * ENTRY_MAX + 16);
            must(text->bytes != NULL, "memory");
            for (unsigned i = 0; i < entries; i++) {
                text->len += (size_t)entry(text->bytes + text->len, patient, page, i);
            }
            text->bytes = realloc(text->bytes, text->len + 1);
        }
    }
}

/* ---- answers */

static void send_parts(int fd, const char *head, const char *first, struct text rest, const char *last)
{
    struct iovec parts[] = { { (void *)(uintptr_t)head, strlen(head) }, { (void *)(uintptr_t)first, strlen(first) },
                             { rest.bytes, rest.len }, { (void *)(uintptr_t)last, strlen(last) } };
    unsigned at = 0;
    while (at < 4) {
        ssize_t n = writev(fd, parts + at, (int)(4 - at));
        if (n <= 0) {
            return;
        }
        while (at < 4 && (size_t)n >= parts[at].iov_len) {
            n -= (ssize_t)parts[at++].iov_len;
        }
        if (at < 4) {
            parts[at].iov_base = (char *)parts[at].iov_base + n;
            parts[at].iov_len -= (size_t)n;
        }
    }
}

static void answer(int fd, const char *status, const char *more, const char *first, struct text rest, const char *last)
{
    char head[HEAD_MAX];
    snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Type: application/fhir+json\r\nContent-Length: %zu\r\n%s\r\n", status,
             strlen(first) + rest.len + strlen(last), more);
    send_parts(fd, head, first, rest, last);
}

static void answer_text(int fd, const char *text)
{
    answer(fd, "200 OK", "", text, (struct text){ NULL, 0 }, "");
}

static void answer_discovery(int fd, const char *host)
{
    char body[HEAD_MAX];
    snprintf(body, sizeof body,
             "{\"authorization_endpoint\":\"http://%s/authorize\",\"token_endpoint\":\"http://%s/token\",\"grant_types_supported\":[\"authorization_code\"],"
             "\"code_challenge_methods_supported\":[\"S256\"],\"scopes_supported\":[\"launch/patient\",\"offline_access\",\"patient/*.rs\"],"
             "\"capabilities\":[\"launch-standalone\",\"client-public\",\"context-standalone-patient\",\"permission-patient\",\"permission-v2\",\"permission-offline\"]}",
             host, host);
    answer_text(fd, body);
}

static void answer_metadata(int fd)
{
    answer_text(fd, "{\"resourceType\":\"CapabilityStatement\",\"status\":\"active\",\"kind\":\"instance\",\"fhirVersion\":\"4.0.1\",\"format\":[\"json\"],\"date\":\"2026-01-01\","
                    "\"rest\":[{\"mode\":\"server\",\"resource\":[{\"type\":\"Patient\",\"interaction\":[{\"code\":\"read\"}]},{\"type\":\"Observation\",\"interaction\":[{\"code\":\"search-type\"}],"
                    "\"searchParam\":[{\"name\":\"patient\",\"type\":\"reference\"}]}]}]}");
}

/* Copies what stands between a name and one of `ends`; "" when it is not there. */
static void value_of(const char *in, const char *name, const char *ends, char *out, size_t size)
{
    const char *at = strstr(in, name);
    size_t len = at == NULL ? 0 : strcspn(at + strlen(name), ends);
    snprintf(out, size, "%.*s", (int)(len < size ? len : 0), at == NULL ? "" : at + strlen(name));
}

static void answer_authorize(int fd, const char *request)
{
    char redirect[1024], state[1024], more[HEAD_MAX];
    value_of(request, "redirect_uri=", "& ", redirect, sizeof redirect);
    value_of(request, "state=", "& ", state, sizeof state);
    for (char *from = redirect, *to = redirect;; from++, to++) { /* %3A and %2F are all that our redirect URIs hold */
        unsigned code;
        char digits[3] = { from[0] == '%' ? from[1] : '\0', from[0] == '%' ? from[2] : '\0', '\0' };
        code = (unsigned)strtoul(digits, NULL, 16);
        *to = digits[0] != '\0' ? (char)code : *from;
        from += digits[0] != '\0' ? 2 : 0;
        if (*to == '\0') {
            break;
        }
    }
    snprintf(more, sizeof more, "Location: %s?code=%u&state=%s\r\n", redirect, atomic_fetch_add(&arrivals, 1), state);
    answer(fd, "302 Found", more, "", (struct text){ NULL, 0 }, "");
}

static void answer_token(int fd, const char *request)
{
    char code[32], body[512];
    value_of(request, "code=", "& ", code, sizeof code);
    unsigned long number = strtoul(code, NULL, 10);
    snprintf(body, sizeof body,
             "{\"access_token\":\"access-%lu-0123456789abcdef\",\"refresh_token\":\"refresh-%lu-0123456789abcdef\",\"token_type\":\"Bearer\",\"expires_in\":3600,"
             "\"scope\":\"launch/patient offline_access patient/*.rs\",\"patient\":\"p%lu\"}",
             number, number, number % patients);
    answer_text(fd, body);
}

/* Observation?patient=pN[&page=K]; another search than the plain one finds nothing more. */
static void answer_search(int fd, const char *request, const char *host)
{
    char patient[16], page[16], first[512];
    value_of(request, "patient=p", "& ", patient, sizeof patient);
    value_of(request, "page=", "& ", page, sizeof page);
    unsigned at = (unsigned)strtoul(patient, NULL, 10), on = (unsigned)strtoul(page, NULL, 10);
    bool plain = strstr(request, "category=") == NULL;
    if (!plain || at >= patients || on >= page_count) {
        answer_text(fd, "{\"resourceType\":\"Bundle\",\"type\":\"searchset\",\"total\":0}");
        return;
    }
    struct timespec pause = { delay_ms / 1000, (long)(delay_ms % 1000) * 1000000 };
    (void)nanosleep(&pause, NULL);
    char link[256] = "";
    if (on + 1 < page_count) {
        snprintf(link, sizeof link, "\"link\":[{\"relation\":\"next\",\"url\":\"http://%s/fhir/Observation?patient=p%u&page=%u\"}],", host, at, on + 1);
    }
    snprintf(first, sizeof first, "{\"resourceType\":\"Bundle\",\"type\":\"searchset\",\"total\":%u,%s\"entry\":[", page_count * entries, link);
    answer(fd, "200 OK", "", first, pages[at * page_count + on], "]}");
}

static void respond(int fd, const char *request)
{
    char host[128], body[256];
    value_of(request, "\r\nHost: ", "\r", host, sizeof host);
    if (strncmp(request, "POST /token ", 12) == 0) {
        answer_token(fd, strstr(request, "\r\n\r\n"));
    } else if (strncmp(request, "GET /authorize?", 15) == 0) {
        answer_authorize(fd, request);
    } else if (strncmp(request, "GET /fhir/.well-known/", 22) == 0) {
        answer_discovery(fd, host);
    } else if (strncmp(request, "GET /fhir/metadata", 18) == 0) {
        answer_metadata(fd);
    } else if (strncmp(request, "GET /fhir/Observation?", 22) == 0) {
        answer_search(fd, request, host);
    } else if (strncmp(request, "GET /fhir/Patient/p", 19) == 0) {
        snprintf(body, sizeof body, "{\"resourceType\":\"Patient\",\"id\":\"p%lu\"}", strtoul(request + 19, NULL, 10));
        answer_text(fd, body);
    } else {
        answer(fd, "404 Not Found", "", "{\"resourceType\":\"OperationOutcome\"}", (struct text){ NULL, 0 }, "");
    }
}

/* ---- connections, one thread each, kept */

static size_t request_length(const char *room)
{
    const char *end = strstr(room, "\r\n\r\n");
    const char *length = strstr(room, "Content-Length: ");
    size_t body = length == NULL || (end != NULL && length > end) ? 0 : strtoull(length + 16, NULL, 10);
    return end == NULL ? SIZE_MAX : (size_t)(end + 4 - room) + body;
}

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char room[REQUEST_MAX];
    size_t len = 0;
    ssize_t n;
    room[0] = '\0';
    while (len + 1 < sizeof room && (n = recv(fd, room + len, sizeof room - 1 - len, 0)) > 0) {
        len += (size_t)n;
        room[len] = '\0';
        size_t whole;
        while ((whole = request_length(room)) <= len) {
            char after = room[whole];
            room[whole] = '\0';
            respond(fd, room);
            room[whole] = after;
            memmove(room, room + whole, len - whole + 1);
            len -= whole;
        }
    }
    close(fd);
    return NULL;
}

/* 127.0.0.1 for one host, 127.0.1.1 and on for more: 250 to a network. */
static int listen_as(unsigned host)
{
    uint32_t address = hosts == 1 ? INADDR_LOOPBACK : 0x7f000101u + (host / 250u << 8) + host % 250u;
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(address) };
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    must(bind(listener, (struct sockaddr *)&at, sizeof at) == 0 && listen(listener, 1024) == 0, "listen");
    return listener;
}

static void take(int listener, const pthread_attr_t *attributes)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    pthread_t thread;
    int on = 1;
    must(fd >= 0, "accept");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    must(pthread_create(&thread, attributes, serve, (void *)(intptr_t)fd) == 0, "thread");
}

int main(int argc, char **argv)
{
    static struct pollfd listeners[HOSTS_MAX];
    must(argc == 7, "usage: fast_host PORT HOSTS PATIENTS PAGES ENTRIES DELAY_MS");
    port = (unsigned)strtoul(argv[1], NULL, 10);
    hosts = (unsigned)strtoul(argv[2], NULL, 10);
    patients = (unsigned)strtoul(argv[3], NULL, 10);
    page_count = (unsigned)strtoul(argv[4], NULL, 10);
    entries = (unsigned)strtoul(argv[5], NULL, 10);
    delay_ms = (unsigned)strtoul(argv[6], NULL, 10);
    must(hosts >= 1 && hosts <= HOSTS_MAX && patients >= 1 && patients <= PATIENTS_MAX && page_count >= 1 && page_count <= PAGES_MAX && entries >= 1, "counts");
    (void)signal(SIGPIPE, SIG_IGN);
    make_pages();
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    for (unsigned i = 0; i < hosts; i++) {
        listeners[i] = (struct pollfd){ .fd = listen_as(i), .events = POLLIN };
    }
    printf("ready\n");
    fflush(stdout);
    while (poll(listeners, hosts, -1) > 0) {
        for (unsigned i = 0; i < hosts; i++) {
            if (listeners[i].revents != 0) {
                take(listeners[i].fd, &attributes);
            }
        }
    }
    return 0;
}
