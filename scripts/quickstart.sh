#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Installs what is missing, builds pmxcfs, starts it in local mode on a directory of its own, fills it
# with a small example, and shows it. Can be run again and again; "quickstart.sh stop" ends it.
set -eu
place=${PMXCFS_QUICKSTART_DIR:-/var/tmp/pmxcfs-quickstart}
case $place in
/*) ;;
*) place=$PWD/$place ;;
esac
cd "$(dirname "$0")/.."

pve=$place/pve
pid_file=$place/run.pid
# A name of its own for each place, since no two daemons can share one.
socket=pmxcfs-quickstart
[ -z "${PMXCFS_QUICKSTART_DIR:-}" ] || socket=$socket-$(printf %s "$place" | cksum | cut -d ' ' -f 1)

[ "$(id -u)" = 0 ] || {
    echo "error: mounting needs root; please run this as root" >&2
    exit 1
}

running() {
    [ -s "$pid_file" ] && [ "$(readlink "/proc/$(cat "$pid_file" 2>/dev/null)/exe" 2>/dev/null | xargs -r basename)" = pmxcfs ]
}

stop() {
    running || return 0
    kill "$(cat "$pid_file")"
    while running; do sleep 0.1; done
}

if [ "${1:-}" = stop ]; then
    running || echo "nothing of quickstart.sh runs in $place"
    stop
    exit 0
fi

# What the user has to write for a path, and before the stop of a place of one's own.
quoted() { printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")"; }
own=
[ -z "${PMXCFS_QUICKSTART_DIR:-}" ] || own="PMXCFS_QUICKSTART_DIR=$(quoted "$place") "

scripts/install-dependencies.sh build
[ -f build/build.ninja ] || meson setup build -Dtests=false >/dev/null
ninja -C build pmxcfs src/ctl/pmxcfsctl

stop
mkdir -p "$place"
build/pmxcfs --local --mountpoint "$pve" --state-dir "$place/state" --run-dir "$place/run" --rrd-dir "$place/rrd" \
    --socket-name "$socket" --nodename alpha --address 192.0.2.10

# Two nodes, their guests, shared configuration, and a lock that somebody holds. The guests may have
# been moved since the last time, and an id can be used only once.
rm -f "$pve"/nodes/*/*/100.conf "$pve"/nodes/*/*/101.conf "$pve"/nodes/*/*/200.conf
mkdir -p "$pve/nodes/alpha/qemu-server" "$pve/nodes/alpha/lxc" "$pve/nodes/beta/qemu-server" "$pve/nodes/beta/lxc"
cat >"$pve/datacenter.cfg" <<END
keyboard: de
migration: secure
END
cat >"$pve/storage.cfg" <<END
dir: local
	path /var/lib/vz
	content iso,vztmpl,backup

nfs: shared
	server 192.0.2.50
	export /export/guests
	path /mnt/pve/shared
	content images,rootdir
END
cat >"$pve/nodes/alpha/qemu-server/100.conf" <<END
name: web
cores: 2
memory: 4096
net0: virtio=BC:24:11:00:01:00,bridge=vmbr0
scsi0: shared:100/vm-100-disk-0.qcow2,size=32G
END
cat >"$pve/nodes/alpha/lxc/101.conf" <<END
hostname: dns
arch: amd64
memory: 512
rootfs: shared:101/vm-101-disk-0.raw,size=4G
END
cat >"$pve/nodes/beta/qemu-server/200.conf" <<END
name: database
cores: 8
memory: 16384
scsi0: shared:200/vm-200-disk-0.qcow2,size=200G
END
mkdir -p "$pve/priv/lock/file-storage_cfg"

show() {
    echo
    echo "\$ $*"
    "$@"
}
cd "$pve"
show find . -type f -o -type l
show cat local/qemu-server/100.conf
show cat .vmlist
show ls priv/lock
show ls -l --time-style=long-iso .
show df .
cat <<END

pmxcfs runs (process $(cat "$pid_file")) and is mounted at $pve.
Try:  mv $pve/nodes/alpha/qemu-server/100.conf $pve/nodes/beta/qemu-server/ && cat $pve/.vmlist
      $OLDPWD/build/src/ctl/pmxcfsctl --socket-name $socket guests
Stop: $own$OLDPWD/scripts/quickstart.sh stop      (what you wrote stays in $place/state/config.db)
END
