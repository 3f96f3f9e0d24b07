# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# ./dev down: stops what `up` started in $CHARTWAY_STATE; the data stays.

# shellcheck source=dev.d/stack.sh
. "$ROOT/dev.d/stack.sh"

dev_down() {
    if [ ! -d "$RUN" ]; then
        say "nothing runs in $STATE"
        return 0
    fi
    stack_stop
    say "stopped; the data stays in $STATE"
}
