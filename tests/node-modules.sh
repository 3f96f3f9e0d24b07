#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# node-modules.sh DIR: lays the tests in JavaScript out in DIR/node, beside the packages that tests/package.json names,
# so that nothing is installed into the tree. Packages are fetched again only when that file changed.
set -euo pipefail
tests=$(cd "$(dirname "$0")" && pwd)
to=$1/node
mkdir -p "$to"
if ! cmp -s "$tests/package.json" "$to/package.json" || [ ! -d "$to/node_modules" ]; then
    rm -rf "$to/node_modules" "$to/package.json"
    cp "$tests/package.json" "$to/package.json.new"
    mv "$to/package.json.new" "$to/package.json"
    (cd "$to" && npm install --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error) || {
        rm -f "$to/package.json"
        exit 1
    }
fi
# The contract checker reads ../../www/openapi.json.
ln -sfn "$tests/../www" "$to/www"
rm -rf "$to/tests"
mkdir "$to/tests"
for folder in system browser bench; do
    [ ! -d "$tests/$folder" ] || cp -r "$tests/$folder" "$to/tests/$folder"
done
