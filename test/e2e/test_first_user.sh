#!/bin/bash
# What somebody who is new does by mistake: wrong words, files and folders, programs killed, things removed by hand. Each is
# told in one line that says what to do, ends with a code that scripts understand, and leaves nothing half done.
. "$(dirname "$0")/lib.sh"
setup first-user

# told NAME CODE TEXT COMMAND...: ends with that code, saying that; in few lines, and in time.
told() {
    local name=$1 want=$2 text=$3 out rc; shift 3
    out=$(timeout $((20 * SLOWDOWN)) "$@" 2>&1 </dev/null)
    rc=$?
    case $rc:$out in
    "$want":*"$text"*) [ "$(wc -l <<<"$out")" -le 3 ] && pass "$name" || fail "$name (many lines)" "$out" ;;
    *) fail "$name" "want $want: $text"$'\n'"got  $rc: $out" ;;
    esac
}

# --- a cluster of namespaces, and what is removed by hand ------------------------------------------------------------------
if [ "$(id -u)" = 0 ]; then
    N=$WORK/n KUBECONFIG_FILE=$WORK/n/kubeconfig
    remains() {
        grep -q "$WORK/n/\|/run/trireme-$PORT/" /proc/mounts || [ -e "/sys/class/net/trb$PORT" ] || [ -e "/run/trireme-$PORT" ] ||
            compgen -G "/sys/fs/cgroup*/trireme-$PORT-*" || compgen -G "/sys/fs/cgroup/*/trireme-$PORT-*" || compgen -G "/run/netns/trireme-$PORT-*"
    }
    ok "a cluster with a node" up "$N" --workers 1
    # shellcheck disable=SC2016
    with_busybox >"$WORK/pod.yaml" <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: busybox, command: [sleep, "100000"]}]}
YAML
    eventually 60 "service account" k get serviceaccount default
    ok "a pod" k create -f "$WORK/pod.yaml"
    eventually 60 "runs" is pod/p .status.phase Running
    told "another cluster on its port" 1 "--base-port: $PORT belongs to the cluster in $N; \`trireme down --dir $N\` ends that one" \
        "$TRIREME" up --dir "$WORK/other" --base-port "$PORT"
    ok "which goes on" is pod/p .status.phase Running
    for f in "$N"/hosts/*/run/*.pid; do
        read -r pid _ <"$f"
        kill -9 "$pid"
    done
    no "rm -r of its folder finds mounts" rm -rf "$N"
    no "nor are its files there any more" test -e "$N/cluster.json"
    told "up again tells" 1 "\`trireme down --dir $N\` ends it" "$TRIREME" up --dir "$N" --base-port "$PORT"
    told "down ends what is left" 0 "ending what is left of it" "$TRIREME" down --dir "$N" --purge
    no "no mount, network, cgroup or folder of it is left" remains
    no "nor the folder" test -e "$N"
    told "down once more" 1 "--dir: $N does not exist" "$TRIREME" down --dir "$N"
    "$TRIREME" down --dir "$N" >/dev/null 2>&1 # Where a check above failed.
fi
finish
