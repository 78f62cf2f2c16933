#!/bin/bash
# Whole programs under a sanitizer, those of one VARIANT: recorded exchanges, kubectl's transcripts, OpenAPI, the
# comparison with etcd, the simulator and every end-to-end test. Whatever a sanitizer reports, from any process however
# it ended, fails the run; so does a leak in one that ended in good order. Programs that tests kill with -9 say nothing.
# usage: test/sanitized.sh asan|tsan BIN_DIR BUILD_DIR FACTS [PART...]
#   PART: sim, replay, openapi, kubectl, etcd (etcd:PATTERN some of its cases), e2e (all of them) or the name of one
#   end-to-end test (test_auth.sh, auth)
# REPORTS=FOLDER keeps the reports; SIM_SEEDS is how many simulated clusters there are.
set -u
variant=${1:?usage: sanitized.sh asan|tsan BIN_DIR BUILD_DIR FACTS [PART...]} bin=$2 build=$3 facts=$4
shift 4
[ $# -gt 0 ] || set -- sim replay openapi kubectl etcd e2e
here=$(cd "$(dirname "$0")" && pwd)
case $variant in
asan) flags=-fsanitize=address,undefined ;;
tsan) flags=-fsanitize=thread ;;
*) echo "sanitized.sh: $variant is none of asan, tsan" >&2; exit 2 ;;
esac
export HOLLOW_NODES=$build/test/bench/hollow_nodes KVLOAD=$build/test/e2e/kvload/kvload CSI_HOSTPATH=$build/test/e2e/csi/csi-hostpath DRA_DRIVER=$build/test/e2e/dra/dra-driver DEVICE_PLUGIN=$build/test/e2e/device/device-plugin KMS_PLUGIN=$build/test/e2e/kms/kms-plugin LOGIND_FAKE=$build/test/e2e/logind/fake-logind
# `trireme up` looks for it beside the programs, where it is only in an ordinary build.
export TRIREME_SHARE=$here/../deploy
# How many times longer than usual tests wait for what takes processor time; 1 in every other run.
export SLOWDOWN=${SLOWDOWN:-4}
work=$(mktemp -d /tmp/trireme-sanitized-XXXXXX)
chmod 755 "$work"
cp "$here/tsan.supp" "$work/tsan.supp"
chmod 644 "$work/tsan.supp" # Some tests run programs as an ordinary user, who may not read the checkout.
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
passed=0 failed=0

# reports_to FOLDER: where programs that are started from now on report to. gcc's UBSan writes to standard error whatever it
# is told, and makes ASan forget its own path when theirs differ: it aborts, and ASan reports that, with the stack.
reports_to() {
    mkdir -p "$1"
    chmod 1777 "$1"
    export ASAN_OPTIONS=detect_leaks=1:handle_abort=1:log_path=$1/report
    export UBSAN_OPTIONS=halt_on_error=1:abort_on_error=1:print_stacktrace=1:log_path=$1/report
    export TSAN_OPTIONS=halt_on_error=0:second_deadlock_stack=1:suppressions=$work/tsan.supp:log_path=$1/report
}

# A program that does what each sanitizer is for: proof that reports come out where they are looked for.
canary() {
    local what
    cat >"$work/canary.c" <<'C'
#include <pthread.h>
#include <stdlib.h>
static int shared;
static void *touch(void *arg)
{
    shared++;
    return arg;
}
int main(int argc, char **argv)
{
    char *volatile p = malloc(8);
    switch (argc > 1 ? argv[1][0] : ' ') {
    case 'l':
        p = NULL;
        return 0;
    case 'o':
        p[8] = 1;
        break;
    case 'u':
        shared = (1 << 30) * (argc + 8);
        break;
    case 'r': {
        pthread_t t;
        pthread_create(&t, NULL, touch, NULL);
        shared++;
        pthread_join(t, NULL);
        break;
    }
    }
    free(p);
    return 0;
}
C
    # shellcheck disable=SC2086
    ${CC:-cc} -O0 -g $flags -pthread "$work/canary.c" -o "$work/canary" || exit 1
    for what in $([ "$variant" = asan ] && echo leak overflow undefined || echo race); do
        reports_to "$work/canary.$what"
        "$work/canary" "$what" >/dev/null 2>&1
        if [ -n "$(ls "$work/canary.$what")" ]; then passed=$((passed + 1)); else
            failed=$((failed + 1)); echo "  FAIL  $variant: a planted $what was not reported"; fi
    done
}

