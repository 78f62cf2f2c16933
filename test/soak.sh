#!/bin/bash
# The long tests: thousands of simulated clusters, long fuzzing under the
# sanitizers, a cluster under kill -9 for an hour. Bounded; stops by itself.
# usage: test/soak.sh OUTPUT_FOLDER BIN_DIR   (SOAK_SEEDS, SOAK_FUZZ_RUNS, SOAK_KILLS change the length)
set -eu
cd "$(dirname "$0")/.."
out=$1 bin=$2
seeds=${SOAK_SEEDS:-10000} fuzz=${SOAK_FUZZ_RUNS:-5000000} kills=${SOAK_KILLS:-300}
# Clusters of 3, 5, 7 and other sizes, as the seed says; prints seeds per minute.
"$out/release/test/sim/sim_replica" --seeds "$seeds"
FUZZ_RUNS=$fuzz make O="$out" check-fuzz FUZZ_RUNS="$fuzz"
BIN=$bin KILLS=$kills test/e2e/run.sh "$bin" test_quorum.sh
# The store's members as processes: three with small disks in namespaces, five that talk TLS.
kvload=${KVLOAD:-$out/release/test/e2e/kvload/kvload}
torture() {
    test/e2e/store_torture.py --program "$bin/trireme-raftstore" --kvload "$kvload" --seed "${TORTURE_SEED:-$RANDOM}" "$@"
}
torture --rounds "${SOAK_TORTURE_ROUNDS:-100}"
torture --members 5 --tls --rounds "$((${SOAK_TORTURE_ROUNDS:-100} / 3))"
