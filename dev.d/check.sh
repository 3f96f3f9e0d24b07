# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# ./dev check [--long] [STAGE]...: from a clean clone to a verdict. Each stage is a function stage_NAME that leaves
# what it counted in PASSED and FAILED and all that it printed in a log; the last line is the sum.

# shellcheck source=dev.d/fuzz.sh
. "$ROOT/dev.d/fuzz.sh"

CHECK_STAGES=(build unit lint fuzz contract system browser)
CHECK_LONG_STAGES=(clang valgrind tsan distcheck)
CHECK_DIR=$STATE/check
ASAN_BUILD=$ROOT/build/asan

export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0:strict_string_checks=1:detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}

dev_check() {
    local long="" stages=() stage
    for stage in "$@"; do
        case $stage in
            --long) long=yes ;;
            -*) die "check: unknown option $stage" ;;
            *)
                declare -F "stage_$stage" >/dev/null || die "check: no stage $stage (${CHECK_STAGES[*]} ${CHECK_LONG_STAGES[*]})"
                stages+=("$stage")
                ;;
        esac
    done
    if [ ${#stages[@]} -eq 0 ]; then
        stages=("${CHECK_STAGES[@]}")
        [ -z "$long" ] || stages+=("${CHECK_LONG_STAGES[@]}")
    fi
    [ -z "$long" ] || export CHARTWAY_LONG=1
    need_packages "${PACKAGES_BUILD[@]}" "${PACKAGES_RUN[@]}" "${PACKAGES_CHECK[@]}"
    [ -z "$long" ] || need_packages "${PACKAGES_LONG[@]}"
    mkdir -p "$CHECK_DIR"
    trap check_clean_up EXIT
    trap 'exit 130' INT TERM HUP

    local total_passed=0 total_failed=0 summary=() began=$SECONDS
    for stage in "${stages[@]}"; do
        run_stage "$stage"
        total_passed=$((total_passed + PASSED))
        total_failed=$((total_failed + FAILED))
        summary+=("$(printf '%-10s %5d passed %4d failed %5d s' "$stage" "$PASSED" "$FAILED" "$TOOK")")
        # Nothing that follows can be told from noise when the build is broken.
        [ "$stage" != build ] || [ "$FAILED" -eq 0 ] || break
    done
    step "summary"
    printf '%s\n' "${summary[@]}"
    say "in all $((SECONDS - began)) s; logs in $CHECK_DIR"
    say "$total_passed passed, $total_failed failed"
    [ "$total_failed" -eq 0 ]
}

# Runs one stage; a stage that ends badly without having counted a failure has failed once.
run_stage() {
    local stage=$1 log=$CHECK_DIR/$1.log counts=$CHECK_DIR/$1.counts began=$SECONDS rc=0
    step "$stage"
    rm -f "$counts"
    (
        PASSED=0 FAILED=0
        trap 'printf "%d %d\n" "$PASSED" "$FAILED" >"$counts"' EXIT
        set -e
        "stage_$stage"
    ) >"$log" 2>&1 </dev/null &
    STAGE_PID=$!
    wait "$STAGE_PID" || rc=$?
    STAGE_PID=
    PASSED=0 FAILED=0
    [ ! -s "$counts" ] || read -r PASSED FAILED <"$counts"
    [ "$rc" -eq 0 ] || [ "$FAILED" -gt 0 ] || FAILED=1
    TOOK=$((SECONDS - began))
    if [ "$FAILED" -gt 0 ]; then
        tail -n 120 "$log"
    else
        tail -n 3 "$log"
    fi
    say "-- $stage: $PASSED passed, $FAILED failed, $TOOK s"
}

# Whatever happens, what this run started ends: a stage of its own, then a stack that the stage left.
check_clean_up() {
    local rc=$?
    trap - EXIT
    if [ -n "${STAGE_PID:-}" ]; then
        kill -TERM "$STAGE_PID" 2>/dev/null || true
        wait "$STAGE_PID" 2>/dev/null || true
    fi
    if [ -d "$CHECK_DIR/stack/run" ]; then
        CHARTWAY_STATE=$CHECK_DIR/stack "$ROOT/dev" down >/dev/null 2>&1 || true
    fi
    exit "$rc"
}

stage_build() {
    configure_in "$ASAN_BUILD" --enable-asan --enable-werror "CC=$(cached gcc)" CFLAGS=-O1
    make -C "$ASAN_BUILD" -s -j"$JOBS"
    PASSED=1
}

# Check prints one line of counts per program; a program without one counts once, by automake's result.
count_check_logs() {
    local trs log line
    for trs in "$1"/*.trs "$1"/tests/unit/*.trs; do
        [ -f "$trs" ] || continue
        log=${trs%.trs}.log
        line=$(grep -aoE 'Checks: [0-9]+, Failures: [0-9]+, Errors: [0-9]+' "$log" | tail -n 1 || true)
        if [ -n "$line" ]; then
            local checks failures errors
            IFS=' ' read -r checks failures errors <<<"$(tr -dc '0-9 ' <<<"$line")"
            FAILED=$((FAILED + failures + errors))
            PASSED=$((PASSED + checks - failures - errors))
            # A leak or a crash after the last test is a failure that Check has not seen.
            if [ "$((failures + errors))" -eq 0 ] && ! grep -q '^:test-result: PASS' "$trs"; then
                FAILED=$((FAILED + 1))
            fi
        elif grep -qE '^:test-result: (PASS|XFAIL)' "$trs"; then
            PASSED=$((PASSED + 1))
        elif ! grep -q '^:test-result: SKIP' "$trs"; then
            FAILED=$((FAILED + 1))
        fi
    done
}

make_check() {
    local dir=$1 rc=0
    shift
    rm -f "$dir"/*.trs "$dir"/tests/unit/*.trs
    make -C "$dir" -s -j"$JOBS" check TESTS= "$@"
    "$ROOT/tests/lib/with-mariadb" make -C "$dir" -s check VERBOSE=1 "$@" || rc=$?
    count_check_logs "$dir"
    [ "$rc" -eq 0 ] || [ "$FAILED" -gt 0 ] || FAILED=1
}

stage_unit() { make_check "$ASAN_BUILD"; }

# Every executable of tests/lint is one check of the tree.
stage_lint() {
    local script
    for script in "$ROOT"/tests/lint/*.sh; do
        say "lint: ${script##*/}"
        if ASAN_BUILD=$ASAN_BUILD "$script"; then
            PASSED=$((PASSED + 1))
        else
            FAILED=$((FAILED + 1))
        fi
    done
}

