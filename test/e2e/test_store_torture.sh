#!/bin/bash
# Three members of the store as processes under load: each of the rounds does the
# worst there is to one or more of them, see store_torture.py. Ten rounds here;
# test/soak.sh runs a hundred. TORTURE_SEED repeats a run.
set -u
here=$(cd "$(dirname "$0")" && pwd)
kvload=${KVLOAD:-$BIN/../release/test/e2e/kvload/kvload}
if [ ! -x "$kvload" ]; then
    echo "  FAIL  store torture: $kvload is missing (make kvload)"
    echo "0 passed, 1 failed"
    exit 1
fi
exec "$here/store_torture.py" --program "$BIN/trireme-raftstore" --kvload "$kvload" --rounds "${TORTURE_ROUNDS:-10}" \
    --away-s 4 --limit "${TORTURE_LIMIT:-170}" --seed "${TORTURE_SEED:-$RANDOM}"
