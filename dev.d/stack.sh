# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# The private installation under $STATE: its files, its MariaDB, its nginx, its programs. Nothing here touches a
# service of the system. Every process runs under dev.d/supervise, whose pid in $STATE/run is how it is stopped.
#
#   etc/   configuration, keys, passwords      db/    MariaDB's data     log/   one file a program
#   run/   sockets and pids                    lib/   Chartway's state   bin/   chartwayctl with the configuration

ORIGIN=http://127.0.0.1:$PORT
# A second host of the sandbox hospital, for personalities that live on two; every 127.x.y.z is this machine on Linux.
OTHER_ORIGIN=http://127.0.0.2:$PORT
RUN=$STATE/run
ETC=$STATE/etc
LOG=$STATE/log
RESPONDERS=(api picker callback sandbox)

stack_folders() {
    # 107 bytes is what a unix socket's path may have
    [ "$(printf %s "$RUN/mariadb.sock" | wc -c)" -le 100 ] || die "the path of $STATE is too long for a unix socket; set CHARTWAY_STATE"
    umask 077
    mkdir -p "$RUN" "$ETC" "$LOG" "$STATE/lib" "$STATE/bin" "$STATE/nginx" "$STATE/tmp"
}

# Writes stdin to a file only when it would change, so that times tell.
write_file() {
    local new
    new=$(cat && printf .)
    new=${new%.}
    [ -f "$1" ] && [ "$(cat "$1" && printf .)" = "$new." ] || printf '%s' "$new" >"$1"
}

secret_file() {
    [ -s "$1" ] || openssl rand -hex "${2:-32}" | tr -d '\n' >"$1"
}

# stack_configure [HOST:PORT]...: writes what the stack is told by files. The hosts of --allow are kept in etc/allow,
# so that they stand at the next `up` too.
stack_configure() {
    local allow user_line=
    touch "$ETC/allow"
    [ $# -eq 0 ] || printf '%s\n' "$@" >>"$ETC/allow"
    sort -u -o "$ETC/allow" "$ETC/allow"
    allow="127.0.0.1:$PORT 127.0.0.2:$PORT $(tr '\n' ' ' <"$ETC/allow")"
    secret_file "$ETC/master.key"
    secret_file "$ETC/db.password"
    secret_file "$ETC/sandbox-operator.token"
    [ "$(id -u)" -ne 0 ] || user_line='user root;'

    write_file "$ETC/my.cnf" <<END
[mariadbd]
datadir = $STATE/db
tmpdir = $STATE/tmp
socket = $RUN/mariadb.sock
pid-file = $RUN/mariadbd.pid
log-error = $LOG/mariadb.log
skip-networking
character-set-server = utf8mb4
innodb-buffer-pool-size = ${CHARTWAY_DB_BUFFER:-256M}
innodb-log-file-size = 256M
innodb-flush-log-at-trx-commit = 1
max-allowed-packet = 64M
max-connections = 400
performance-schema = OFF
log-bin = $STATE/db/binlog
binlog-format = ROW
sync-binlog = 0
expire-logs-days = 1
END
    write_file "$ETC/chartway.conf" <<END
# Written by ./dev up; changes are lost.
[server]
origin = $ORIGIN
www_dir = $ROOT/www
sql_dir = $ROOT/sql
vendors_dir = ${CHARTWAY_VENDORS:-$ROOT/conf/vendors}
state_dir = $STATE/lib
log_level = info
[database]
socket = $RUN/mariadb.sock
name = chartway
user = chartway
password_file = $ETC/db.password
[vault]
master_keys = dev=$ETC/master.key
[net]
allow = $allow
[limits]
pages_per_address = ${CHARTWAY_PAGES_PER_ADDRESS:-6000}
pages_per_session = ${CHARTWAY_PAGES_PER_SESSION:-600}
callback_per_address = ${CHARTWAY_CALLBACK_PER_ADDRESS:-6000}
[sandbox]
enabled = true
operator_token_file = $ETC/sandbox-operator.token
other_origin = $OTHER_ORIGIN
${CHARTWAY_SANDBOX_DATA:+data = $CHARTWAY_SANDBOX_DATA}
${CHARTWAY_SANDBOX_RECORDINGS:+recordings = $CHARTWAY_SANDBOX_RECORDINGS}
END
    write_file "$ETC/nginx.conf" <<END
$user_line
worker_processes 2;
daemon off;
pid $RUN/nginx-master.pid;
# nginx quotes the request line, secrets included, in every message below emerg.
error_log $LOG/nginx-error.log emerg;
events { worker_connections 1024; }
http {
    include $ROOT/conf/nginx/http.conf;
    access_log $LOG/access.log chartway;
    server_tokens off;
    client_body_temp_path $STATE/nginx/body;
    fastcgi_temp_path $STATE/nginx/fastcgi;
    proxy_temp_path $STATE/nginx/proxy;
    scgi_temp_path $STATE/nginx/scgi;
    uwsgi_temp_path $STATE/nginx/uwsgi;
$(for name in "${RESPONDERS[@]}"; do
        echo "    upstream chartway_$name { server unix:$RUN/$name.sock max_fails=0; }"
    done)
    server {
        listen 127.0.0.1:$PORT backlog=1024;
        server_name 127.0.0.1 localhost;
        set \$chartway_www $ROOT/www;
        include $ROOT/conf/nginx/locations.conf;
        location /sandbox/ {
            # real input for the sandbox hospital is larger than anything the API takes
            client_max_body_size 64m;
            fastcgi_pass chartway_sandbox;
        }
    }
    # the hospital's second host: its root is the discovery of the one personality that has it there
    server {
        listen 127.0.0.2:$PORT;
        server_name 127.0.0.2;
        set \$chartway_www $ROOT/www;
        include $ROOT/conf/nginx/locations.conf;
        location /sandbox/ {
            fastcgi_pass chartway_sandbox;
        }
        location = /.well-known/smart-configuration {
            fastcgi_param REQUEST_METHOD  \$request_method;
            fastcgi_param REQUEST_URI     /sandbox/as/meditech\$request_uri;
            fastcgi_param SERVER_PROTOCOL \$server_protocol;
            fastcgi_pass chartway_sandbox;
        }
    }
}
END
    write_file "$STATE/bin/chartwayctl" <<END
#!/bin/sh
# chartwayctl with the configuration of this stack
CHARTWAY_CONF='$ETC/chartway.conf' exec '$BUILD/chartwayctl' "\$@"
END
    chmod 700 "$STATE/bin/chartwayctl"
}

# run_supervised NAME COMMAND...: in a session of its own, its words to log/NAME.log.
run_supervised() {
    local name=$1
    setsid -f "$ROOT/dev.d/supervise" "$RUN" "$@" </dev/null >>"$LOG/$name.log" 2>&1
}

# wait_for SECONDS COMMAND...: until COMMAND succeeds.
wait_for() {
    local until=$((SECONDS + $1))
    shift
    while ! "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$until" ] || return 1
        sleep 0.05
    done
}

