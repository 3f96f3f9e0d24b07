#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs shellcheck over every shell script of the tree, told by its name or its first line.
# SC2317 takes what a trap calls for unreachable.
set -euo pipefail
cd "$(dirname "$0")/../.."
scripts=()
while IFS= read -r -d '' file; do
    [ -f "$file" ] || continue
    case $file in
        *.sh) scripts+=("$file") ;;
        *.*) ;;
        *) ! head -n 1 "$file" | grep -aqE '^#!.*\b(ba)?sh\b' || scripts+=("$file") ;;
    esac
done < <(git ls-files -z dev dev.d .ci tests conf | grep -zv '^tests/fuzz/corpus/')
shellcheck -x -e SC2317 "${scripts[@]}"