# All fuzzers together get 120 s of wall time (design 13); --long gives each 60 s.
stage_fuzz() {
    fuzz_build
    local count seconds
    count=$(fuzz_targets | wc -l)
    [ "$count" -gt 0 ] || return 0
    seconds=$((120 * JOBS / count))
    [ "$seconds" -le 60 ] || seconds=60
    [ -z "${CHARTWAY_LONG:-}" ] || seconds=60
    fuzz_run "$seconds"
}

# The stages in JavaScript print `N passed, N failed` last.
node_stage() {
    local rc=0 line
    if [ ! -f "$ROOT/tests/$1/run.mjs" ]; then
        say "no tests/$1 in this tree"
        return 0
    fi
    "$ROOT/tests/node-modules.sh" "$CHECK_DIR"
    # Output goes through a file, not a pipe: the stage ends with its runner.
    CHARTWAY_TEST_DIR=$CHECK_DIR CHARTWAY_BUILD=$ASAN_BUILD node "$CHECK_DIR/node/tests/$1/run.mjs" >"$CHECK_DIR/$1.out" 2>&1 || rc=$?
    cat "$CHECK_DIR/$1.out"
    line=$(grep -aE '^[0-9]+ passed, [0-9]+ failed$' "$CHECK_DIR/$1.out" | tail -n 1 || true)
    if [ -n "$line" ]; then
        read -r PASSED _ FAILED _ <<<"$line"
    fi
    [ "$rc" -eq 0 ] || [ "$FAILED" -gt 0 ] || FAILED=1
}

stage_system() { node_stage system; }
stage_browser() { node_stage browser; }

# The checker itself; the system tests put every answer of the API through it.
stage_contract() {
    "$ROOT/tests/node-modules.sh" "$CHECK_DIR"
    node "$CHECK_DIR/node/tests/system/contract.mjs"
    PASSED=1
}

stage_clang() {
    configure_in "$ROOT/build/clang" --enable-asan --enable-werror "CC=$(cached clang)" CFLAGS=-O1
    make_check "$ROOT/build/clang"
}

stage_valgrind() {
    configure_in "$ROOT/build/valgrind" --enable-werror "CC=$(cached gcc)" "CFLAGS=-O1 -g"
    make_check "$ROOT/build/valgrind" \
        "LOG_COMPILER=valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite --suppressions=$ROOT/tests/lib/valgrind.supp"
}

stage_tsan() {
    configure_in "$ROOT/build/tsan" --enable-tsan --enable-werror "CC=$(cached gcc)" "CFLAGS=-O1 -g"
    make_check "$ROOT/build/tsan"
}

stage_distcheck() {
    configure_in "$ROOT/build/plain" "CC=$(cached gcc)"
    "$ROOT/tests/lib/with-mariadb" make -C "$ROOT/build/plain" -s -j"$JOBS" distcheck
    PASSED=1
}
