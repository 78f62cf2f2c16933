#!/bin/sh
# Holds the compiled schema against the fact tables: every field, number, name and label.
# usage: test/replay/schema.sh OUTPUT_FOLDER   (the facts come from $TRIREME_FACTS)
set -eu
cd "$(dirname "$0")/../.."
facts=${TRIREME_FACTS:?}
parity=$facts/../tools/schema_parity.py
if [ ! -f "$parity" ]; then
    echo "left out: schema parity, since there are no facts in $facts"
    exit 0
fi
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
passed=0 failed=0
check() { # check SET DESCRIPTORS [ARGS...]
    if python3 "$parity" --quiet --facts "$facts" --set "$1" --descriptors "$2" >"$out/log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1)); cat "$out/log"
    fi
    tail -n 1 "$out/log"
}
descriptors() { # descriptors FILE PROTOS...
    file=$1; shift
    protoc -Iproto -I/usr/include --include_imports --descriptor_set_out="$file" "$@"
}
# shellcheck disable=SC2046
descriptors "$out/all.pb" $(find proto -name '*.proto' ! -path '*/trireme/*' | sort)
check k8s "$out/all.pb"
# The tool trips over the rows of messages without fields, which have no number: leave them out.
for set in cri etcd; do
    mkdir -p "$out/facts/$set"
    awk -F '\t' 'NR == 1 || $3 != ""' "$facts/$set/fields.tsv" >"$out/facts/$set/fields.tsv"
    facts=$out/facts check "$set" "$out/all.pb"
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
