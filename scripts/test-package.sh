#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Builds the Debian package in a fresh root with nothing but its build dependencies, installs it in
# another one, boots that with systemd in namespaces, and tries the service there. Slow; needs root,
# a package mirror (this machine's) and some 2 GB in /var/tmp. Leaves nothing behind.
#   scripts/test-package.sh [SUITE...]     bookworm and trixie by default; the last line counts
# KEEP=DIRECTORY: also put the packages there.
set -eu
cd "$(dirname "$0")/.."

[ "$(id -u)" = 0 ] || {
    echo "error: this needs root" >&2
    exit 1
}
# Mounts of ours are ours alone, and end with us.
[ -n "${PMXCFS_PACKAGE_TEST:-}" ] ||
    PMXCFS_PACKAGE_TEST=1 exec unshare --mount --propagation private -- "$0" "$@"

source=$PWD
work=""
group="" # the cgroup of what is booted
booted=""
passed=0
failed=0
[ $# -gt 0 ] || set -- bookworm trixie

end() {
    trap '' INT TERM
    stop_boot
    if [ -n "$work" ]; then
        grep " $work" /proc/mounts | cut -d ' ' -f 2 | sort -r | xargs -r umount --lazy
        rm -rf --one-file-system "$work"
    fi
}
trap end EXIT
trap 'exit 130' INT TERM

install_tools() {
    local package missing=""
    for package in debootstrap lintian iproute2; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
    done
    [ -z "$missing" ] && return
    apt-get -qq update
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing >/dev/null
}

# What this machine's apt uses for Debian itself, whatever its suite.
mirror() {
    apt-get indextargets --format '$(SITE) $(ORIGIN) $(LABEL) $(COMPONENT)' 'Created-By: Packages' |
        awk '$2 == "Debian" && $3 == "Debian" && $4 == "main" { print $1; exit }'
}

# --- Roots ---

make_base() { # SUITE
    local url
    url=$(mirror)
    [ -n "$url" ] || {
        echo "error: apt is configured with no mirror of Debian" >&2
        exit 1
    }
    debootstrap --variant=minbase --include=ca-certificates,systemd,systemd-sysv,dbus,procps "$1" "$work/base" "$url" \
        >"$work/debootstrap.log" 2>&1 || {
        tail "$work/debootstrap.log"
        exit 1
    }
    # Proxies and the like, as here.
    apt-config dump | grep '^Acquire::http' >"$work/base/etc/apt/apt.conf.d/90test" || true
    cp /etc/resolv.conf "$work/base/etc/resolv.conf"
    # Nothing starts while packages are installed.
    printf '#!/bin/sh\nexit 101\n' >"$work/base/usr/sbin/policy-rc.d"
    chmod +x "$work/base/usr/sbin/policy-rc.d"
}

make_root() { # NAME: a copy of the base that can be written
    local root=$work/$1
    mkdir -p "$root" "$work/$1.upper" "$work/$1.work"
    mount -t overlay -o "lowerdir=$work/base,upperdir=$work/$1.upper,workdir=$work/$1.work" overlay "$root"
}

in_root() { # ROOT COMMAND...
    local root=$work/$1
    shift
    unshare --mount --pid --fork --kill-child sh -ec '
        mount -t proc proc "$1/proc"; mount --bind /dev/null "$1/dev/null"
        root=$1; shift; exec chroot "$root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
            DEBIAN_FRONTEND=noninteractive "$@"' sh "$root" "$@"
}

build_package() {
    make_root build
    mkdir -p "$work/build/src/pmxcfs"
    git -C "$source" ls-files -z | (cd "$source" && xargs -0 cp --parents -t "$work/build/src/pmxcfs")
    in_root build sh -ec '
        apt-get -qq update
        cd /src/pmxcfs
        apt-get -qq install -y --no-install-recommends dpkg-dev build-essential fakeroot >/dev/null
        apt-get -qq build-dep -y --no-install-recommends ./ >/dev/null
        dpkg-buildpackage -b -uc -us' >"$work/build.log" 2>&1 || {
        tail -n 40 "$work/build.log"
        return 1
    }
    cp "$work"/build/src/*.deb "$work"/build/src/*.changes "$work/build/src"/*.buildinfo "$work/"
    [ -z "${KEEP:-}" ] || cp "$work"/*.deb "$KEEP/"
}

# --- A booted root ---

boot() { # ROOT
    local unified
    unified=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
    group=$unified/pmxcfs-package-$$
    mkdir "$group"
    unshare --mount --pid --net --uts --ipc --fork --kill-child bash -ec '
        echo 0 >"$2/cgroup.procs"
        exec unshare --cgroup bash -ec "$3" bash "$1"' bash "$work/$1" "$group" "$(declare -f become_system); become_system \"\$1\"" \
        >"$work/console.log" 2>&1 </dev/null &
    booted=$!
    wait_until "systemd has booted" started
}

# Process 1 of the new namespaces turns into the root's systemd.
become_system() {
    cd "$1"
    mount --rbind "$1" "$1"
    cd "$1"
    mount -t proc proc proc
    mount -t sysfs -o ro sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount -t tmpfs -o mode=0755 tmpfs dev
    mkdir dev/pts dev/shm
    for node in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0" "fuse 10 229"; do
        set -- $node
        mknod -m 0666 "dev/$1" c "$2" "$3"
    done
    mknod -m 0600 dev/console c 1 3
    mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
    ln -s pts/ptmx dev/ptmx
    mount -t tmpfs -o mode=1777 tmpfs dev/shm
    mount -t tmpfs -o mode=0755 tmpfs run
    mount -t tmpfs -o mode=1777 tmpfs tmp
    ip link set lo up
    ip address add 192.0.2.1/32 dev lo
    hostname alpha
    mkdir -p mnt
    pivot_root . mnt
    umount --lazy /mnt
    exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /sbin/init
}

init_process() { # process 1 of the booted root, by its number here
    pgrep --parent "$booted" | head -n 1
}

inside() { # COMMAND...
    nsenter --target "$(init_process)" --mount --pid --net --uts --ipc --cgroup --root --wdns=/ \
        env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"
}

started() {
    case $(inside systemctl is-system-running 2>/dev/null) in running | degraded) ;; *) return 1 ;; esac
}

stop_boot() {
    [ -n "$booted" ] || return 0
    kill -KILL "$booted" 2>/dev/null || true # takes all of its pid namespace along
    wait "$booted" 2>/dev/null || true
    booted=""
    wait_until "its cgroup is empty" sh -c "! grep -q 1 '$group/cgroup.events' 2>/dev/null || grep -q 'populated 0' '$group/cgroup.events'"
    find "$group" -depth -type d -exec rmdir {} \;
}

wait_until() { # WHAT COMMAND...
    local what=$1 end=$((SECONDS + 120))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || {
            echo "waited in vain: $what"
            return 1
        }
        sleep 0.1
    done
}

# --- What is tried ---

check() { # WHAT COMMAND...
    local what=$1
    shift
    if "$@" >"$work/check.log" 2>&1; then
        echo "  ok: $what"
        passed=$((passed + 1))
    else
        echo "  FAILED: $what"
        tail -n 20 "$work/check.log" | sed 's/^/    /'
        [ -z "$booted" ] || inside journalctl -b --no-pager -n 20 | sed 's/^/    | /'
        failed=$((failed + 1))
    fi
}

lint() { # no error, whatever else it has to say
    lintian --fail-on error --allow-root "$work"/*.changes
}

install_package() {
    cp "$work"/pmxcfs_*.deb "$work/system/root/"
    in_root system sh -ec '
        apt-get -qq update
        apt-get -qq install -y --no-install-recommends /root/pmxcfs_*.deb corosync sqlite3 >/dev/null
        echo 192.0.2.1 alpha >/etc/hosts
        echo alpha >/etc/hostname
        rm -f /etc/corosync/corosync.conf'
}

pve_is_mounted() { inside findmnt --types fuse.pmxcfs,fuse /etc/pve; }
has_journal() { inside journalctl -b -t pmxcfs --no-pager | grep -q "$1"; }
brought_in() { inside journalctl -b -u pmxcfs --no-pager -o cat | grep 'changes brought in'; }
no_namespace() {
    [ "$(inside sh -c 'readlink /proc/$(systemctl show --value -p MainPID pmxcfs)/ns/mnt')" = "$(inside readlink /proc/1/ns/mnt)" ]
}
file_says() { [ "$(inside cat "$1")" = "$2" ]; }
main_process() { inside systemctl show --value -p MainPID "$1"; }

restarts_after_kill() { # UNIT
    local before
    before=$(main_process "$1")
    inside kill -KILL "$before"
    wait_until "$1 runs again" sh_new_process "$1" "$before"
    [ "$(inside systemctl show --value -p NRestarts "$1")" -ge 1 ]
}
sh_new_process() { # UNIT OLD
    local now
    now=$(main_process "$1")
    [ "$now" != "$2" ] && [ "$now" != 0 ] && inside systemctl --quiet is-active "$1"
}

not() { ! "$@"; }
no_process() { [ "$(inside pgrep --count pmxcfs)" = 0 ]; }
one_guard() { [ "$(inside pgrep --count pmxcfs-guard)" = 1 ]; }
group_reads() { inside setpriv --reuid www-data --regid www-data --clear-groups cat /etc/pve/note; }
group_may_not() { ! inside setpriv --reuid www-data --regid www-data --clear-groups ls /etc/pve/priv; }
logged_once() { [ "$(inside journalctl -b --no-pager -o cat | grep -c 'pmxcfs is ready')" = 1 ]; }
bad_option_is_told() {
    inside sh -c 'echo PMXCFS_OPTIONS=--nonsense >/etc/default/pmxcfs; systemctl start pmxcfs' && return 1
    inside journalctl -b -u pmxcfs --no-pager | grep -q nonsense
    inside sh -c 'rm /etc/default/pmxcfs; systemctl reset-failed pmxcfs'
}

metrics_come() {
    inside bash -c 'exec 3<>/dev/tcp/127.0.0.1/9787 && printf "GET /metrics HTTP/1.0\r\n\r\n" >&3 && grep -q "^pmxcfs_database_ok 1" <&3' 2>/dev/null
}

try_local() {
    check "the installation starts nothing" sh -c "! test -e '$work/system/var/lib/pve-cluster'"
    check "the unit verifies" inside systemd-analyze verify --man=no pmxcfs.service
    echo "  $(inside systemd-analyze security --no-pager pmxcfs.service | tail -n 1)"
    check "a bad option is told and not tried again" bad_option_is_told
    check "the service starts" inside systemctl start pmxcfs
    check "it is mounted for all to see" pve_is_mounted
    check "it has the host's mount namespace" no_namespace
    check "every message is in the journal once" logged_once
    check "files can be written" inside sh -c 'mkdir -p /etc/pve/priv && echo hello >/etc/pve/note'
    check "and read by www-data" group_reads
    check "which private ones cannot" group_may_not
    check "pmxcfsctl answers" inside pmxcfsctl versions
    check "pmxcfsctl answers www-data" inside setpriv --reuid www-data --regid www-data --clear-groups pmxcfsctl versions
    check "the metrics' unit is off" not inside systemctl --quiet is-enabled pmxcfs-metrics
    check "it verifies" inside systemd-analyze verify --man=no pmxcfs-metrics.service
    check "it starts" inside systemctl start pmxcfs-metrics
    check "and answers" wait_until "metrics come" metrics_come
    check "on loopback alone" inside sh -c "grep -i ':263B 00000000.* 0A ' /proc/net/tcp | grep -q 0100007F"
    check "it stops" inside systemctl stop pmxcfs-metrics
    check "a truncation is made with its write" inside sh -c 'for i in 1 2 3; do echo $i >/etc/pve/note; done; echo hello >/etc/pve/note'
    check "killed, it comes back" restarts_after_kill pmxcfs
    check "its journal was brought in first" brought_in
    check "with what was written" file_says /etc/pve/note hello
    check "the guard of the killed one is gone" one_guard
    check "it restarts" inside systemctl restart pmxcfs
    check "it stops" inside systemctl stop pmxcfs
    check "and has unmounted" not pve_is_mounted
    check "no process is left" no_process
    check "after a clean end" has_journal stopped
}

write_corosync_conf() { # VERSION FILE
    inside sh -ec 'mkdir -p /etc/corosync; cat >"$1"' sh "$2" <<END
totem {
    version: 2
    cluster_name: test
    config_version: $1
    transport: knet
}
nodelist {
    node {
        name: alpha
        nodeid: 1
        quorum_votes: 1
        ring0_addr: 192.0.2.1
    }
}
quorum {
    provider: corosync_votequorum
}
logging {
    to_syslog: yes
}
END
}

can_write() { inside sh -c 'touch /etc/pve/note && rm /etc/pve/note' 2>/dev/null; }
corosync_reads() { inside corosync-cmapctl -g totem.config_version | grep -q "= $1\$"; }

try_cluster() {
    inside rm -rf /var/lib/pve-cluster
    write_corosync_conf 1 /etc/corosync/corosync.conf
    check "the service starts with a corosync.conf" inside systemctl start corosync pmxcfs
    check "the node gets quorum and writes" wait_until "a write succeeds" can_write
    write_corosync_conf 2 /etc/pve/corosync.conf.new
    check "corosync.conf is replaced" inside mv /etc/pve/corosync.conf.new /etc/pve/corosync.conf
    check "and corosync told to read it" wait_until "corosync reads it" corosync_reads 2
    check "it stops in a cluster" inside systemctl stop pmxcfs
    inside systemctl stop corosync
    inside rm -rf /var/lib/pve-cluster /etc/corosync/corosync.conf
}

# A package in the place of pve-cluster: same names of files and service, and for its daemon a copy of ours.
make_other_package() {
    local tree=$work/other
    mkdir -p "$tree/DEBIAN" "$tree/usr/bin" "$tree/usr/share/man/man8" "$tree/usr/lib/systemd/system"
    cp "$work/system/usr/sbin/pmxcfs" "$tree/usr/bin/pmxcfs"
    echo other | gzip -n >"$tree/usr/share/man/man8/pmxcfs.8.gz"
    printf '[Service]\nType=forking\nPIDFile=/run/pve-cluster.pid\nExecStart=/usr/bin/pmxcfs\nRestart=on-failure\n' \
        >"$tree/usr/lib/systemd/system/pve-cluster.service"
    printf 'Package: pve-cluster\nVersion: 1\nArchitecture: all\nMaintainer: test <test@localhost>\nDescription: test\n' \
        >"$tree/DEBIAN/control"
    dpkg-deb --build "$tree" "$work/system/root/pve-cluster.deb" >/dev/null
}

runs() { # PROGRAM: pve-cluster's main process is that one
    [ "$(inside sh -c 'readlink /proc/$(systemctl show --value -p MainPID pve-cluster)/exe')" = "$1" ]
}

try_beside_another() {
    check "pve-cluster can be installed beside it" inside dpkg --install /root/pve-cluster.deb
    inside systemctl daemon-reload
    check "whose daemon runs" inside systemctl start pve-cluster
    inside sh -c 'echo before >/etc/pve/note'
    check "migration.md: a copy of the database is taken" migrate "## Before" "## One node"
    check "migration.md: the drop-in is put in place" migrate "## One node" "Both keep"
    check "the drop-in verifies" inside systemd-analyze verify --man=no pve-cluster.service
    check "a restart changes over" inside systemctl restart pve-cluster
    check "to this daemon" runs /usr/sbin/pmxcfs
    check "with all that was there" file_says /etc/pve/note before
    check "killed, it comes back" restarts_after_kill pve-cluster
    inside sh -c 'echo after >/etc/pve/note'
    check "migration.md: the drop-in is taken away" migrate "## Back" "Nothing is to be"
    check "and back" inside systemctl restart pve-cluster
    check "to the other" runs /usr/bin/pmxcfs
    check "with all that was there" file_says /etc/pve/note after
    inside systemctl stop pve-cluster
}

try_removal() {
    inside systemctl start pmxcfs
    # Here it may end what runs.
    inside rm -f /usr/sbin/policy-rc.d
    check "the package is purged" inside apt-get -qq purge -y pmxcfs
    check "and has stopped its service" no_process
    check "the database stays" inside test -s /var/lib/pve-cluster/config.db
    check "the other's manual page is back" inside sh -c 'zcat /usr/share/man/man8/pmxcfs.8.gz | grep -qx other'
    check "nothing else of it is left" inside sh -c '! find / -xdev -path /root -prune -o -name "*pmxcfs*" -print |
        grep -v -e "^/usr/bin/pmxcfs" -e "^/usr/share/man/man8/pmxcfs.8.gz" -e "^/var/lib/pve-cluster/" -e "^/etc/systemd/system/" | grep .'
}

# --- What the documentation says is typed ---

# The commands of a page between two lines, without prompts and output: `PROMPT` is what a command begins with, nothing for
# indented lines that are all commands.
typed() { # PAGE FROM TO PROMPT
    awk -v from="$2" -v to="$3" -v prompt="$4" '
        index($0, to) == 1 { on = 0 }
        on && prompt != "" && match($0, "^ +" prompt) { print substr($0, RLENGTH + 1) }
        on && prompt == "" && /^    / { print }
        index($0, from) == 1 { on = 1 }' "$source/$1"
}

# README, "Five minutes": in the root with the build dependencies, from a copy of the sources.
walk_through_readme() {
    local commands
    # People type slower than a program in the background starts.
    commands=$(typed README.md "## Five minutes" "\`./scripts/quickstart.sh stop\`" '[$] ' | sed 's/&$/\&\nsleep 1/')
    in_root build sh -ec '
        mknod -m 0666 /dev/fuse c 10 229; mkdir -p /dev/shm; mount -t tmpfs tmpfs /dev/shm
        rm -rf /src/fresh; cp -a /src/pmxcfs /src/fresh; cd /src/fresh; rm -rf obj-* debian/pmxcfs
        ./scripts/quickstart.sh
        printf "%s\n" "$1" "sleep 1" "kill %1" >walk; bash -e walk
        cd /src/fresh; ./scripts/quickstart.sh stop' sh "$commands" >"$work/walk.log" 2>&1 || {
        tail -n 20 "$work/walk.log"
        return 1
    }
    walked '100  qemu    beta' '"operation":"write","path":"note","size":3' 'local -> nodes/alpha'
}

# True if all of these stand in what the walk printed; else says which does not.
walked() {
    local text
    for text in "$@"; do
        grep -qe "$text" "$work/walk.log" && continue
        tail -n 40 "$work/walk.log"
        echo "not there: $text"
        return 1
    done
}

# doc/standalone.md on one node: what needs a second one is typed on the same.
write_standalone_files() {
    typed doc/standalone.md "That starts nothing." "- The mount point" "" | sed 's/^ *//' >"$work/system.default"
    inside sh -c 'cat >/etc/default/pmxcfs' <"$work/system.default"
    write_corosync_conf 1 /etc/corosync/corosync.conf
}

