#!/usr/bin/env bash
# Connects a site with the unmodified PHP library that sites run, through Apache and nginx on loopback:
#
#   tests/registration.sh                 fetches civicrm-cxn-rpc with composer into target/php
#   tests/registration.sh AUTOLOAD.php    uses a copy, which this file loads
#
# It needs PHP, and apache2, nginx and fcgiwrap as .ci/run provides them. What is missing is reported, and skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:$PWD/target/tools/usr/bin"
autoload="${1-}"
if ! command -v php >/dev/null; then
    echo '*** SKIPPED: php is not installed ***'
    exit 0
fi
if [ -z "$autoload" ]; then
    autoload="$PWD/target/php/vendor/autoload.php"
    if [ ! -e "$autoload" ] && ! { mkdir -p target/php && composer --working-dir target/php require --no-interaction --quiet civicrm/civicrm-cxn-rpc; }; then
        echo '*** SKIPPED: civicrm-cxn-rpc cannot be fetched: name a copy ***'
        exit 0
    fi
fi
CXNPOLL_CXN_RPC="$(realpath "$autoload")" cargo test --locked --test it registration_web::php -- --ignored --nocapture
