#!/usr/bin/env bash
# Measures registrations through nginx and fcgiwrap with 20 clients, while a run polls 10,000 simulated sites, and then kills the
# program at random. Both check that what was acknowledged is stored.
#
#   tests/registration-load.sh [SECONDS]    20 by default
#
# CXNPOLL_REGISTER_POLLED sets how many sites are polled meanwhile, and CXNPOLL_REGISTER_WORKERS the processes of fcgiwrap.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:$PWD/target/tools/usr/bin" CXNPOLL_REQUIRE_TOOLS=1 CXNPOLL_REGISTER_S="${1:-20}"
cargo test --release --locked --test it registration_web::load:: -- --include-ignored --nocapture --test-threads 1
