# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# ./dev fuzz [SECONDS [TARGET]...]: every tests/fuzz/fuzz_X.c over its corpus tests/fuzz/corpus/X, under ASan and UBSan.
# What a run finds new stays in build/fuzz/found/X; an input that breaks a target is printed with its path.

FUZZ_BUILD=$ROOT/build/fuzz

dev_fuzz() {
    local seconds=${1:-60}
    [[ $seconds =~ ^[0-9]+$ ]] || die "fuzz: SECONDS is a number"
    [ $# -eq 0 ] || shift
    need_packages "${PACKAGES_BUILD[@]}" clang libclang-rt-14-dev llvm
    PASSED=0 FAILED=0
    fuzz_build
    fuzz_run "$seconds" "$@"
    say "$PASSED passed, $FAILED failed"
    [ "$FAILED" -eq 0 ]
}

fuzz_targets() {
    local file
    for file in "$ROOT"/tests/fuzz/fuzz_*.c; do
        [ -f "$file" ] || continue
        file=${file##*/fuzz_}
        printf '%s\n' "${file%.c}"
    done
}

fuzz_build() {
    configure_in "$FUZZ_BUILD" --enable-asan --enable-fuzzers "CC=$(cached clang)" \
        'CFLAGS=-O1 -g -fsanitize=fuzzer-no-link -DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION'
    make -C "$FUZZ_BUILD" -s -j"$JOBS" fuzzers
}

# Runs the targets, as many at a time as there are cores; counts into PASSED and FAILED.
fuzz_run() {
    local seconds=$1 target
    shift
    local targets=("$@") left=() pids=() names=()
    [ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(fuzz_targets)
    left=("${targets[@]}")
    while [ ${#left[@]} -gt 0 ]; do
        pids=() names=()
        for target in "${left[@]:0:JOBS}"; do
            fuzz_one "$seconds" "$target" >"$FUZZ_BUILD/$target.log" 2>&1 &
            pids+=($!)
            names+=("$target")
        done
        left=("${left[@]:JOBS}")
        local i
        for i in "${!pids[@]}"; do
            if wait "${pids[$i]}"; then
                PASSED=$((PASSED + 1))
                say "fuzz ${names[$i]}: $(grep -aoE 'stat::number_of_executed_units: *[0-9]+' "$FUZZ_BUILD/${names[$i]}.log" | tr -dc 0-9) runs"
            else
                FAILED=$((FAILED + 1))
                say "fuzz ${names[$i]}: FAILED"
                tail -n 60 "$FUZZ_BUILD/${names[$i]}.log"
            fi
        done
    done
}

fuzz_one() {
    local seconds=$1 target=$2 found=$FUZZ_BUILD/found/$2 corpus=$ROOT/tests/fuzz/corpus/$2
    local folders=("$found")
    mkdir -p "$found"
    [ ! -d "$corpus" ] || folders+=("$corpus")
    "$FUZZ_BUILD/tests/fuzz/fuzz_$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$found/crash-" "${folders[@]}"
}
