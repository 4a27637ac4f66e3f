#!/usr/bin/env bash
# Checks the examples in docs against the schemas of Grafana, Kubernetes and HCL: `tests/schemas.sh`. Needs Python 3.11 with pip.
set -euo pipefail
cd "$(dirname "$0")/.."
target=target/schemas
if ! [ "$target" -nt tests/schemas.sh ]; then
    rm -rf "$target"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target "$target" \
        'grafana-foundation-sdk==1769699998!10.1.0' kubernetes-validate==1.37.0 python-hcl2==8.1.4 pyyaml==6.0.4
fi
PYTHONPATH="$target" PYTHONDONTWRITEBYTECODE=1 python3 tests/schemas.py
