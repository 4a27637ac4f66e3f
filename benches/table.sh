#!/usr/bin/env bash
# Measures what README shows under "Measured", and prints it: `benches/table.sh > table.md`. Takes a quarter of an hour and
# two idle cores; with `million`, also growth at a million connections, which takes five minutes more.
set -euo pipefail
cd "$(dirname "$0")/.."

sizes=(1000 10000 100000)
if [ "${1-}" = million ]; then
    sizes+=(1000000)
fi

bench() { cargo bench --quiet --locked --bench "$@"; }

# Built beforehand, so that nothing else is at work while anything is measured.
cargo bench --quiet --locked --no-run
printf 'Of one run of `benches/table.sh%s`, on %s cores (%s) that the simulated sites share.\n' "${1+ $1}" "$(nproc)" \
    "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)"

printf '\n**Polling** against a bare loop of the same client and cryptography, with no store:\n'
bench polling -- rates
printf '\n**More and more threads** on the same sites:\n'
bench polling -- threads
printf '\n**Among slow sites**, with 64 threads and a limit of 5 seconds:\n'
bench polling -- slow
printf '\n**Nothing due**, whole processes:\n'
bench process -- idle
printf '\n**Growth**, whole processes, 32 threads:\n'
bench process -- growth "${sizes[@]}"
printf '\n**Memory**, whole processes:\n'
bench process -- memory
