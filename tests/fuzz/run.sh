#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Runs every fuzz target for so many seconds from the kept corpus, two at a time; what they find new stays
# in a directory of its own (FUZZ_CORPUS, else one that is removed). One line per target; ends non-zero on
# a finding, whose input is kept in BUILD_DIR/fuzz-findings.
#   tests/fuzz/run.sh BUILD_DIR SECONDS [TARGET...]
set -u
build=$(realpath "$1") || exit 2
seconds=$2
shift 2
here=$(realpath "$(dirname "$0")")
targets=("$@")
findings=$build/fuzz-findings
temporary=$(mktemp -d) || exit 2
trap 'rm -rf "$temporary"' EXIT
new=${FUZZ_CORPUS:-$temporary/corpus}

if [ ${#targets[@]} -eq 0 ]; then
    for source in "$here"/fuzz_*.c; do
        name=$(basename "$source" .c)
        targets+=("${name#fuzz_}")
    done
fi

# one TARGET: a line with its figures.
one() {
    local target=$1 log=$temporary/$1.log executions result
    mkdir -p "$new/$target" "$findings"
    # Inputs take milliseconds; 30 s is a loop without end on the slowest machine.
    "$build/tests/fuzz/fuzz_$target" -max_total_time="$seconds" -timeout=30 -rss_limit_mb=2048 -max_len=65536 \
        -print_final_stats=1 -artifact_prefix="$findings/$target-" "$new/$target" "$here/corpus/$target" \
        >"$log" 2>&1
    result=$?
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    if [ "$result" -eq 0 ] && [ "${executions:-0}" -gt 0 ]; then
        echo "$target: $executions executions, $(sed -n 's/^.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1) edges, no finding"
        return 0
    fi
    grep -v -E '^#[0-9]|^stat::' "$log" | tail -n 60
    echo "$target: FINDING (exit code $result); once more: $build/tests/fuzz/fuzz_$target $findings/$target-..."
    return 1
}

status=0
running=0
for target in "${targets[@]}"; do
    if [ "$running" -eq 2 ]; then
        wait -n || status=1
        running=1
    fi
    one "$target" &
    running=$((running + 1))
done
while [ "$running" -gt 0 ]; do
    wait -n || status=1
    running=$((running - 1))
done
exit $status
