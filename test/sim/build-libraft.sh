#!/bin/bash
# Builds libraft's core with its asserts on, from the source package of Debian's
# own build: the packaged one has them compiled out, so that a broken rule is
# silent there. For the simulator alone; nothing of it is committed or installed.
#
#   test/sim/build-libraft.sh OUTPUT_FOLDER [CFLAGS...]     makes OUTPUT_FOLDER/libraft.a
#
# Sources come through apt with a configuration of its own in a temporary folder:
# the system's lists stay as they are. LIBRAFT_SOURCE=DIR takes an unpacked tree.
set -eu
version=0.22.1
out=$(mkdir -p "$1" && cd "$1" && pwd)
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One suite's source package into $work; its original tarball is enough.
fetch() {
    local key=/usr/share/keyrings/debian-archive-keyring.gpg
    mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial"
    echo "deb-src [signed-by=$key] http://deb.debian.org/debian $1 main" >"$work/sources.list"
    local options=(-q -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=-
        -o "Dir::State=$work/state" -o Dir::State::status=/var/lib/dpkg/status
        -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update >"$work/log" 2>&1 || return 1
    (cd "$work" && apt-get "${options[@]}" source --download-only raft >>"$work/log" 2>&1) || true
    [ -e "$work/raft_$version.orig.tar.gz" ]
}

if [ -n "${LIBRAFT_SOURCE:-}" ]; then
    cp -r "$LIBRAFT_SOURCE" "$work/raft-$version"
else
    fetch bookworm-backports || fetch trixie || {
        echo "no source package of libraft $version: neither bookworm-backports nor trixie has it" >&2
        tail -n 3 "$work/log" >&2
        echo "unpack canonical/raft at v$version and give its folder as LIBRAFT_SOURCE" >&2
        exit 1
    }
    tar -xf "$work/raft_$version.orig.tar.gz" -C "$work"
    # Debian's own patches, should it ever have some.
    for packaging in "$work"/raft_"$version"-*.debian.tar.xz; do
        [ -e "$packaging" ] || continue
        tar -xf "$packaging" -C "$work/raft-$version"
        while read -r patch; do
            [ -z "$patch" ] || patch -s -d "$work/raft-$version" -p1 <"$work/raft-$version/debian/patches/$patch"
        done < <(sed 's/#.*//' "$work/raft-$version/debian/patches/series" 2>/dev/null)
    done
fi

cd "$work/raft-$version"
# What configure would write; it must be the header that everything else sees.
sed 's/@enable_v0@//' include/raft.h.in >include/raft.h
cmp -s include/raft.h /usr/include/raft.h || {
    echo "the source's raft.h is not that of the installed libraft-dev" >&2
    exit 1
}
mkdir objects
for source in src/*.c; do
    case $source in
    src/uv*.c | src/fixture.c) continue ;; # Not the pure core.
    esac
    "${CC:-cc}" -g -O1 -w -D_GNU_SOURCE -DV0_ENABLED "$@" -Iinclude -c "$source" -o "objects/$(basename "$source" .c).o"
done
ar rcs "$out/libraft.a.tmp" objects/*.o
mv "$out/libraft.a.tmp" "$out/libraft.a"
