# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# ./dev fmt [--check]: clang-format over our C, by .clang-format.

dev_fmt() {
    local mode=(-i)
    [ "${1:-}" != --check ] || mode=(--dry-run -Werror)
    need_packages clang-format
    (cd "$ROOT" && git ls-files -z 'src/*.c' 'src/*.h' 'tests/*.c' 'tests/*.h' | xargs -0 -r clang-format "${mode[@]}")
}
