#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Installs what is missing, builds an optimised pmxcfs and the bench, runs it, and prints the table
# (doc/benchmarks.md). Needs root, /dev/fuse, and a machine with nothing else to do.
#   scripts/bench.sh [--json FILE] [--only NAME...] [--quick] [--list]
#   BUILD_DIR=DIRECTORY: what is built there is measured (build-release)
set -eu
json_directory=$PWD
source=$(cd "$(dirname "$0")/.." && pwd)
cd "$source"
export BUILD_DIR="${BUILD_DIR:-$source/build-release}"

scripts/install-dependencies.sh test
if [ ! -f "$BUILD_DIR/build.ninja" ]; then
    meson setup "$BUILD_DIR" -Dbuildtype=release -Dbench=true >/dev/null
fi
ninja -C "$BUILD_DIR" pmxcfs bench/null_fs bench/workload bench/probe bench/first_answer bench/read_rows \
    bench/cpg_bench bench/socket_bench bench/history_bench tests/make_database src/ctl/pmxcfsctl >&2
cd "$json_directory"
exec /usr/bin/python3 -B "$source/bench/run.py" "$@"
