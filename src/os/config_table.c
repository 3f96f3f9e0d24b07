/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration keys, and what a value of each kind must look like. */
#include "os/config_int.h"

#define KiB INT64_C(1024)
#define MiB (KiB * KiB)
#define GiB (KiB * MiB)

/* clang-format off */
const struct config_row cw_config_table[CW_CONF__COUNT] = {
    [CW_CONF_ORIGIN] = { "server", "origin", CONFIG_ORIGIN, true, 1, 255, NULL, "https://records.example.org", NULL,
        "Scheme, host and port as browsers see them, without a path. http is for loopback hosts only." },
    [CW_CONF_WWW_DIR] = { "server", "www_dir", CONFIG_PATH, false, 1, 1024, "${pkgdatadir}/www", NULL, NULL,
        "Page templates, style, scripts and locales." },
    [CW_CONF_SQL_DIR] = { "server", "sql_dir", CONFIG_PATH, false, 1, 1024, "${pkgdatadir}/sql", NULL, NULL,
        "Migrations." },
    [CW_CONF_VENDORS_DIR] = { "server", "vendors_dir", CONFIG_PATH, false, 1, 1024, "${pkgdatadir}/vendors", NULL, NULL,
        "Vendor profiles." },
    [CW_CONF_STATE_DIR] = { "server", "state_dir", CONFIG_PATH, false, 1, 1024, "${localstatedir}/lib/chartway", NULL, NULL,
        "Search index, tombstone journal, state of the sandbox." },
    [CW_CONF_LOG_LEVEL] = { "server", "log_level", CONFIG_CHOICE, false, 1, 16, "info", NULL, "err warning info debug",
        "The most that is logged: err, warning, info or debug." },
    [CW_CONF_TRUSTED_PROXY_HEADER] = { "server", "client_address_param", CONFIG_PARAM, false, 1, 64, "REMOTE_ADDR", NULL, NULL,
        "The FastCGI parameter with the browser's address. Behind another proxy, have the web server set one that it checked." },

    [CW_CONF_DB_SOCKET] = { "database", "socket", CONFIG_PATH, false, 0, 107, "", "/run/mysqld/mysqld.sock", NULL,
        "MariaDB's unix socket; or set host." },
    [CW_CONF_DB_HOST] = { "database", "host", CONFIG_TEXT, false, 0, 255, "", NULL, NULL,
        "MariaDB's host, where no socket is set." },
    [CW_CONF_DB_PORT] = { "database", "port", CONFIG_INT, false, 1, 65535, "3306", NULL, NULL,
        "MariaDB's port, with host." },
    [CW_CONF_DB_NAME] = { "database", "name", CONFIG_TEXT, false, 1, 64, "chartway", NULL, NULL,
        "The database." },
    [CW_CONF_DB_USER] = { "database", "user", CONFIG_TEXT, false, 1, 80, "chartway", NULL, NULL,
        "The database user." },
    [CW_CONF_DB_PASSWORD_FILE] = { "database", "password_file", CONFIG_PATH, false, 0, 1024, "", NULL, NULL,
        "File with the password, readable by the service's user alone. Not needed with unix_socket authentication." },
    [CW_CONF_DB_TLS_CA] = { "database", "tls_ca", CONFIG_PATH, false, 0, 1024, "", NULL, NULL,
        "CA certificates for MariaDB's TLS; required with a host other than loopback." },
    [CW_CONF_DB_POOL] = { "database", "pool", CONFIG_INT, false, 1, 512, "16", NULL, NULL,
        "Connections of each process." },

    [CW_CONF_MASTER_KEYS] = { "vault", "master_keys", CONFIG_LIST, true, 1, 8192, NULL, "2026a=/etc/chartway/master-2026a.key", NULL,
        "id=path of each master key, separated by blanks; several at once, for rotation. `chartwayctl keyring init PATH` makes one." },
    [CW_CONF_MASTER_KEY_ACTIVE] = { "vault", "active", CONFIG_TEXT, false, 0, 32, "", NULL, NULL,
        "Id of the master key that wraps new data keys; the first of master_keys where empty." },

    [CW_CONF_SIGNING_KEY_DAYS] = { "vault", "signing_key_days", CONFIG_INT, false, 0, 3650, "365", NULL, NULL,
        "Days after which the scheduler rotates a signing key (private_key_jwt); 0 leaves it to `chartwayctl signing-key rotate`." },

    [CW_CONF_NET_ALLOW] = { "net", "allow", CONFIG_HOSTS, false, 0, 32768, "", NULL, NULL,
        "host:port separated by blanks: outgoing requests to these may be http and go to private or loopback addresses." },
    [CW_CONF_NET_ONLY] = { "net", "only", CONFIG_LIST, false, 0, 65536, "", NULL, NULL,
        "Hosts separated by blanks, *.example.org for all below a name: outgoing requests go to these and those of allow alone. Empty: to any public host." },
    [CW_CONF_NET_CA_FILE] = { "net", "ca_file", CONFIG_PATH, false, 0, 1024, "", NULL, NULL,
        "CA certificates for outgoing TLS, and no others; the system's where empty." },
    [CW_CONF_NET_CONNECT_MS] = { "net", "connect_timeout_ms", CONFIG_INT, false, 100, 60000, "5000", NULL, NULL,
        "For a connection, name look-up and TLS included." },
    [CW_CONF_NET_TOTAL_MS] = { "net", "total_timeout_ms", CONFIG_INT, false, 500, 300000, "20000", NULL, NULL,
        "For one short exchange (discovery, token)." },

    [CW_CONF_API_THREADS] = { "responders", "api_threads", CONFIG_INT, false, 1, 1024, "32", NULL, NULL,
        "Requests that one chartway-api answers at once." },
    [CW_CONF_PICKER_THREADS] = { "responders", "picker_threads", CONFIG_INT, false, 1, 1024, "32", NULL, NULL,
        "Requests that one chartway-picker answers at once." },
    [CW_CONF_CALLBACK_THREADS] = { "responders", "callback_threads", CONFIG_INT, false, 1, 4096, "256", NULL, NULL,
        "Requests that one chartway-callback answers at once; each may wait on a hospital." },
    [CW_CONF_SANDBOX_THREADS] = { "responders", "sandbox_threads", CONFIG_INT, false, 1, 1024, "32", NULL, NULL,
        "Requests that one chartway-sandbox answers at once." },

    [CW_CONF_LIMIT_PAGES_PER_ADDRESS] = { "limits", "pages_per_address", CONFIG_INT, false, 1, 1000000, "240", NULL, NULL,
        "Patient's pages a minute from one address." },
    [CW_CONF_LIMIT_PAGES_PER_SESSION] = { "limits", "pages_per_session", CONFIG_INT, false, 1, 1000000, "240", NULL, NULL,
        "Patient's pages a minute of one Session." },
    [CW_CONF_LIMIT_SEARCH_PER_SESSION] = { "limits", "search_per_session", CONFIG_INT, false, 1, 1000000, "300", NULL, NULL,
        "Searches a minute of one Session." },
    [CW_CONF_LIMIT_CALLBACK_PER_ADDRESS] = { "limits", "callback_per_address", CONFIG_INT, false, 1, 1000000, "60", NULL, NULL,
        "Returns from portals a minute from one address." },

    [CW_CONF_NODE] = { "scheduler", "node", CONFIG_TEXT, false, 1, 64, "${hostname}", NULL, NULL,
        "Name of this node in leases." },
    [CW_CONF_PULL_PER_CONNECTION] = { "scheduler", "requests_per_connection", CONFIG_INT, false, 1, 64, "4", NULL, NULL,
        "Parallel requests for one connection." },
    [CW_CONF_PULL_PER_HOST] = { "scheduler", "requests_per_host", CONFIG_INT, false, 1, 256, "8", NULL, NULL,
        "Parallel requests to one source's host." },
    [CW_CONF_PULL_TOTAL] = { "scheduler", "requests_total", CONFIG_INT, false, 1, 16384, "2048", NULL, NULL,
        "Parallel requests of one scheduler; page_bytes bounds them too." },
    [CW_CONF_PULL_BYTES] = { "scheduler", "page_bytes", CONFIG_BYTES, false, 64 * MiB, 64 * GiB, "256M", NULL, NULL,
        "Bytes of pages in memory at once; k, M and G count in 1024." },
    [CW_CONF_DIGEST_THREADS] = { "scheduler", "digest_threads", CONFIG_INT, false, 0, 256, "0", NULL, NULL,
        "Threads that store pages; 0 is one a core." },
    [CW_CONF_PULL_COUNT] = { "scheduler", "page_size", CONFIG_INT, false, 1, 1000, "50", NULL, NULL,
        "Entries asked for in a page (_count)." },
    [CW_CONF_LEASE_MS] = { "scheduler", "lease_ms", CONFIG_INT, false, 1000, 600000, "15000", NULL, NULL,
        "After this long without renewal, work is another's." },
    [CW_CONF_KEEP_PER_HOST] = { "scheduler", "keep_alive_per_host", CONFIG_INT, false, 1, 64, "2", NULL, NULL,
        "Parallel refreshes of idle grants at one host." },
    [CW_CONF_KEEP_PER_MINUTE] = { "scheduler", "keep_alive_per_minute", CONFIG_INT, false, 1, 60000, "120", NULL, NULL,
        "Refreshes of idle grants a minute at one host; a vendor profile's rate_per_min may be less." },

    [CW_CONF_PROBES] = { "scheduler", "probes_per_day", CONFIG_INT, false, 0, 8640, "48", NULL, NULL,
        "Sources that are examined a day, in turn, beside one for each registration; nothing of a patient is sent. 0: no probes at all." },

    [CW_CONF_IDENTIFIER_SYSTEM] = { "privacy", "identifier_system", CONFIG_TEXT, false, 1, 255, "urn:chartway:patient-id", NULL, NULL,
        "System of the identifier that a served Patient carries." },
    [CW_CONF_TOMBSTONE_JOURNAL] = { "privacy", "tombstone_journal", CONFIG_PATH, false, 1, 1024, "${state_dir}/tombstones.journal", NULL, NULL,
        "Journal of deletions, kept outside the database; a restore applies it again." },
    [CW_CONF_KEY_BACKUP_DAYS] = { "privacy", "key_backup_days", CONFIG_INT, false, 0, 3650, "30", NULL, NULL,
        "How long backups of the wrapped patient keys are kept, binary log included: a deletion is final after that." },

    [CW_CONF_SANDBOX_ENABLED] = { "sandbox", "enabled", CONFIG_BOOL, false, 0, 0, "false", NULL, NULL,
        "Whether chartway-sandbox may run here. Never in production." },
    [CW_CONF_SANDBOX_DATA] = { "sandbox", "data", CONFIG_PATH, false, 0, 1024, "", NULL, NULL,
        "Folder of transaction Bundles and NDJSON that the sandbox hospital serves beside its generated patients." },
    [CW_CONF_SANDBOX_RECORDINGS] = { "sandbox", "recordings", CONFIG_PATH, false, 0, 1024, "", NULL, NULL,
        "Folder of recordings (*.ndjson, one HTTP exchange a line); each file is a hospital that answers as recorded." },
    [CW_CONF_SANDBOX_OTHER_ORIGIN] = { "sandbox", "other_origin", CONFIG_TEXT, false, 0, 255, "", NULL, NULL,
        "Origin of a second host that leads to the sandbox too, for personalities that live on two." },
    [CW_CONF_SANDBOX_OPERATOR_TOKEN_FILE] = { "sandbox", "operator_token_file", CONFIG_PATH, false, 0, 1024, "", NULL, NULL,
        "File with the bearer token of the fault calls." },
};
/* clang-format on */

