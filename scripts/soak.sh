#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Searches for faults for as long as it may (doc/testing.md). Seeds and inputs are new in every run.
#   scripts/soak.sh SECONDS [STAGE...]   the time is shared by the stages (their list is at the end)
#   scripts/soak.sh --faults COUNT       so many faults in real clusters, however long that takes
# The exit code is 0 only if nothing was found.
set -u
cd "$(dirname "$0")/.." || exit 1

usage() {
    sed -n '3,6s/^# //p' "$0"
    exit 2
}
faults=
if [ "${1:-}" = --faults ]; then
    faults=${2:-}
    [[ $faults =~ ^[1-9][0-9]*$ && $# -eq 2 ]] || usage
    set -- 0 cluster
fi
[[ ${1:-} =~ ^[0-9]+$ ]] || usage
total=$1
shift
only=("$@")
jobs=$(nproc)
found=()
names=()
commands=()

# stage NAME FUNCTION: will be called with the seconds that it may take.
stage() {
    if [ ${#only[@]} -gt 0 ] && [[ " ${only[*]} " != *" $1 "* ]]; then
        return
    fi
    names+=("$1")
    commands+=("$2")
}

# build DIRECTORY TARGET [OPTION...]
build() {
    local directory=$1 target=$2
    shift 2
    if [ ! -f "$directory/build.ninja" ]; then
        meson setup "$directory" "$@" >/dev/null || return 1
    fi
    ninja -C "$directory" "$target" >/dev/null
}

simulator() {
    build build-gcc tests/sim/sim || return 1
    build-gcc/tests/sim/sim --first "$(date +%s)000000" --seconds "$1" --jobs "$jobs"
}

# Four rounds of two targets; what they learn is kept for the next run.
fuzz() {
    CC=clang build build-fuzz fuzz -Dfuzz=true -Dtests=false -Db_lundef=false -Db_sanitize=address,undefined ||
        return 1
    FUZZ_CORPUS=build-fuzz/fuzz-corpus tests/fuzz/run.sh build-fuzz $(($1 / 4 + 1))
}

# Clients on real nodes, and faults. What they wrote down stays below build-gcc/histories.
cluster() {
    build build-gcc all || return 1
    PMXCFS_SEED=$(date +%s) PMXCFS_FAULTS=$faults PMXCFS_SECONDS=$([ -n "$faults" ] || echo "$1") BUILD_DIR=build-gcc \
        /usr/bin/python3 -m pytest -q -s -o timeout=0 --basetemp build-gcc/histories -p no:cacheprovider \
        tests/linearizability/test_history.py
}

run_all() {
    local share=$((total / ${#names[@]})) i
    for i in "${!names[@]}"; do
        echo "=== ${names[$i]}, $share s"
        "${commands[$i]}" "$share" || found+=("${names[$i]}")
    done
    echo
    if [ ${#found[@]} -gt 0 ]; then
        echo "found something: ${found[*]}"
        exit 1
    fi
    echo "nothing found"
}

stage simulator simulator
stage fuzz fuzz
stage cluster cluster
[ ${#names[@]} -gt 0 ] || usage
run_all
