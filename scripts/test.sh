#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Installs what is missing, builds, and runs every test (doc/testing.md). The last line is
# "N passed, N failed, N skipped"; the exit code is 0 only if nothing failed.
#   scripts/test.sh [STAGE...]   only these stages (names as in the list at the end)
#   scripts/test.sh --busy [STAGE...]   with two busy loops and a compiler beside every test
#   scripts/test.sh --late [STAGE...]   threads that waited go on 20 ms later, and nodes of a cluster know so much later what
#                                       others have done: finds tests that take for done what follows an answer
set -u
cd "$(dirname "$0")/.." || exit 1

passed=0
failed=0
skipped=0
failures=()
busy=
while [[ ${1:-} == --* ]]; do
    case $1 in
    --busy) busy=--busy ;;
    --late) export PMXCFS_TEST_LATE=20 ;;
    *)
        echo "scripts/test.sh: there is no option $1" >&2
        exit 2
        ;;
    esac
    shift
done
only=("$@")
jobs=$(nproc)

count() { # PASSED FAILED SKIPPED
    passed=$((passed + $1))
    failed=$((failed + $2))
    skipped=$((skipped + $3))
}

# Where the output of a stage is kept until it is done; empty: it is printed as it comes.
kept=

# stage NAME FUNCTION [ARGUMENT...]: runs it unless others were asked for.
stage() {
    local name=$1 start=$SECONDS before=$failed
    shift
    if [ ${#only[@]} -gt 0 ] && [[ " ${only[*]} " != *" $name "* ]]; then
        return
    fi
    [ -n "$kept" ] || echo "=== $name"
    if [ -n "$kept" ]; then "$@" >"$kept" 2>&1; else "$@"; fi
    [ "$failed" -eq "$before" ] || failures+=("$name")
    [ -z "$kept" ] || { echo "=== $name" && cat "$kept"; }
    echo "--- $name: $((SECONDS - start)) s"
}

# check COMMAND...: one test, passed if the command succeeds.
check() {
    if "$@"; then count 1 0 0; else count 0 1 0; fi
}

# Other versions of clang-format differ in a few places from the one that the sources are formatted with.
format() {
    case $(clang-format --version) in
    *" 14."*) ;;
    *)
        echo "skipped: the sources are formatted with clang-format 14"
        count 0 0 1
        return
        ;;
    esac
    if git ls-files -co --exclude-standard '*.c' '*.h' | xargs -r clang-format --dry-run -Werror; then
        count 1 0 0
    else
        count 0 1 0
    fi
}

