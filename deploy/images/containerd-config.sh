#!/bin/sh
# Prints a containerd configuration whose root, state and socket lie below DIR.
# restrict_oom_score_adj lets it run where the caller may not lower OOM scores.
# usage: deploy/images/containerd-config.sh DIR [CNI-CONF-DIR [CNI-BIN-DIR]]
set -eu
[ $# -ge 1 ] || { echo "usage: $0 DIR [CNI-CONF-DIR [CNI-BIN-DIR]]" >&2; exit 2; }
dir=$1 conf=${2:-$1/cni} bin=${3:-/usr/lib/cni}
cat <<TOML
version = 2
root = "$dir/root"
state = "$dir/state"
[grpc]
  address = "$dir/containerd.sock"
[ttrpc]
  address = "$dir/containerd.sock.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "trireme.local/pause:1"
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$bin"
    conf_dir = "$conf"
TOML
