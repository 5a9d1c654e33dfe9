#!/usr/bin/env bash
# Runs fuzz targets, all or those named, each for FUZZ_SECONDS. Starts from the corpus in fuzz/corpus and does not add to it;
# what is found goes to fuzz/artifacts, what is learnt on the way to target/fuzz. MINIMISE=1 then rewrites the corpus from that.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh fuzz
cargo +nightly --version >/dev/null 2>&1 || {
    echo "outpost: missing: a nightly compiler (rustup toolchain install nightly)" >&2
    exit 1
}
cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz

cargo metadata --locked --manifest-path fuzz/Cargo.toml --format-version 1 >/dev/null || {
    echo "outpost: fuzz/Cargo.lock is behind; run: cargo metadata --manifest-path fuzz/Cargo.toml >/dev/null" >&2
    exit 1
}

# The page is no part of what is fuzzed.
export OUTPOST_PAGE=none
if [ $# = 0 ]; then
    mapfile -t all < <(cargo +nightly fuzz list)
    set -- "${all[@]}"
fi
for target; do
    printf '\n=== %s, %s seconds\n' "$target" "${FUZZ_SECONDS:-600}"
    learnt=target/fuzz/$target
    mkdir -p "$learnt" "fuzz/corpus/$target"
    cargo +nightly fuzz run "$target" "$learnt" "fuzz/corpus/$target" -- \
        -max_total_time="${FUZZ_SECONDS:-600}" -timeout=10 -rss_limit_mb=1024 -max_len=4096 -print_final_stats=1
    if [ -n "${MINIMISE:-}" ]; then
        rm -rf "$learnt.min"
        mkdir "$learnt.min"
        cargo +nightly fuzz run "$target" "$learnt.min" "$learnt" "fuzz/corpus/$target" -- -merge=1 -max_len=256
        rm -rf "fuzz/corpus/$target"
        mv "$learnt.min" "fuzz/corpus/$target"
    fi
done
