#!/bin/sh
# Builds the images that a cluster without a registry needs, as docker-archive tars:
#   OUTDIR/pause.tar     trireme.local/pause:1             the pod sandbox
#   OUTDIR/busybox.tar   docker.io/library/busybox:latest  a shell for tests and demos
# The same inputs give the same bytes. Import: ctr -n k8s.io images import FILE
# usage: deploy/images/build.sh OUTDIR
set -eu
umask 022
[ $# = 1 ] || { echo "usage: $0 OUTDIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

case $(uname -m) in
x86_64) arch=amd64 ;;
aarch64) arch=arm64 ;;
armv7l) arch=arm ;;
*) arch=$(uname -m) ;;
esac

# Archives FOLDER as FILE; owners, order and times do not depend on the machine.
archive() {
    tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=ustar -C "$2" -cf "$1" .
}

# image NAME TAG ROOTFS CONFIG-JSON
image() {
    dir=$work/$1.image
    mkdir "$dir"
    archive "$work/$1.layer" "$3"
    layer=$(sha256sum "$work/$1.layer" | cut -d' ' -f1)
    mv "$work/$1.layer" "$dir/$layer.tar"
    printf '{"architecture":"%s","config":%s,"created":"1970-01-01T00:00:00Z","os":"linux","rootfs":{"diff_ids":["sha256:%s"],"type":"layers"}}' \
        "$arch" "$4" "$layer" >"$work/config"
    config=$(sha256sum "$work/config" | cut -d' ' -f1)
    mv "$work/config" "$dir/$config.json"
    printf '[{"Config":"%s.json","RepoTags":["%s"],"Layers":["%s.tar"]}]' "$config" "$2" "$layer" >"$dir/manifest.json"
    archive "$out/$1.tar.tmp" "$dir"
    mv "$out/$1.tar.tmp" "$out/$1.tar"
}

mkdir "$work/pause"
${CC:-cc} -Os -static -s -Wall -Wextra -Wl,--build-id=none -o "$work/pause/pause" "$here/pause.c"
image pause trireme.local/pause:1 "$work/pause" '{"Entrypoint":["/pause"],"Env":["PATH=/"],"User":"65535:65535"}'

busybox=$(command -v busybox) || { echo "build.sh: busybox (package busybox-static) is not installed" >&2; exit 1; }
root=$work/busybox
mkdir -p "$root/bin" "$root/etc" "$root/home" "$root/root" "$root/tmp" "$root/usr/bin" "$root/usr/sbin" \
    "$root/var/spool/mail" "$root/var/www"
chmod 1777 "$root/tmp"
chmod 700 "$root/root"
cp "$busybox" "$root/bin/busybox"
chmod 755 "$root/bin/busybox"
"$busybox" --list | while read -r applet; do
    [ "$applet" = busybox ] || ln "$root/bin/busybox" "$root/bin/$applet"
done
printf 'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n' >"$root/etc/passwd"
printf 'root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\n' >"$root/etc/group"
printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$root/etc/nsswitch.conf"
image busybox docker.io/library/busybox:latest "$root" \
    '{"Cmd":["sh"],"Env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}'
