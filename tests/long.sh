#!/usr/bin/env bash
# Kills commands, cuts the power and generates schedules much more often than the default tests: about an hour on two cores.
#
#   tests/long.sh                                    2,000 kills of commands, 1,200 of writers, 500 cuts per record, and
#                                                    5,000 schedules
#   CXNPOLL_KILLS=200 CXNPOLL_CUTS=50 tests/long.sh  a tenth of that
#
# `CXNPOLL_SEED` repeats a run. It needs strace. It begins with the kills at every failpoint.
set -euo pipefail
cd "$(dirname "$0")/.."
export CXNPOLL_REQUIRE_TOOLS=1 CXNPOLL_KILLS="${CXNPOLL_KILLS:-2000}" CXNPOLL_CUTS="${CXNPOLL_CUTS:-500}"
export CXNPOLL_SCHEDULES="${CXNPOLL_SCHEDULES:-5000}"
cargo test --release --locked --lib execute::tests::schedule::
cargo test --release --locked --test it crash::
cargo test --release --locked --test it power:: -- --include-ignored --nocapture --test-threads 1
