#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What each file must have and must not: the licence line, at most 700 lines, no words of unfinished work, no calls
# that the style bans and that base/banned.h cannot poison (libraries declare or use the names).
set -euo pipefail
cd "$(dirname "$0")/../.."
faults=0
fault() {
    printf '%s\n' "$*"
    faults=$((faults + 1))
}
tracked() { git ls-files -z -- "$@"; }
ours=('*.c' '*.h' '*.sh' '*.sql' '*.mjs' '*.js' '*.css' '*.ac' 'Makefile.am' dev 'tests/lib/with-mariadb' '.ci/run')

while IFS= read -r -d '' file; do
    [ -f "$file" ] || continue
    head -n 3 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' || fault "$file: no SPDX line in its first three"
    lines=$(wc -l <"$file")
    [ "$lines" -le 700 ] || fault "$file: $lines lines, more than 700"
done < <(tracked "${ours[@]}")

# Spelt so that this file does not hold the words itself.
unfinished='\b(TO''DO|FIX''ME|XX''X|HA''CK)\b|\bfor no''w\b|not (yet )?implement''ed'
while IFS= read -r hit; do
    fault "word of unfinished work: $hit"
done < <(tracked src sql conf www dev dev.d tests Makefile.am configure.ac | grep -zvE '^tests/(fixtures|fuzz/corpus)/' |
    xargs -0 -r grep -nIE "$unfinished" || true)

while IFS= read -r hit; do
    fault "banned call: $hit"
done < <(tracked 'src/*.c' | xargs -0 -r grep -nE '(^|[^a-zA-Z0-9_>.])(sscanf|strtol|strtoul|strtoll|strndup|system|rand|random|getenv|signal)\(' |
    grep -vE '^src/os/|^[^:]*:[0-9]+: *(\*|/\*|//)' || true)

[ "$faults" -eq 0 ]