shared_members() { inside pmxcfsctl --socket-name shared members | grep -q 'alpha  *1  online'; }

walk_through_standalone() {
    local commands
    commands=$(typed doc/standalone.md "## 4. Use it" "A new node" '[a-z]+#  *' | grep -v -e 'changes --since' -e '^corosync-cmapctl')
    inside bash -c "$commands" >"$work/walk.log" 2>&1
    grep -qx hello "$work/walk.log" && grep -qx mine "$work/walk.log" && grep -q 'File exists' "$work/walk.log" &&
        wait_until "corosync reads the new configuration" corosync_reads 2
}

standalone_feed() { inside timeout 5 pmxcfsctl --socket-name shared changes --since 0 | grep -q '"path":"motd","size":6'; }

try_standalone() {
    write_standalone_files
    inside systemctl start corosync
    check "standalone.md: the service is enabled and starts" inside systemctl enable --now pmxcfs
    check "standalone.md: the node is a member" wait_until "it is a member" shared_members
    check "standalone.md: what is typed works" walk_through_standalone
    check "standalone.md: the feed tells it" standalone_feed
    check "standalone.md: a backup is made" inside pmxcfsctl backup --database /var/lib/shared/config.db /root/shared.db
    check "standalone.md: it stops" inside systemctl disable --now pmxcfs
    inside systemctl stop corosync
    inside rm -rf /var/lib/shared /etc/default/pmxcfs /etc/corosync/corosync.conf
}

# doc/migration.md, beside the other daemon: whether a copy of the database is taken; to this daemon; and back.
migrate() { # FROM TO
    local commands
    commands=$(typed doc/migration.md "$1" "$2" "" | grep -v -e 'systemctl restart' -e 'apt purge')
    [ -n "$commands" ] && inside bash -ec "$commands"
}

try_suite() { # SUITE
    echo "=== $1"
    work=$(mktemp -d "/var/tmp/pmxcfs-package.XXXXXX")
    make_base "$1"
    check "the package builds from its build dependencies alone" build_package
    [ -n "$(ls "$work"/pmxcfs_*.deb 2>/dev/null)" ] || return 0
    check "lintian has no error" lint
    check "README.md: the five minutes work in a fresh copy" walk_through_readme
    make_root system
    check "the package is installed" install_package
    make_other_package
    boot system
    try_local
    try_cluster
    try_standalone
    try_beside_another
    try_removal
    stop_boot
    end
    work=""
}

install_tools
for suite in "$@"; do
    try_suite "$suite"
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