static bool all_of(struct cw_span text, const char *allowed)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\0' || strchr(allowed, text.ptr[i]) == NULL) {
            return false;
        }
    }
    return text.len > 0;
}

/* Cuts ":port" off the end; without one *ret_port is 0. False when it is no port or the host is no host. */
static bool split_host(struct cw_span text, struct cw_span *ret_host, uint64_t *ret_port)
{
    size_t end = text.len;
    if (text.len > 0 && text.ptr[0] == '[') {
        end = cw_span_find(text, ']');
        if (end == text.len || !all_of(cw_span_of(text.ptr + 1, end - 1), "0123456789abcdefABCDEF:.")) {
            return false;
        }
        end++;
    } else {
        end = cw_span_find(text, ':');
        if (!all_of(cw_span_upto(text, end), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-")) {
            return false;
        }
    }
    *ret_host = cw_span_upto(text, end);
    *ret_port = 0;
    struct cw_span rest = cw_span_from(text, end);
    return rest.len == 0
        || (rest.ptr[0] == ':' && cw_span_u64(cw_span_from(rest, 1), 65535, ret_port) && *ret_port > 0);
}

static bool is_loopback(struct cw_span host)
{
    return cw_span_eq_cstr(host, "localhost") || cw_span_ends(host, CW_SPAN(".localhost"))
        || cw_span_eq_cstr(host, "[::1]")
        || (cw_span_starts(host, CW_SPAN("127.")) && all_of(host, "0123456789."));
}

/* What a browser would send as Origin: compared as text later, so written exactly so here. */
static bool check_origin(struct cw_span value, const char **ret_reason)
{
    bool https = cw_span_starts(value, CW_SPAN("https://"));
    struct cw_span host = { NULL, 0 };
    uint64_t port = 0;
    if (!https && !cw_span_starts(value, CW_SPAN("http://"))) {
        *ret_reason = "must begin with https:// (or http:// for a loopback host)";
        return false;
    }
    if (!split_host(cw_span_from(value, https ? 8 : 7), &host, &port)) {
        *ret_reason = "must be scheme://host or scheme://host:port, with nothing behind it";
        return false;
    }
    for (size_t i = 0; i < host.len; i++) {
        if (host.ptr[i] >= 'A' && host.ptr[i] <= 'Z') {
            *ret_reason = "must be in lower case, as browsers write it";
            return false;
        }
    }
    if (port == (https ? 443 : 80)) {
        *ret_reason = "must leave out the scheme's own port, as browsers do";
        return false;
    }
    if (!https && !is_loopback(host)) {
        *ret_reason = "may be http for a loopback host only";
        return false;
    }
    return true;
}

static bool check_hosts(struct cw_span list)
{
    struct cw_span word;
    while (cw_span_word(&list, &word)) {
        struct cw_span host;
        uint64_t port = 0;
        if (!split_host(word, &host, &port) || port == 0) {
            return false;
        }
    }
    return true;
}

static bool check_choice(const char *choices, struct cw_span value, int64_t *ret_number)
{
    struct cw_span rest = cw_span_cstr(choices);
    struct cw_span word;
    for (int64_t at = 0; cw_span_word(&rest, &word); at++) {
        if (cw_span_eq(word, value)) {
            *ret_number = at;
            return true;
        }
    }
    return false;
}

static bool check_bytes(const struct config_row *row, struct cw_span value, int64_t *ret_number)
{
    static const char suffixes[] = "kMG";
    int64_t unit = 1;
    const char *suffix = value.len == 0 ? NULL : memchr(suffixes, value.ptr[value.len - 1], 3);
    if (suffix != NULL) {
        for (const char *p = suffixes; p <= suffix; p++) {
            unit *= KiB;
        }
        value.len--;
    }
    int64_t count = 0;
    if (!cw_span_i64(value, 0, INT64_MAX / unit, &count) || count * unit < row->min || count * unit > row->max) {
        return false;
    }
    *ret_number = count * unit;
    return true;
}

/* The text kinds that have a form of their own; the length is judged already. */
static bool check_form(const struct config_row *row, struct cw_span value, int64_t *ret_number, const char **ret_reason)
{
    switch (row->kind) {
    case CONFIG_PATH:
        *ret_reason = "must be an absolute path";
        return value.len == 0 || value.ptr[0] == '/';
    case CONFIG_HOSTS:
        *ret_reason = "must be host:port, separated by blanks";
        return check_hosts(value);
    case CONFIG_ORIGIN:
        return check_origin(value, ret_reason);
    case CONFIG_CHOICE:
        *ret_reason = "is none of the words allowed";
        return check_choice(row->choices, value, ret_number);
    case CONFIG_PARAM:
        *ret_reason = "must be a parameter's name: A-Z, 0-9 and _";
        return all_of(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    case CONFIG_TEXT:
    case CONFIG_LIST:
    case CONFIG_INT:
    case CONFIG_BYTES:
    case CONFIG_BOOL:
        break;
    }
    return true;
}

bool cw_config_check(const struct config_row *row, struct cw_span value, int64_t *ret_number, const char **ret_reason)
{
    *ret_number = 0;
    switch (row->kind) {
    case CONFIG_INT:
        *ret_reason = "must be a whole number within its limits";
        return cw_span_i64(value, row->min, row->max, ret_number);
    case CONFIG_BYTES:
        *ret_reason = "must be a number of bytes within its limits, k, M or G allowed";
        return check_bytes(row, value, ret_number);
    case CONFIG_BOOL:
        *ret_reason = "must be true or false";
        return check_choice("false true", value, ret_number);
    case CONFIG_TEXT:
    case CONFIG_PATH:
    case CONFIG_LIST:
    case CONFIG_HOSTS:
    case CONFIG_ORIGIN:
    case CONFIG_CHOICE:
    case CONFIG_PARAM:
        break;
    }
    if ((int64_t)value.len < row->min || (int64_t)value.len > row->max) {
        *ret_reason = value.len == 0 ? "must not be empty" : "is too long";
        return false;
    }
    return check_form(row, value, ret_number, ret_reason);
}
