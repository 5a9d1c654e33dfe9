#!/usr/bin/env bash
# Every test there is, part by part. All parts run even if one fails; the end is a table, and failure if any part failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

names=() results=() seconds=()
passed=0 failed=0

part() {
    local name=$1 started=$SECONDS result
    shift
    printf '\n=== %s\n' "$name"
    if "$@" </dev/null; then
        result=passed
        passed=$((passed + 1))
    else
        result=FAILED
        failed=$((failed + 1))
    fi
    names+=("$name") results+=("$result") seconds+=($((SECONDS - started)))
}

rust_tests() {
    # nextest shows each test's time and gives each its own process; plain cargo test does where it is not installed.
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --locked --no-fail-fast && cargo test --locked --doc
    else
        cargo test --locked --no-fail-fast
    fi
}

# The path of the first of the given programs that exists.
first_of() {
    local name
    for name; do type -P "$name" && return; done
    return 1
}

peer_tests() {
    local target browser
    # Wherever cargo is told to build.
    target=$(cargo metadata --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
    browser=$(first_of ${CHROMIUM:+"$CHROMIUM"} chromium chromium-browser google-chrome)
    # A relative path is one from here, not from the tests' folder.
    case $browser in /*) ;; *) browser=$PWD/$browser ;; esac
    CHROMIUM=$browser OUTPOST_BIN=${OUTPOST_BIN:-$target/debug/outpost} npm --prefix tests test
}

part setup scripts/setup.sh test
if [ $failed = 0 ]; then
    part format cargo fmt --check
    part page scripts/page.sh --test
    part build cargo build --locked
    part rust rust_tests
    part peers peer_tests
fi

printf '\n%-8s %8s  %s\n' part seconds result
for i in "${!names[@]}"; do printf '%-8s %8d  %s\n' "${names[$i]}" "${seconds[$i]}" "${results[$i]}"; done
printf '\nparts: %d passed, %d failed\n' $passed $failed
[ $failed = 0 ]
