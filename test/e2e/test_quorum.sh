#!/bin/bash
# Three control planes on loopback: writers never stop while members are killed
# with kill -9, ten times in turn. Every acknowledged write is read back.
. "$(dirname "$0")/lib.sh"
setup quorum
D=$WORK/c
ok "up with three members" up "$D" --control-planes 3 --workers 0 --loopback
KUBECONFIG_FILE=$D/kubeconfig
same "three voters" 3 sh -c "'$TRIREME' member list --kubeconfig '$D/kubeconfig' | grep -cE 'leader|voter|follower'"
TOKEN=$("$TRIREME" token --dir "$D")
ok "no acknowledged write lost over ten kills" python3 "$HERE/writers.py" --trireme "$TRIREME" --dir "$D" \
    --token "$TOKEN" --servers "https://127.0.0.1:$PORT,https://127.0.0.1:$((PORT + 5)),https://127.0.0.1:$((PORT + 10))" \
    --kills "${KILLS:-10}" --limit 3.0
cat "$D/writers.log" 2>/dev/null | tail -n 3
for h in cp-1 cp-2 cp-3; do "$TRIREME" host kill $h --dir "$D"; done
for h in cp-1 cp-2 cp-3; do "$TRIREME" host start $h --dir "$D"; done
eventually 30 "all members killed at once, all back" k get --raw /readyz
ok "everything is still there" python3 "$HERE/writers.py" --verify --dir "$D" --token "$TOKEN" --servers "https://127.0.0.1:$PORT"
finish
