//! The systemd units.

use std::process::Command;

use super::root;
use crate::testkit::tools;

#[test]
fn systemd_units_are_valid() {
    if !tools::require("systemd-analyze") || !tools::require_file("/lib/systemd/system/sysinit.target") {
        return;
    }
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(["cxnpoll@.service", "cxnpoll@.timer"].map(|unit| root().join("docs/systemd").join(unit)))
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && message.is_empty(), "{message}");
}
