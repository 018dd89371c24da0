#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# A cluster on this machine: each node in namespaces of its own, with a corosync and a pmxcfs, and a
# shell. Installs what is missing, builds, and takes everything away at its end or Ctrl-C. Needs root.
#   scripts/cluster-demo.sh [NODES]                   a shell per node (3), in tmux if there is one
#   scripts/cluster-demo.sh [NODES] --run COMMAND     runs it with sh, ends with its exit code
# COMMAND, and the shell of the host, have: node1, node2 ... [COMMAND], cut NUMBER, mend NUMBER.
set -eu
cd "$(dirname "$0")/.."

case "${1:-}" in
-h | --help)
    sed -n '3,8s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
esac
[ "$(id -u)" = 0 ] || {
    echo "error: this needs root, to make namespaces and to mount" >&2
    exit 1
}
export BUILD_DIR="${BUILD_DIR:-$PWD/build}"
scripts/install-dependencies.sh demo
[ -f "$BUILD_DIR/build.ninja" ] || meson setup "$BUILD_DIR" -Dtests=false >/dev/null
ninja -C "$BUILD_DIR" pmxcfs src/ctl/pmxcfsctl >&2
exec /usr/bin/python3 -B scripts/cluster-demo.py "$@"
