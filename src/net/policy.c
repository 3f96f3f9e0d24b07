/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outgoing policy: two tables of address blocks that are never a hospital (RFC 6890 and the transition mechanisms that can
 * carry a private IPv4 address inside an IPv6 one), and the operator's list of exceptions. A name says nothing about where
 * it leads, so the addresses are judged at connect, after resolution; the list is judged on the URL.
 */
#include "config.h"

#include "net/policy.h"

#include <arpa/inet.h>
#include <netinet/in.h>

struct exception {
    char *host;
    unsigned port;
};

struct cw_net_policy {
    struct exception *exceptions;
    size_t count;
    char *only; /* words; empty: no such list */
    char *ca_file;
    unsigned connect_ms;
    unsigned total_ms;
};

void cw_net_policy_free(struct cw_net_policy *policy)
{
    if (policy == NULL) {
        return;
    }
    for (size_t i = 0; i < policy->count; i++) {
        free(policy->exceptions[i].host);
    }
    free(policy->exceptions);
    free(policy->only);
    free(policy->ca_file);
    free(policy);
}

/* "host:port" by the URL parser, so that the list and the requests are written the same way afterwards. */
static enum cw_code add_exception(struct cw_net_policy *policy, struct cw_span word, struct cw_err *err)
{
    CW_AUTO_STR text;
    cw_str_init(&text, 512);
    (void)cw_str_add_cstr(&text, "http://");
    (void)cw_str_add_span(&text, word);
    struct cw_url *url = NULL;
    enum cw_code rc = cw_str_code(&text);
    bool with_port = word.len > 0 && word.ptr[word.len - 1] >= '0' && word.ptr[word.len - 1] <= '9' &&
                     cw_span_find(word, ':') < word.len;
    if (rc == CW_OK && with_port) {
        rc = cw_url_parse(cw_str_span(&text), &url, NULL);
    }
    if (rc == CW_E_OOM) {
        return cw_err_set(err, rc, "net.allow", "out of memory");
    }
    if (url == NULL || strcmp(cw_url_path(url), "/") != 0 || cw_url_query(url).ptr != NULL) {
        cw_url_free(url);
        return cw_err_set(err, CW_E_CONFIG, "net.allow", "[net] allow holds something else than host:port");
    }
    struct exception *entry = &policy->exceptions[policy->count];
    entry->host = strdup(cw_url_host(url));
    entry->port = cw_url_port(url);
    cw_url_free(url);
    if (entry->host == NULL) {
        return cw_err_set(err, CW_E_OOM, "net.allow", "out of memory");
    }
    policy->count++;
    return CW_OK;
}

static enum cw_code read_exceptions(struct cw_net_policy *policy, struct cw_span list, struct cw_err *err)
{
    struct cw_span word;
    struct cw_span rest = list;
    size_t count = 0;
    while (cw_span_word(&rest, &word)) {
        count++;
    }
    policy->exceptions = calloc(count + 1, sizeof *policy->exceptions);
    if (policy->exceptions == NULL) {
        return cw_err_set(err, CW_E_OOM, "net.allow", "out of memory");
    }
    enum cw_code rc = CW_OK;
    while (rc == CW_OK && cw_span_word(&list, &word)) {
        rc = add_exception(policy, word, err);
    }
    return rc;
}

enum cw_code cw_net_policy_new(const struct cw_config *config, struct cw_net_policy **ret_policy, struct cw_err *err)
{
    struct cw_net_policy *policy = calloc(1, sizeof *policy);
    if (policy == NULL || (policy->ca_file = strdup(cw_config_text(config, CW_CONF_NET_CA_FILE))) == NULL ||
        (policy->only = strdup(cw_config_text(config, CW_CONF_NET_ONLY))) == NULL) {
        cw_net_policy_free(policy);
        return cw_err_set(err, CW_E_OOM, "net.policy", "out of memory");
    }
    policy->connect_ms = (unsigned)cw_config_int(config, CW_CONF_NET_CONNECT_MS);
    policy->total_ms = (unsigned)cw_config_int(config, CW_CONF_NET_TOTAL_MS);
    enum cw_code rc = read_exceptions(policy, cw_span_cstr(cw_config_text(config, CW_CONF_NET_ALLOW)), err);
    if (rc != CW_OK) {
        cw_net_policy_free(policy);
        return rc;
    }
    *ret_policy = policy;
    return CW_OK;
}

bool cw_net_policy_allows(const struct cw_net_policy *policy, const struct cw_url *url)
{
    for (size_t i = 0; i < policy->count; i++) {
        if (policy->exceptions[i].port == cw_url_port(url) &&
            strcmp(policy->exceptions[i].host, cw_url_host(url)) == 0) {
            return true;
        }
    }
    return false;
}

