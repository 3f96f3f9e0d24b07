#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The rooms of design section 3: who may include whom, which room alone calls which library, where SQL may stand.
# Includes and SQL are read from the sources; library calls from the undefined symbols of the objects in $ASAN_BUILD.
set -euo pipefail
cd "$(dirname "$0")/../.."
faults=0
fault() {
    printf '%s\n' "$*"
    faults=$((faults + 1))
}

# room: the rooms that it may include, itself among them.
declare -A may=(
    [base]='base'
    [os]='base os'
    [db]='base os db'
    [net]='base os net'
    [web]='base os web'
    [vault]='base os vault'
    [model]='base os db vault model'
    [smart]='base os net vault model smart'
    [fhir]='base os net vault model smart fhir' # the plan of a pull asks smart/ what a scope grants
    [catalog]='base os net vault model catalog'
)
below='base os db net web vault model smart fhir catalog'
for program in api picker callback dashboard sandbox scheduler ctl; do
    may[$program]="$below $program"
done

while IFS=: read -r file line; do
    room=${file#src/}
    room=${room%%/*}
    target=${line#*\"}
    target=${target%%/*}
    if [ -z "${may[$room]:-}" ]; then
        fault "$file: src/$room is no room of the design"
    elif [[ " ${may[$room]} " != *" $target "* ]]; then
        fault "$file: $room may not include $target/ ($line)"
    fi
done < <(grep -HoE '^ *# *include "[a-z_0-9]+/[^"]*"' -r src --include='*.[ch]')

# SQL outside model/ and db/: a string that opens with a statement's first words.
while IFS= read -r hit; do
    fault "SQL outside src/model and src/db: $hit"
done < <(grep -nE '"(SELECT [a-zA-Z`*]|INSERT (IGNORE )?INTO |UPDATE [a-z_]+ SET |DELETE FROM |REPLACE INTO )' -r src --include='*.[ch]' |
    grep -vE '^src/(model|db)/' || true)

# A tree of libjansson is made and dumped in base alone.
while IFS= read -r hit; do
    fault "jansson text in or out only through base/json.h: $hit"
done < <(grep -nE '\bjson_(load[sbf]?|loadfd|dump[sbf]?|dumpfd|load_file|dump_file|load_callback|dump_callback)\(' -r src --include='*.[ch]' |
    grep -vE '^src/base/' || true)

# symbol pattern -> the room that alone may need it
declare -A owner=(
    ['^(mysql_|mariadb_)']=db
    ['^curl_']=net
    ['^FCG[XI]_']=web
    ['^jwt_']=vault
    ['^EVP_(Encrypt|Decrypt|CIPHER)']=vault
)
objects=0
while IFS= read -r object; do
    objects=$((objects + 1))
    room=${object#"${ASAN_BUILD:-build/asan}"/src/}
    room=${room%%/*}
    symbols=$(nm -u --format=posix "$object" | cut -d' ' -f1)
    for pattern in "${!owner[@]}"; do
        [ "${owner[$pattern]}" != "$room" ] || continue
        found=$(grep -E "$pattern" <<<"$symbols" | sort -u | tr '\n' ' ' || true)
        [ -z "$found" ] || fault "$room (${object##*/}) calls $found, which only ${owner[$pattern]}/ may"
    done
done < <(find "${ASAN_BUILD:-build/asan}/src" -name '*.o' 2>/dev/null)
[ "$objects" -gt 0 ] || fault "no objects in ${ASAN_BUILD:-build/asan}: build first"

[ "$faults" -eq 0 ]