# Both tools for manual pages. For mandoc the first section is NAME in any language.
manual_pages() {
    local page found=""
    for page in doc/man/*.8 doc/man/ja/*.8; do
        found+=$(mandoc -T lint -W warning "$page" | grep -v -e 'first section is not "NAME"' \
            -e 'description line outside NAME section')
        found+=$(LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings --encoding=UTF-8 --local-file "$page" 2>&1 >/dev/null |
            sed "s|^|$page: |")
    done
    [ -z "$found" ] && return
    echo "$found"
    return 1
}

# configure_and_build DIRECTORY COMPILER [OPTION...]
configure_and_build() {
    local directory=$1 compiler=$2
    shift 2
    if [ ! -f "$directory/build.ninja" ]; then
        CC=$compiler meson setup "$directory" "$@" || return 1
    fi
    ninja -C "$directory"
}

# Only what the tests with the thread sanitizer run.
build_threads() {
    if [ ! -f build-threads/build.ninja ]; then
        # shellcheck disable=SC2086 # a list of words
        CC=clang meson setup build-threads -Dwerror=true $sanitize -Db_sanitize=thread || return 1
    fi
    ninja -C build-threads pmxcfs src/ctl/pmxcfsctl tests/make_database tests/mount/hold_listing tests/cluster/other_clock.so tests/socket/socket_client \
        tests/socket/socket_stress tests/unit/test_threads tests/unit/test_corosync_stop \
        tests/crash/test_flusher_points
}

build_fuzz() {
    if [ ! -f build-fuzz/build.ninja ]; then
        # shellcheck disable=SC2086
        CC=clang meson setup build-fuzz -Dfuzz=true -Dtests=false $sanitize -Db_sanitize=address,undefined || return 1
    fi
    ninja -C build-fuzz fuzz
}

tidy() {
    local report=build-sanitizers/clang-tidy.log
    local paths # The analyzer goes a third as far as usual along the paths of a function: half the time (doc/testing.md).
    paths=(-extra-arg=-Xclang -extra-arg=-analyzer-config -extra-arg=-Xclang -extra-arg=max-nodes=75000)
    run-clang-tidy -quiet -p build-sanitizers "${paths[@]}" -j "$jobs" "$PWD/src/.*\.c\$" >"$report" 2>&1 && return 0
    grep -E -A 8 '(warning|error):' "$report" || tail -n 20 "$report"
    return 1
}

includes_and_tidy() {
    check scripts/check-includes.py
    check scripts/check-messages.py
    check scripts/check-pages.py
    check scripts/check-sizes.py
    check tidy
}

# meson_tests DIRECTORY OPTION...: the C programs, counted by their single tests.
meson_tests() {
    rm -f "$1/meson-logs/testlog.json"
    # A test that hangs is ended; how long that takes is no part of what is tested, and others work beside it.
    meson test -C "$1" --no-rebuild --print-errorlogs --timeout-multiplier 5 --num-processes "$jobs" "${@:2}"
    # shellcheck disable=SC2046 # three numbers
    count $(scripts/count_results.py "$1/meson-logs/testlog.json")
}

# python_suite NAME DIRECTORY PATH[:CHOICE]...: one more stage of pytest, with what was built in that directory.
suites=()
python_suite() {
    local path
    [ ${#only[@]} -eq 0 ] || [[ " ${only[*]} " == *" $1 "* ]] || return 0
    for path in "${@:3}"; do
        suites+=("$1:$2:$path")
    done
}

# files SUITE [-v] NAME|NAME...: its files of tests of these names; -v: of all others.
files() {
    find "tests/$1" -name 'test_*.py' | grep -E "${@:2:$#-2}" "/test_(${!#})\.py$"
}

# Runs the stages that python_suite() was called for, all at the same time: most of them wait more than they compute.
python_suites() {
    local report numbers start=$SECONDS
    [ ${#suites[@]} -gt 0 ] || return
    echo "=== $(printf '%s\n' "${suites[@]%%:*}" | uniq | xargs)"
    report=$(mktemp)
    scripts/python-tests.py "${suites[@]}" | tee "$report"
    read -r -a numbers < <(tail -n 1 "$report")
    rm "$report"
    add_numbers pytest "${numbers[@]}" # It tells them last, if it came so far.
    echo "--- $((SECONDS - start)) s"
}

# The stages that compute all the time and need nothing of each other.
computing() {
    stage tidy includes_and_tidy
    stage unit meson_tests build-gcc --no-suite sim
    stage unit-sanitizers meson_tests build-sanitizers --no-suite sim
    stage sim meson_tests build-gcc --suite sim
    stage sim-sanitizers meson_tests build-sanitizers --suite sim
}

# Runs them beside the suites of pytest, with less weight than those: they get what the others leave. What each one says is
# printed when it is done. The file $1 gets "PASSED FAILED SKIPPED STAGE...".
computing_with_less_weight() {
    passed=0 failed=0 skipped=0 failures=()
    kept=$(mktemp)
    renice -n 10 -p "$BASHPID" >/dev/null
    computing
    rm "$kept"
    echo "$passed $failed $skipped ${failures[*]}" >"$1"
}

# add_numbers NAME PASSED FAILED SKIPPED STAGE...: what others counted, and where they failed; without it, NAME has failed.
add_numbers() {
    local name=$1
    shift
    if [[ ${*:1:3} =~ ^[0-9]+\ [0-9]+\ [0-9]+$ ]]; then
        count "${@:1:3}"
        failures+=("${@:4}")
    else
        count 0 1 0
        failures+=("$name")
    fi
}

computing_and_python_suites() {
    local report lane numbers
    if [ ${#suites[@]} -eq 0 ]; then
        computing
        return
    fi
    report=$(mktemp)
    computing_with_less_weight "$report" &
    lane=$!
    python_suites
    wait "$lane"
    read -r -a numbers <"$report"
    rm "$report"
    add_numbers computing "${numbers[@]}"
}

# Two busy loops and a compiler, until the end of the script.
make_busy() {
    # shellcheck disable=SC2064 # the pids of now
    (while :; do :; done) & local first=$!
    (while :; do :; done) & local second=$!
    # shellcheck disable=SC2046 # a list of words
    (while gcc -O2 -D_GNU_SOURCE -Isrc $(pkg-config --cflags glib-2.0) -c -o /dev/null src/cluster/machine.c 2>/dev/null; do :; done) &
    # shellcheck disable=SC2064
    trap "kill $first $second $!" EXIT
}

fuzzer_is_there() {
    echo 'int LLVMFuzzerTestOneInput(void); int LLVMFuzzerTestOneInput(void) { return 0; }' |
        clang -fsanitize=fuzzer -x c -o /dev/null - 2>/dev/null
}

# fuzz SECONDS: every target so long, one test each.
fuzz() {
    local targets report=build-fuzz/fuzz.log
    targets=$(find tests/fuzz -name 'fuzz_*.c' | wc -l)
    if ! fuzzer_is_there; then
        echo "skipped: this clang has no libFuzzer"
        count 0 0 "$targets"
        return
    fi
    if ! build_fuzz; then
        count 0 "$targets" 0
        return
    fi
    tests/fuzz/run.sh build-fuzz "$1" | tee "$report"
    local good
    good=$(grep -c ' executions, .* no finding$' "$report")
    count "$good" $((targets - good)) 0
}

summary() {
    echo
    [ ${#failures[@]} -eq 0 ] || echo "Failed: ${failures[*]} (one stage alone: scripts/test.sh STAGE)"
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ] || exit 1
    exit 0
}

if ! scripts/install-dependencies.sh test; then
    count 0 1 0
    failures+=("install-dependencies")
    summary
fi

# So much of what was freed is watched, and not 256 MiB: fresh pages for all of it would be a third of the time.
export ASAN_OPTIONS=detect_stack_use_after_return=1:quarantine_size_mb=16
export PYTHONDONTWRITEBYTECODE=1
export PLAIN_BUILD_DIR=$PWD/build-gcc # for what is not tested itself

# The sanitizers are linked into a hundred programs, which takes lld a third of the time; and what they report needs lines only.
sanitize="-Db_lundef=false -Dc_link_args=-fuse-ld=lld -Doptimization=1 -Dc_args=-gline-tables-only"

stage format format
stage man check manual_pages
# lld links in half the time of GNU ld, which links the other builds that the tests make (test_demo.py).
stage gcc check configure_and_build build-gcc gcc -Dwerror=true -Dc_link_args=-fuse-ld=lld
# shellcheck disable=SC2086 # a list of words
stage clang check configure_and_build build-sanitizers clang -Dwerror=true $sanitize -Db_sanitize=address,undefined
stage clang-threads check build_threads
stage unit-threads meson_tests build-threads --suite threads
[ -z "$busy" ] || make_busy
stage fuzz fuzz 5 # alone: it gets its seconds of the whole machine
# What only asks the daemon, or shows what others have read, runs with the plain build: half the processor time. What reads
# foreign bytes, and what several threads and nodes do to memory, runs under the sanitizers (doc/testing.md). A new file of
# tests does, too.
plain_ctl="changes|completion|history_commands|kept|live|metrics|names|restore|socket_name|trouble|try|undo"
plain_cluster="changes|conf|ctl|databases|demo|history|join|leaving|lossy_switch|past_limits"
# shellcheck disable=SC2046 # lists of words
{
    python_suite mount build-sanitizers $(files mount -v kill)
    python_suite mount build-gcc $(files mount kill)
    python_suite clients build-sanitizers tests/socket $(files ctl -v "$plain_ctl")
    python_suite clients build-gcc $(files ctl "$plain_ctl")
    python_suite crash build-gcc tests/crash
    python_suite cluster build-sanitizers $(files cluster -v "$plain_cluster")
    python_suite cluster build-gcc $(files cluster "$plain_cluster")
}
python_suite linearizability build-sanitizers tests/linearizability
# What is checked against tmpfs has no daemon in it. What else is left out is one thread's work (doc/testing.md).
# ThreadSanitizer's own write() does not come to the library that makes a disk fail.
one_thread="test_database_files or test_limits or test_daemon or test_kill or test_migration or test_words or test_guests or test_access or test_attributes.py or test_virtual_names.py or test_operations.py"
several="writers_at_once or wait_for_each_other or signal or test_stop or several_daemons or again_and_again or many_processes"
python_suite threads build-threads "tests/mount:not tmpfs and not failing_disk and (not ($one_thread) or $several)" \
    "tests/socket:not (test_access or test_overview or test_properties or test_requests.py)"
computing_and_python_suites # tidy, unit, unit-sanitizers, sim, sim-sanitizers, and the suites
# Where something was late once (see --late).
suites=()
export PMXCFS_TEST_LATE=20
python_suite late build-gcc tests/ctl/test_try.py tests/socket/test_history_requests.py tests/mount/test_history_file.py \
    tests/cluster/test_changes.py tests/cluster/test_past_limits.py
python_suites
summary
