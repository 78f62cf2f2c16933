#!/bin/bash
# Whole programs under a sanitizer: recorded exchanges, kubectl's transcripts and end-to-end tests on loopback, with the
# programs of one VARIANT. Whatever a sanitizer reports, from any process however it ended, fails the run.
# usage: test/sanitized.sh asan|tsan BIN_DIR KVLOAD FACTS [replay|kubectl|e2e...]
set -u
variant=${1:?usage: sanitized.sh asan|tsan BIN_DIR KVLOAD FACTS [PART...]} bin=$2 facts=$4
export KVLOAD=$3
shift 4
[ $# -gt 0 ] || set -- replay kubectl e2e
here=$(cd "$(dirname "$0")" && pwd)
reports=$(mktemp -d /tmp/trireme-sanitized-XXXXXX)
chmod 1777 "$reports" # Some tests run programs as an ordinary user, who may not read the checkout.
known=$(mktemp)
cp "$here/tsan.supp" "$known"
chmod 644 "$known"
log=$(mktemp)
trap 'rm -rf "$reports" "$log" "$known"' EXIT
trap 'exit 130' INT TERM
export ASAN_OPTIONS=detect_leaks=1:log_path=$reports/asan
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1:log_path=$reports/ubsan
export TSAN_OPTIONS=halt_on_error=0:second_deadlock_stack=1:suppressions=$known:log_path=$reports/tsan
passed=0 failed=0

part() { # NAME COMMAND...: a suite that closes with "N passed, M failed"
    local name=$1 line rc p f; shift
    "$@" >"$log" 2>&1
    rc=$?
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1)
    p=${line%% passed*} f=${line#*, } f=${f%% failed*}
    [ -n "$line" ] || { p=0 f=1; grep -q '^left out: ' "$log" && f=0; }
    [ "$rc" = 0 ] || [ "$f" != 0 ] || f=1
    echo "  $([ "$f" = 0 ] && echo "ok   " || echo "FAIL ") $variant: $name ($p)"
    [ "$f" = 0 ] || grep -vE '^  (ok|new) ' "$log" | tail -n 40
    passed=$((passed + p)) failed=$((failed + f))
}

for suite in "$@"; do
    case $suite in
    replay) part replay "$here/replay/run.py" --bin "$bin" --facts "$facts" ;;
    kubectl) part kubectl "$here/replay/kubectl.py" --bin "$bin" --facts "$facts" ;;
    e2e) part e2e "$here/e2e/run.sh" "$bin" test_loopback.sh test_audit.sh test_admission.sh test_rbac.sh test_quorum.sh test_raftstore.sh ;;
    *) echo "sanitized.sh: no part $suite" >&2; exit 2 ;;
    esac
done
for report in "$reports"/*; do
    [ -e "$report" ] || continue
    failed=$((failed + 1))
    echo "  FAIL  $variant: a report"
    head -n 60 "$report"
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
