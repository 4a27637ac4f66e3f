//! The systemd units.

use std::fs;
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

/// systemd reports a drop-in that it does not understand, and that it took into account.
#[test]
fn drop_in_for_metrics_is_valid() {
    if !tools::require("systemd-analyze") || !tools::require_file("/lib/systemd/system/sysinit.target") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let unit = dir.path().join("cxnpoll@.service");
    let drop_ins = dir.path().join("cxnpoll@.service.d");
    fs::create_dir(&drop_ins).unwrap();
    fs::copy(root().join("docs/systemd/cxnpoll@.service"), &unit).unwrap();
    let verify = |text: &str| {
        fs::write(drop_ins.join("metrics.conf"), text).unwrap();
        let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let text = super::read("docs/monitoring/metrics.conf");
    assert_eq!(verify(&text), "");
    assert!(verify(&text.replace("ReadWritePaths", "Writable")).contains("Writable"));
}