# running FOLDER: our programs that report to it, one a line.
running() {
    local p exe
    for p in $(grep -ls "log_path=$1/report" /proc/[0-9]*/environ); do
        exe=$(readlink "${p%/environ}/exe" 2>/dev/null)
        case $exe in */trireme*) echo "${exe% (deleted)}" ;; esac
    done
}
# Daemons that a test has told to end may still be looking for leaks.
all_ended() {
    local end=$((SECONDS + 60))
    while [ $SECONDS -lt $end ]; do
        [ -n "$(running "$1")" ] || return 0
        sleep 0.2
    done
    echo "  FAIL  $variant: programs run on: $(running "$1" | sort | uniq -c | tr -s ' \n' ' ')"
    return 1
}

part() { # NAME COMMAND...: a suite that closes with "N passed, M failed"
    local name=$1 line rc p f report shown kind start=$SECONDS; shift
    local folder=${REPORTS:-$work}/$variant.${name%.sh}
    rm -rf "$folder"
    reports_to "$folder"
    "$@" >"$work/log" 2>&1
    rc=$?
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$work/log" | tail -n 1)
    p=${line%% passed*} f=${line#*, } f=${f%% failed*}
    [ -n "$line" ] || { p=0 f=1; }
    [ "$rc" = 0 ] || [ "$f" != 0 ] || f=1
    # A part may leave itself out aloud, when what it needs is not there.
    grep '^ *left out: ' "$work/log" && [ -z "$line" ] && [ "$rc" = 0 ] && f=0
    shown=" "
    all_ended "$folder" || f=$((f + 1))
    for report in "$folder"/*; do
        [ -e "$report" ] || continue
        f=$((f + 1))
        kind=$(grep -h '^SUMMARY' "$report" | sort -u | cksum)
        case $shown in *" $kind "*) continue ;; esac # Once, however many programs say it.
        shown="$shown$kind "
        echo "  FAIL  $variant: a report in $name"
        head -n 60 "$report"
    done
    echo "  $([ "$f" = 0 ] && echo "ok   " || echo "FAIL ") $variant: $name ($p, $((SECONDS - start)) s)"
    [ "$f" = 0 ] || grep -vE '^  (ok|new) ' "$work/log" | tail -n 60
    [ -z "${REPORTS:-}" ] || cp "$work/log" "$folder.log"
    passed=$((passed + p)) failed=$((failed + f))
}

end_to_end() { part "$1" "$here/e2e/run.sh" "$bin" "$1"; }

canary
for suite in "$@"; do
    case $suite in
    replay) part replay "$here/replay/run.py" --bin "$bin" --facts "$facts" ;;
    kubectl) part kubectl "$here/replay/kubectl.py" --bin "$bin" --facts "$facts" ;;
    openapi) part openapi "$here/replay/openapi.py" --bin "$bin" --facts "$facts" ;;
    etcd) part etcd "$here/etcd/run.py" --bin "$bin" ;;
    etcd:*) part "${suite//[:*]/.}" "$here/etcd/run.py" --bin "$bin" "${suite#etcd:}" ;;
    sim)
        for p in "$build"/test/sim/sim_*; do
            [ -x "$p" ] && [ ! -d "$p" ] && part "$(basename "$p")" "$p"
        done ;;
    e2e) for t in "$here"/e2e/test_*.sh; do end_to_end "$(basename "$t")"; done ;;
    *)
        suite=test_${suite#test_} suite=${suite%.sh}.sh
        [ -x "$here/e2e/$suite" ] || { echo "sanitized.sh: no part $suite" >&2; exit 2; }
        end_to_end "$suite" ;;
    esac
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
