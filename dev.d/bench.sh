# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# ./dev bench: Chartway's API beside a bare libfcgi program with one prepared statement (tests/bench/yard_web.c), behind
# the same nginx over the same MariaDB, in turns; then the peak memory of each program. Ratios are what to read:
# requests per second move with whatever else the machine does. Then the pull and the callback.

# shellcheck source=dev.d/up.sh
. "$ROOT/dev.d/up.sh"

BENCH_ROUNDS=${CHARTWAY_BENCH_ROUNDS:-3}
BENCH_SECONDS=${CHARTWAY_BENCH_SECONDS:-4}
BENCH_CLIENTS=32

dev_bench() {
    need_packages "${PACKAGES_BUILD[@]}" "${PACKAGES_RUN[@]}" "${PACKAGES_BENCH[@]}"
    up_build
    mkdir -p "$BUILD/tests/bench"
    make -C "$BUILD" -s yard_web
    [ -f "$RUN/nginx.sup" ] || dev_up --no-tour
    bench_yard_up
    trap bench_yard_down EXIT

    local session round kind
    session=$(api POST /api/patient-sessions '{"patient_id":"bench","return_url":"https://app.example/"}' | jq -re .id)
    BENCH=$(mktemp -d "$STATE/bench.XXXXXX")
    bench_script get "$BENCH/get.lua" ''
    bench_script post "$BENCH/post.lua" '{"patient_id":"bench","return_url":"https://app.example/"}'
    for round in $(seq "$BENCH_ROUNDS"); do
        say "round $round of $BENCH_ROUNDS"
        for kind in get post; do
            bench_one "yard-$kind" "http://127.0.0.1:$YARD_PORT/yard" "$BENCH/$kind.lua"
        done
        bench_one cw-get "$ORIGIN/api/patient-sessions/$session" "$BENCH/get.lua"
        bench_one cw-post "$ORIGIN/api/patient-sessions" "$BENCH/post.lua"
    done
    step "medians of $BENCH_ROUNDS rounds, $BENCH_CLIENTS connections"
    bench_line "GET  /api/patient-sessions/{id}" get
    bench_line "POST /api/patient-sessions" post
    step "peak memory"
    for kind in "${RESPONDERS[@]}" scheduler; do
        printf '  %-10s %8s KiB\n' "$kind" "$(awk '/^VmHWM/ {print $2}' "/proc/$(cat "$RUN/$kind.pid")/status")"
    done
    rm -rf "$BENCH"
    step "the search"
    make -C "$BUILD" -s yard_pull search_bench callback_bench yard_sql fast_host
    mkdir -p "$STATE/bench"
    "$ROOT/tests/node-modules.sh" "$STATE/bench"
    env -u CHARTWAY_PORT ROOT="$ROOT" CHARTWAY_TEST_DIR="$STATE/bench" CHARTWAY_BUILD="$BUILD" \
        node "$STATE/bench/node/tests/bench/run.mjs" </dev/null
    step "the pull, beside libcurl + slice + zstd + AES-GCM + bulk insert"
    env -u CHARTWAY_PORT ROOT="$ROOT" CHARTWAY_TEST_DIR="$STATE/bench" CHARTWAY_BUILD="$BUILD" \
        node "$STATE/bench/node/tests/bench/pull.mjs" </dev/null
    step "the callback, over the portal's own time"
    env -u CHARTWAY_PORT ROOT="$ROOT" CHARTWAY_TEST_DIR="$STATE/bench" CHARTWAY_BUILD="$BUILD" \
        node "$STATE/bench/node/tests/bench/callback.mjs" </dev/null
    step "the keep-alive, ${CHARTWAY_BENCH_GRANTS:-1000000} grants due at once"
    make -C "$BUILD" -s keep_alive_bench
    "$BUILD/keep_alive_bench" "${CHARTWAY_BENCH_GRANTS:-1000000}" 2>/dev/null </dev/null
    step "claims of jobs, of 10,000 and of ${CHARTWAY_BENCH_JOBS:-1000000}"
    make -C "$BUILD" -s job_claim_bench
    "$BUILD/job_claim_bench" "${CHARTWAY_BENCH_JOBS:-1000000}" 2>/dev/null </dev/null
}

# The yardstick has an nginx of its own with the same settings, and a database of its own.
bench_yard_up() {
    YARD_PORT=$((PORT + 1))
    db_admin -e 'CREATE DATABASE IF NOT EXISTS chartway_yard'
    sed -e "s|127.0.0.1:$PORT |127.0.0.1:$YARD_PORT |" -e "s|127.0.0.2:$PORT;|127.0.0.2:$YARD_PORT;|" -e "s|$RUN/api.sock|$RUN/yard.sock|" -e "s|nginx-master|nginx-yard|" \
        -e "s|location /sandbox/ {|location = /yard { fastcgi_pass chartway_api; } location /sandbox/ {|" "$ETC/nginx.conf" >"$ETC/nginx-yard.conf"
    run_supervised yard spawn-fcgi -s "$RUN/yard.sock" -M 0600 -n -- "$BUILD/yard_web" 32 "$RUN/mariadb.sock" chartway_yard
    run_supervised yard-nginx "$(command -v nginx || echo /usr/sbin/nginx)" -p "$STATE/nginx" -e "$LOG/nginx-error.log" -c "$ETC/nginx-yard.conf"
    wait_for 20 curl -sf -o /dev/null "http://127.0.0.1:$YARD_PORT/yard" || die "the yardstick did not start; see $LOG/yard.log"
}

bench_yard_down() {
    stop_one yard-nginx
    stop_one yard
    rm -f "$RUN/yard.sock"
}

bench_script() {
    {
        printf 'wrk.method = "%s"\nwrk.headers["Authorization"] = "Bearer %s"\n' "${1^^}" "$(cat "$ETC/api.key")"
        [ -z "$3" ] || printf 'wrk.headers["Content-Type"] = "application/json"\nwrk.body = [[%s]]\n' "$3"
        # one line a run: requests per second, p50 and p99 in ms, answers that were errors
        cat <<'END'
done = function(summary, latency, requests)
  io.write(string.format("RESULT %.0f %.2f %.2f %d\n", summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, summary.errors.status + summary.errors.timeout))
end
END
    } >"$2"
}

bench_one() {
    wrk -t2 -c"$BENCH_CLIENTS" -d"${BENCH_SECONDS}s" -s "$3" "$2" | sed -n 's/^RESULT //p' >>"$BENCH/$1"
}

bench_median() { sort -n "$BENCH/$1" | awk '{ row[NR] = $0 } END { print row[int((NR + 1) / 2)] }'; }

bench_line() {
    awk -v name="$1" -v cw="$(bench_median "cw-$2")" -v yard="$(bench_median "yard-$2")" 'BEGIN {
        split(cw, c); split(yard, y)
        printf "  %-32s %7d/s  p50 %6.2f  p99 %7.2f ms  errors %d\n", name, c[1], c[2], c[3], c[4]
        printf "  %-32s %7d/s  p50 %6.2f  p99 %7.2f ms  ratio %.2f\n", "  bare libfcgi + one statement", y[1], y[2], y[3], y[1] ? c[1] / y[1] : 0
    }'
}
