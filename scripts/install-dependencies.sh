#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Installs what is missing to build pmxcfs ("build"), to run a cluster of it on one machine ("demo"), and
# to test it ("test", the default).
# For Debian 12 and 13. Does nothing, and needs no network, if all is there.
set -eu

build="gcc libc6-dev meson ninja-build pkgconf libfuse3-dev libglib2.0-dev libsqlite3-dev libjansson-dev libmicrohttpd-dev libssl-dev zlib1g-dev libzstd-dev
libcpg-dev libquorum-dev libcmap-dev libvotequorum-dev libcorosync-common-dev libqb-dev librrd-dev libsystemd-dev libcmocka-dev"
run="util-linux sqlite3 procps"
demo="corosync iproute2 python3"
test="git clang lld clang-format clang-tidy libclang-rt-dev llvm rrdcached rrdtool python3-pytest
python3-pytest-timeout python3-prometheus-client prometheus curl openssl man-db mandoc zsh bash-completion
xz-utils liblzma-dev"

case "${1:-test}" in
build) wanted="$build $run" ;;
demo) wanted="$build $run $demo" ;;
test) wanted="$build $run $demo $test" ;;
*)
    echo "usage: $0 [build|demo|test]" >&2
    exit 2
    ;;
esac

missing=""
for package in $wanted; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
    echo "error: these packages are missing, and only root can install them:$missing" >&2
    exit 1
fi
echo "Installing:$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
# shellcheck disable=SC2086 # a list of words
apt-get -qq install -y --no-install-recommends $missing >/dev/null
