#!/usr/bin/env bash
# Measures: the server beside nats-server, its streams beside JetStream, then its inside; writes the tables of docs/benchmarks.md.
# BENCH_PROFILE=bench-fast builds minutes faster than a release, and runs a little slower. BENCH_ARGS goes to the load generator.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh build bench
scripts/page.sh
profile=${BENCH_PROFILE:-release}
target=${CARGO_TARGET_DIR:-target}
PATH=$PWD/target/peers/bin:$PATH:/usr/sbin

cargo build --locked --profile "$profile" --bin outpost
# shellcheck disable=SC2086 # several words are meant
cargo bench --locked --profile "$profile" --bench load -- \
    --outpost "$target/$profile/outpost" --write docs/benchmarks.md ${BENCH_ARGS:-}
# shellcheck disable=SC2086
cargo bench --locked --profile "$profile" --bench load -- --persist --runs 2 \
    --outpost "$target/$profile/outpost" --write docs/benchmarks.md ${BENCH_ARGS:-}
cargo bench --locked --profile "$profile" --bench interest --bench codec
cargo bench --locked --profile "$profile" --bench load -- --criterion "$target/criterion" --write docs/benchmarks.md
