#!/bin/bash
# Runs the end-to-end tests one after another and adds up their closing lines.
# usage: test/e2e/run.sh BIN_DIR [TEST...]
set -u
export BIN=${1:?usage: run.sh BIN_DIR [TEST...]}
shift
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- test_*.sh
passed=0 failed=0
for t in "$@"; do
    out=$(mktemp)
    ./"$(basename "$t")" 2>&1 | tee "$out"
    rc=${PIPESTATUS[0]}
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$out" | tail -n 1)
    rm -f "$out"
    p=${line%% passed*} f=${line#*, } f=${f%% failed*}
    if [ -z "$line" ]; then p=0 f=1; echo "  FAIL  $t gave no closing line"; fi
    if [ "$rc" != 0 ] && [ "$f" = 0 ]; then f=1; fi
    passed=$((passed + p)) failed=$((failed + f))
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