/* A list of the operator's own: a name, or *. and what stands behind the first dot of a longer one. */
static bool is_listed(const char *only, struct cw_span host)
{
    struct cw_span rest = cw_span_cstr(only);
    struct cw_span word;
    while (cw_span_word(&rest, &word)) {
        if (cw_span_starts(word, CW_SPAN("*."))) {
            struct cw_span suffix = cw_span_from(word, 1);
            if (host.len > suffix.len && cw_span_eq_nocase(cw_span_from(host, host.len - suffix.len), suffix)) {
                return true;
            }
        } else if (cw_span_eq_nocase(word, host)) {
            return true;
        }
    }
    return false;
}

enum cw_code cw_net_policy_check(const struct cw_net_policy *policy, const struct cw_url *url, struct cw_err *err)
{
    if (cw_net_policy_allows(policy, url)) {
        return CW_OK;
    }
    if (strcmp(cw_url_scheme(url), "https") != 0) {
        return cw_err_set(err, CW_E_BLOCKED, "net.policy", "%s: not https and not on [net] allow", cw_url_host(url));
    }
    if (cw_url_port(url) != 443) {
        return cw_err_set(err, CW_E_BLOCKED, "net.policy", "%s: port %u is not on [net] allow", cw_url_host(url),
                          cw_url_port(url));
    }
    if (policy->only[0] != '\0' && !is_listed(policy->only, cw_span_cstr(cw_url_host(url)))) {
        return cw_err_set(err, CW_E_BLOCKED, "net.policy", "%s: not on [net] only", cw_url_host(url));
    }
    return CW_OK;
}

struct block {
    uint8_t prefix[16];
    unsigned bits;
};

static const struct block not_public4[] = {
    { { 0 }, 8 },             /* this network */
    { { 10 }, 8 },            /* private */
    { { 100, 64 }, 10 },      /* carrier-grade NAT */
    { { 127 }, 8 },           /* loopback */
    { { 169, 254 }, 16 },     /* link-local, cloud metadata */
    { { 172, 16 }, 12 },      /* private */
    { { 192, 0, 0 }, 24 },    /* protocol assignments */
    { { 192, 0, 2 }, 24 },    /* documentation */
    { { 192, 88, 99 }, 24 },  /* 6to4 relay */
    { { 192, 168 }, 16 },     /* private */
    { { 198, 18 }, 15 },      /* benchmarks */
    { { 198, 51, 100 }, 24 }, /* documentation */
    { { 203, 0, 113 }, 24 },  /* documentation */
    { { 224 }, 3 },           /* multicast, reserved, broadcast */
};

/* Only 2000::/3 is global unicast, which leaves out ::, ::1, v4-mapped, 64:ff9b::/96 (NAT64), ULA, link-local, multicast. Inside it: */
static const struct block global6 = { { 0x20 }, 3 };
static const struct block not_public6[] = {
    { { 0x20, 0x01, 0x00 }, 23 },       /* Teredo, ORCHID and other protocol assignments */
    { { 0x20, 0x01, 0x0d, 0xb8 }, 32 }, /* documentation */
    { { 0x20, 0x02 }, 16 },             /* 6to4: an IPv4 address of any kind inside */
    { { 0x3f, 0xff }, 20 },             /* documentation */
};

static bool in_block(const uint8_t *address, const struct block *block)
{
    unsigned whole = block->bits / 8;
    unsigned rest = block->bits % 8;
    if (memcmp(address, block->prefix, whole) != 0) {
        return false;
    }
    return rest == 0 || ((address[whole] ^ block->prefix[whole]) >> (8 - rest)) == 0;
}

static bool in_any(const uint8_t *address, const struct block *blocks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (in_block(address, &blocks[i])) {
            return true;
        }
    }
    return false;
}

static bool public4(const struct in_addr *address)
{
    return !in_any((const uint8_t *)&address->s_addr, not_public4, CW_ARRAY_LEN(not_public4));
}

static bool public6(const struct in6_addr *address)
{
    return in_block(address->s6_addr, &global6) &&
           !in_any(address->s6_addr, not_public6, CW_ARRAY_LEN(not_public6));
}

bool cw_address_is_public(const struct sockaddr *address, socklen_t len)
{
    if (address->sa_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        return public4(&in.sin_addr);
    }
    if (address->sa_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 in6;
        memcpy(&in6, address, sizeof in6);
        return public6(&in6.sin6_addr);
    }
    return false;
}

bool cw_address_text_is_public(const char *text)
{
    struct in_addr four;
    struct in6_addr six;
    if (inet_pton(AF_INET, text, &four) == 1) {
        return public4(&four);
    }
    return inet_pton(AF_INET6, text, &six) == 1 && public6(&six);
}

const char *cw_net_policy_ca_file(const struct cw_net_policy *policy)
{
    return policy->ca_file;
}

unsigned cw_net_policy_connect_ms(const struct cw_net_policy *policy)
{
    return policy->connect_ms;
}

unsigned cw_net_policy_total_ms(const struct cw_net_policy *policy)
{
    return policy->total_ms;
}
