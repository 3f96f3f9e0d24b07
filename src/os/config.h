/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration: one const table of keys (name, kind, limits, default, doc) drives parsing, `chartwayctl check-config`,
 * conf/chartway.conf.example and its test. The file is INI: [section], key = value, '#' and ';' start a comment line.
 * Unknown keys, repeated keys and values out of range stop the start. Secrets come by file path only.
 *
 * The path is the environment variable CHARTWAY_CONF, else the compiled-in $sysconfdir/chartway/chartway.conf.
 */
#ifndef CW_OS_CONFIG_H
#define CW_OS_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "base/str.h"

enum cw_config_key {
    /* [server] */
    CW_CONF_ORIGIN,              /* origin: scheme://host[:port] as browsers see it, no path; required */
    CW_CONF_WWW_DIR,             /* www_dir: default $pkgdatadir/www */
    CW_CONF_SQL_DIR,             /* sql_dir: default $pkgdatadir/sql */
    CW_CONF_VENDORS_DIR,         /* vendors_dir: default $pkgdatadir/vendors */
    CW_CONF_STATE_DIR,           /* state_dir: search index, tombstone journal, sandbox state; default $localstatedir/lib/chartway */
    CW_CONF_LOG_LEVEL,           /* log_level: err|warning|info|debug; default info */
    CW_CONF_TRUSTED_PROXY_HEADER,/* client_address_param: FastCGI parameter with the browser's address; default REMOTE_ADDR */
    /* [database] */
    CW_CONF_DB_SOCKET,           /* socket: unix socket path; or host and port */
    CW_CONF_DB_HOST,
    CW_CONF_DB_PORT,
    CW_CONF_DB_NAME,             /* name: default chartway */
    CW_CONF_DB_USER,             /* user: default chartway */
    CW_CONF_DB_PASSWORD_FILE,    /* password_file: optional (unix_socket authentication needs none) */
    CW_CONF_DB_TLS_CA,           /* tls_ca: required for TCP to other than loopback */
    CW_CONF_DB_POOL,             /* pool: connections per process, 1..512, default 16 */
    /* [vault] */
    CW_CONF_MASTER_KEYS,         /* master_keys: `id=path` separated by blanks; several at once, for rotation; required */
    CW_CONF_MASTER_KEY_ACTIVE,   /* active: id of the key that wraps new data keys; default the first */
    CW_CONF_SIGNING_KEY_DAYS,    /* signing_key_days: age at which a signing key is rotated; 0: by hand alone */
    /* [net] */
    CW_CONF_NET_ALLOW,           /* allow: `host:port` separated by blanks; may be http, private or loopback */
    CW_CONF_NET_ONLY,            /* only: hosts and *.suffixes; empty: any public host */
    CW_CONF_NET_CA_FILE,         /* ca_file: default the system's bundle */
    CW_CONF_NET_CONNECT_MS,      /* connect_timeout_ms: default 5000 */
    CW_CONF_NET_TOTAL_MS,        /* total_timeout_ms: one short exchange; default 20000 */
    /* [responders] */
    CW_CONF_API_THREADS,         /* api_threads: default 32 */
    CW_CONF_PICKER_THREADS,      /* picker_threads: default 32 */
    CW_CONF_CALLBACK_THREADS,    /* callback_threads: default 256 */
    CW_CONF_SANDBOX_THREADS,     /* sandbox_threads: default 32 */
    /* [limits] requests a minute */
    CW_CONF_LIMIT_PAGES_PER_ADDRESS,    /* pages_per_address: default 240 */
    CW_CONF_LIMIT_PAGES_PER_SESSION,    /* pages_per_session: default 240 */
    CW_CONF_LIMIT_SEARCH_PER_SESSION,   /* search_per_session: default 300 */
    CW_CONF_LIMIT_CALLBACK_PER_ADDRESS, /* callback_per_address: default 60 */
    /* [scheduler] */
    CW_CONF_NODE,                /* node: name of this node, default the host name */
    CW_CONF_PULL_PER_CONNECTION, /* requests_per_connection: default 4 */
    CW_CONF_PULL_PER_HOST,       /* requests_per_host: default 8 */
    CW_CONF_PULL_TOTAL,          /* requests_total: default 2048 */
    CW_CONF_PULL_BYTES,          /* page_bytes: global byte budget of pages in memory; default 256 MiB */
    CW_CONF_DIGEST_THREADS,      /* digest_threads: default 0 = one a core */
    CW_CONF_PULL_COUNT,          /* page_size: _count asked for, default 50 */
    CW_CONF_LEASE_MS,            /* lease_ms: default 15000 */
    CW_CONF_KEEP_PER_HOST,       /* keep_alive_per_host: default 2 */
    CW_CONF_KEEP_PER_MINUTE,     /* keep_alive_per_minute: default 120 */
    CW_CONF_PROBES,              /* probes: sources looked at a day beside each registration; 0: no probes at all */
    /* [privacy] */
    CW_CONF_IDENTIFIER_SYSTEM,   /* identifier_system: default urn:chartway:patient-id */
    CW_CONF_TOMBSTONE_JOURNAL,   /* tombstone_journal: default $state_dir/tombstones.journal */
    CW_CONF_KEY_BACKUP_DAYS,     /* key_backup_days: default 30 */
    /* [sandbox] */
    CW_CONF_SANDBOX_ENABLED,     /* enabled: default false; chartway-sandbox refuses to start without */
    CW_CONF_SANDBOX_DATA,        /* data: folder of transaction Bundles and NDJSON to serve beside the generated patients; optional */
    CW_CONF_SANDBOX_RECORDINGS,  /* recordings: folder of recorded exchanges, a hospital a file; optional */
    CW_CONF_SANDBOX_OTHER_ORIGIN, /* other_origin: a second host that leads to the sandbox; "" when there is none */
    CW_CONF_SANDBOX_OPERATOR_TOKEN_FILE, /* operator_token_file: bearer token of the fault calls */
    CW_CONF__COUNT
};

struct cw_config;

void cw_config_free(struct cw_config *config);
/* Reads path (NULL: as said above). On failure err names line and key. */
enum cw_code cw_config_load(const char *path, struct cw_config **ret_config, struct cw_err *err) CW_NONNULL(2) CW_MUST_USE;
/* From memory, for tests and fuzzing. */
enum cw_code cw_config_parse(struct cw_span text, struct cw_config **ret_config, struct cw_err *err)
    CW_NONNULL(2) CW_MUST_USE;

/* Values with defaults applied. Asking with the wrong kind is a bug. Text is "" when optional and not given. log_level is both a text
 * and, as a number, an enum cw_log_level. */
const char *cw_config_text(const struct cw_config *config, enum cw_config_key key) CW_RETURNS_NONNULL;
int64_t cw_config_int(const struct cw_config *config, enum cw_config_key key);
bool cw_config_bool(const struct cw_config *config, enum cw_config_key key);

/* The whole configuration in effect, as an INI file with docs; secrets' paths are shown, never their content. */
enum cw_code cw_config_show(const struct cw_config *config, struct cw_str *out) CW_NONNULL(1, 2);
/* conf/chartway.conf.example: the same from the table alone, defaults as comments. */
enum cw_code cw_config_example(struct cw_str *out) CW_NONNULL(1);

#endif