db_admin() { mariadb --no-defaults --batch --skip-column-names --socket="$RUN/mariadb.sock" --user="$(id -un)" "$@"; }

stack_start_db() {
    local user=()
    [ "$(id -u)" -ne 0 ] || user=(--user=root)
    if [ ! -d "$STATE/db/mysql" ]; then
        mariadb-install-db --defaults-file="$ETC/my.cnf" "${user[@]}" --skip-test-db --auth-root-authentication-method=socket \
            --auth-root-socket-user="$(id -un)" >"$LOG/mariadb-install.log" 2>&1 || {
            rm -rf "$STATE/db"
            cat "$LOG/mariadb-install.log" >&2
            die "MariaDB could not be set up"
        }
    fi
    run_supervised mariadb "$(command -v mariadbd || echo /usr/sbin/mariadbd)" --defaults-file="$ETC/my.cnf" "${user[@]}"
    wait_for 60 db_admin -e 'SELECT 1' || die "MariaDB did not start; see $LOG/mariadb.log"
    db_admin -e "$(cat <<END
CREATE DATABASE IF NOT EXISTS chartway CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE USER IF NOT EXISTS chartway@localhost IDENTIFIED BY '$(cat "$ETC/db.password")';
ALTER USER chartway@localhost IDENTIFIED BY '$(cat "$ETC/db.password")';
GRANT ALL ON chartway.* TO chartway@localhost;
END
)"
}

ctl() { "$STATE/bin/chartwayctl" "$@"; }

stack_start() {
    local name
    export CHARTWAY_CONF=$ETC/chartway.conf
    stack_start_db
    ctl migrate
    for name in "${RESPONDERS[@]}"; do
        run_supervised "$name" spawn-fcgi -s "$RUN/$name.sock" -M 0600 -n -- "$BUILD/chartway-$name"
    done
    run_supervised scheduler "$BUILD/chartway-scheduler"
    run_supervised nginx "$(command -v nginx || echo /usr/sbin/nginx)" -p "$STATE/nginx" -e "$LOG/nginx-error.log" -c "$ETC/nginx.conf"
    for name in "${RESPONDERS[@]}"; do
        wait_for 20 test -S "$RUN/$name.sock" || die "chartway-$name did not start; see $LOG/$name.log"
    done
    wait_for 20 curl -s -o /dev/null "$ORIGIN/" || die "nginx did not start on port $PORT; see $LOG/nginx.log"
}

# The supervisor of NAME, if it runs and is ours: a pid alone may have been given to somebody else.
supervisor_of() {
    local pid
    pid=$(cat "$RUN/$1.sup" 2>/dev/null) || return 1
    tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "supervise $RUN $1 " || return 1
    printf '%s' "$pid"
}

stop_one() {
    local name=$1 pid child until=$((SECONDS + ${2:-20}))
    pid=$(supervisor_of "$name") || return 0
    kill -TERM "$pid" 2>/dev/null || return 0
    while kill -0 "$pid" 2>/dev/null; do
        if [ "$SECONDS" -ge "$until" ]; then
            say "$name does not stop; ending it by force"
            child=$(cat "$RUN/$name.pid" 2>/dev/null) && kill -KILL "$child" 2>/dev/null
            until=$((SECONDS + 5))
        fi
        sleep 0.02
    done
    rm -f "$RUN/$name.sup" "$RUN/$name.pid"
}

stack_stop() {
    local name
    for name in apache nginx "${RESPONDERS[@]}" scheduler; do
        stop_one "$name" &
    done
    wait
    stop_one mariadb 60
    rm -f "$RUN"/*.sock
}
