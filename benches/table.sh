#!/usr/bin/env bash
# Measures the tables of docs/benchmarks.md and prints them: `benches/table.sh > table.md`.
# It needs two idle cores and about 20 minutes. `benches/table.sh million` adds a store with a million connections to
# the growth table, which takes about 5 minutes more.
set -euo pipefail
cd "$(dirname "$0")/.."

sizes=(1000 10000 100000)
if [ "${1-}" = million ]; then
    sizes+=(1000000)
fi

bench() { cargo bench --quiet --locked --bench "$@"; }

# Build first, so that the compiler does not run during a measurement.
cargo bench --quiet --locked --no-run
printf 'From one run of `benches/table.sh%s` on %s cores (%s), which are shared with the simulated sites.\n' "${1+ $1}" \
    "$(nproc)" "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)"

printf '\n**Polling**, compared with a bare loop that uses the same client and cryptography but no store:\n'
bench polling -- rates
printf '\n**An increasing number of threads** on the same sites:\n'
bench polling -- threads
printf '\n**Slow sites**, with 64 threads and a time limit of 5 seconds per call:\n'
bench polling -- slow
printf '\n**Nothing due**, whole processes:\n'
bench process -- idle
printf '\n**Growth**, whole processes with 32 threads:\n'
bench process -- growth "${sizes[@]}"
printf '\n**Memory**, whole processes:\n'
bench process -- memory
printf '\n**Number of threads**, automatic and fixed, whole processes:\n'
bench threads
