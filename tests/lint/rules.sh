#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# doc/smart-rules.md names the test of each rule. Every test that it names must be there, and every row must name one or say why not.
set -euo pipefail
cd "$(dirname "$0")/../.."
page=doc/smart-rules.md
faults=0
fault() {
    printf '%s\n' "$page: $*"
    faults=$((faults + 1))
}

quirks=$(grep -hoE "['\`\"]quirk [0-9]+:" tests/system/*.mjs | tr -d "'\`\"" | sort -u || true)

named() {
    # shellcheck disable=SC2016 # the back ticks are the page's
    grep -E '^\| ([0-9]+\.|RFC|OIDC)' "$page" | grep -oE '`(test_[a-z0-9_]+\.c: [a-z0-9_]+|[a-z_]+\.mjs: [^`]+|quirk [0-9]+)`' | tr -d '`' | sort -u
}

while IFS= read -r name; do
    case $name in
        test_*.c:\ *)
            file=tests/unit/${name%%:*}
            { [ -f "$file" ] && grep -qF "START_TEST(${name#*: })" "$file"; } || fault "no unit test $name"
            ;;
        *.mjs:\ *)
            file=tests/system/${name%%:*}
            { [ -f "$file" ] && grep -F "test(" "$file" | grep -qF -- "${name#*: }"; } || fault "no system test $name"
            ;;
        quirk\ *)
            grep -qxF "$name:" <<<"$quirks" || fault "no test of $name"
            ;;
    esac
done < <(named)

while IFS= read -r row; do
    proof=${row%|}
    proof=${proof##*|}
    [[ $proof =~ (\`(test_|quirk\ |[a-z_]+\.mjs)|open:|not\ built:|by\ design:) ]] || fault "no test and no word: $row"
done < <(grep -E '^\| ([0-9]+\.|RFC|OIDC)' "$page")

# Each of the sixty stands in the table once.
for number in $(seq 60); do
    [ "$(grep -cE "^\| 9\.$number \|" "$page")" -eq 1 ] || fault "quirk $number does not stand there once"
done
[ "$faults" -eq 0 ]
