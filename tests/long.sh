#!/usr/bin/env bash
# Simulates fleets, also for thirty days, polls hosts that hang, cuts inputs, generates schedules, kills commands and cuts
# the power, all much more often or longer than the default tests: more than an hour on two cores.
#
#   tests/long.sh                                    500,000 runs of simulated fleets, inputs cut at every byte, 5,000
#                                                    schedules, 2,000 kills of commands, 1,200 of writers, and 500 power
#                                                    cuts per record
#   CXNPOLL_KILLS=200 CXNPOLL_CUTS=50 tests/long.sh  a tenth of the kills and the power cuts
#
# `CXNPOLL_SEED` repeats a run. It needs strace. The kills begin at every failpoint.
set -euo pipefail
cd "$(dirname "$0")/.."
CARGO_TARGET_DIR=target cargo clippy --manifest-path benches/sqlite/Cargo.toml --all-targets --locked -- -D warnings
cargo bench --locked --bench outage
CXNPOLL_REQUIRE_TOOLS=1 cargo test --release --locked --test it hosts:: -- --ignored --nocapture
export CXNPOLL_REQUIRE_TOOLS=1 CXNPOLL_KILLS="${CXNPOLL_KILLS:-2000}" CXNPOLL_CUTS="${CXNPOLL_CUTS:-500}"
CXNPOLL_EVERY_CUT=1 cargo test --release --locked --lib import::cuts -- --nocapture
export CXNPOLL_SCHEDULES="${CXNPOLL_SCHEDULES:-5000}"
cargo test --release --locked --lib execute::tests::schedule::
cargo test --release --locked --lib run::spread:: -- --include-ignored --nocapture
cargo test --release --locked --test it crash:: faults::
CXNPOLL_NOTIFY_SITES=400 cargo test --release --locked --test it notify::
cargo test --release --locked --test it power:: -- --include-ignored --nocapture --test-threads 1
