#!/usr/bin/env bash
# Changes the pure rules in many small ways, and reports changes that no unit test notices:
#
#   tests/mutants.sh                  all of them: from half an hour to an hour on two cores
#   tests/mutants.sh --in-diff main   only in lines that differ from the branch `main`
#   tests/mutants.sh --re run/outage  only those whose description, which begins with the path, matches
#   tests/mutants.sh --list           lists them
#
# Other options of `cargo mutants` work too. It needs `cargo install cargo-mutants --locked`. Which files are changed, and which
# mutants are equivalent to the original, is written in .cargo/mutants.toml. Reports are in target/mutants.out.
# The exit code is 0 if every mutant was noticed, 2 if one survived, and 3 if one made a test hang.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo mutants --version >/dev/null 2>&1; then
    echo 'error: cargo-mutants is not installed' >&2
    echo 'hint: cargo install cargo-mutants --locked' >&2
    exit 69
fi
if [ "${1-}" = --in-diff ]; then
    base=${2:?name a branch or commit to compare with}
    shift 2
    diff=$(mktemp)
    trap 'rm -f "$diff"' EXIT
    git diff "$base" > "$diff"
    set -- --in-diff "$diff" "$@"
fi
# The dependencies are built by the first run and kept for later ones. Without symbols a mutant links faster.
export CARGO_TARGET_DIR="$PWD/target/mutants" CARGO_PROFILE_DEV_DEBUG=0
# The project itself is built in a new copy each time, so what was built of earlier copies is of no use.
cargo clean --quiet --package cxnpoll --package civisite
cargo mutants --output target "$@"
