# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# ./dev up [--allow HOST:PORT]... [--no-tour]: from whatever is there to a running Chartway with one patient connected.
# Run again, it builds what changed, restarts everything and keeps the data.

# shellcheck source=dev.d/stack.sh
. "$ROOT/dev.d/stack.sh"
# shellcheck source=dev.d/tour.sh
. "$ROOT/dev.d/tour.sh"

ORG_NAME="Sandbox organization"

dev_up() {
    local allow=() tour=yes
    while [ $# -gt 0 ]; do
        case $1 in
            --allow)
                [[ ${2:-} =~ ^[a-zA-Z0-9.:-]+:[0-9]+$ || ${2:-} =~ ^\[[0-9a-fA-F:]+\]:[0-9]+$ ]] || die "up: --allow takes HOST:PORT"
                allow+=("$2")
                shift 2
                ;;
            --no-tour)
                tour=
                shift
                ;;
            *) die "up: unknown option $1" ;;
        esac
    done
    if ! [[ $PORT =~ ^[0-9]{1,5}$ ]] || [ "$PORT" -lt 1 ] || [ "$PORT" -gt 65535 ]; then
        die "CHARTWAY_PORT is not a port: $PORT"
    fi

    # The catalogue and the sandbox's registration name the port.
    if [ -s "$ETC/port" ] && [ "$(cat "$ETC/port")" != "$PORT" ]; then
        die "$STATE was made for port $(cat "$ETC/port"); set CHARTWAY_PORT to it, or CHARTWAY_STATE to another folder"
    fi

    need_packages "${PACKAGES_BUILD[@]}" "${PACKAGES_RUN[@]}"
    up_build
    stack_folders
    stack_stop
    if (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; then
        die "port $PORT is taken; set CHARTWAY_PORT"
    fi
    write_file "$ETC/port" <<<"$PORT"
    stack_configure "${allow[@]}"
    step "starting MariaDB, nginx, ${RESPONDERS[*]}, scheduler in $STATE"
    stack_start
    up_furnish
    [ -z "$tour" ] || tour_run
    say ""
    say "running at $ORIGIN; variables in $STATE/env; stop with ./dev down"
}

# CHARTWAY_BUILD names a tree that is built already (./dev check does so).
up_build() {
    BUILD=${CHARTWAY_BUILD:-}
    [ -z "$BUILD" ] || return 0
    step "building"
    if [ "${CHARTWAY_ASAN:-}" = 1 ]; then
        BUILD=$ROOT/build/asan
        configure_in "$BUILD" --enable-asan --enable-werror "CC=$(cached gcc)" CFLAGS=-O1
    else
        BUILD=$ROOT/build/plain
        configure_in "$BUILD" "CC=$(cached gcc)"
    fi
    make -C "$BUILD" -s -j"$JOBS"
}

# Organization, key, catalogue, client of the sandbox hospital: each only when it is not there yet.
up_furnish() {
    local org key sources
    if [ -s "$ETC/organization" ]; then
        org=$(cat "$ETC/organization")
    else
        org=$(ctl org create "$ORG_NAME" --env sandbox)
        write_file "$ETC/organization" <<<"$org"
    fi
    if [ -s "$ETC/api.key" ] && api GET "/api/patients?limit=1" >/dev/null 2>&1; then
        :
    else
        key=$(ctl key create "$org" "dev up")
        write_file "$ETC/api.key" <<<"$key"
    fi
    sources=$STATE/etc/catalog.json
    sed "s|@ORIGIN@|$ORIGIN|g" "$ROOT/conf/catalog/sample.json" | write_file "$sources"
    ctl source import "$sources" --env sandbox
    ctl client list --json | jq -e 'any(.slug == "sandbox")' >/dev/null ||
        ctl client add --source "$ORIGIN/sandbox/fhir" --client-id chartway-sandbox --auth none --slug sandbox --env sandbox >/dev/null
    up_env
}

up_env() {
    write_file "$STATE/env" <<END
# Written by ./dev up, in shell syntax: . $STATE/env
CHARTWAY_URL='$ORIGIN'
CHARTWAY_API_KEY='$(cat "$ETC/api.key")'
CHARTWAY_CTL='$STATE/bin/chartwayctl'
CHARTWAY_CONF='$ETC/chartway.conf'
CHARTWAY_STATE='$STATE'
CHARTWAY_DB_SOCKET='$RUN/mariadb.sock'
CHARTWAY_SANDBOX_URL='$ORIGIN/sandbox'
CHARTWAY_SANDBOX_OPERATOR_TOKEN='$(cat "$ETC/sandbox-operator.token")'
# The dashboard is not part of this tree yet, so these have no values.
CHARTWAY_DASHBOARD_USER=''
CHARTWAY_DASHBOARD_PASSWORD=''
END
}

# api METHOD PATH [BODY]: the answer's body; fails on an HTTP error. The key goes in by a file, not by the arguments.
api() {
    local method=$1 path=$2
    shift 2
    curl -sS --fail-with-body --max-time 30 -X "$method" -K <(printf 'header = "Authorization: Bearer %s"\n' "$(cat "$ETC/api.key")") \
        ${1:+-H 'Content-Type: application/json' --data-binary "$1"} "$ORIGIN$path"
}
