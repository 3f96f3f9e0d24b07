#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# codespell over our own words; tests/lint/words.txt holds what it takes for mistakes and is none.
set -euo pipefail
cd "$(dirname "$0")/../.."
git ls-files -z src sql conf www doc dev dev.d tests README.md |
    grep -zvE '^(tests/(fixtures|fuzz/corpus)/|www/(locales|fonts|icons)/|conf/catalog/)' |
    xargs -0 -r codespell -I tests/lint/words.txt --quiet-level=2
