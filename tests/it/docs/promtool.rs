//! The rules, the queries of the dashboard and the metrics, as Prometheus reads them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::metrics::{metrics_file, targets};
use super::{read, root};
use crate::testkit::{tools, until};

/// Runs promtool with some input; fails if it does not succeed.
fn promtool(arguments: &[&str], input: &str) {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

fn path_of(file: &str) -> String {
    root().join("docs/monitoring").join(file).to_str().unwrap().to_owned()
}

#[test]
fn rules_are_valid_and_each_alert_fires_when_it_should() {
    if !tools::require("promtool") {
        return;
    }
    promtool(&["check", "rules", &path_of("recording-rules.yml"), &path_of("alerts.yml")], "");
    promtool(&["test", "rules", &path_of("alerts_test.yml")], "");
}

/// The test of promtool makes each alert fire, and has it silent.
#[test]
fn each_alert_and_recorded_series_is_tested() {
    let tests = read("docs/monitoring/alerts_test.yml");
    let after = |line: &str, start: &str| line.trim().strip_prefix(start).map(str::to_owned);
    let all = read("docs/monitoring/alerts.yml") + &read("docs/monitoring/recording-rules.yml");
    let alerts: BTreeSet<_> = all.lines().filter_map(|line| after(line, "- alert: ")).collect();
    let fired: BTreeSet<_> = tests.lines().filter_map(|line| after(line, "alertname: ")).collect();
    let silent = tests.split("alertname: ").skip(1).filter_map(|rest| rest.split_once(", exp_alerts: []"));
    let silent: BTreeSet<_> = silent.map(|(name, _)| name.to_owned()).filter(|name| !name.contains('\n')).collect();
    assert_eq!((&fired, &silent), (&alerts, &alerts));
    for series in all.lines().filter_map(|line| after(line, "- record: ")) {
        assert!(tests.contains(&format!("- expr: {series}")), "{series} is not tested");
        assert!(read("docs/monitoring.md").contains(&format!("`{series}`")), "docs/monitoring.md lacks {series}");
    }
    for alert in alerts {
        assert!(read("docs/monitoring.md").contains(&format!("`{alert}`")), "docs/monitoring.md lacks {alert}");
    }
}

#[test]
fn queries_of_the_dashboard_are_valid() {
    if !tools::require("promtool") {
        return;
    }
    let rule = |(number, (_, target)): (usize, &(String, Value))| {
        format!("      - record: query_{number}\n        expr: {}\n", target["expr"])
    };
    let rules: Vec<_> = targets().iter().enumerate().map(rule).collect();
    let rules = format!("groups:\n  - name: dashboard\n    rules:\n{}", rules.concat());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dashboard.yml");
    fs::write(&file, rules).unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()], "");
}

#[test]
fn metrics_are_valid_and_the_node_exporter_shows_them() {
    if !tools::require("promtool") || !tools::require("prometheus-node-exporter") {
        return;
    }
    let text = metrics_file();
    promtool(&["check", "metrics"], &text);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("cxnpoll-a-default-0of1.prom"), &text).unwrap();
    let shown = shown_by_node_exporter(dir.path());
    // Values may be written in another way.
    let series = |line: &str| line.rsplit_once(' ').map(|(series, _)| format!("{series} ")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let missing: Vec<_> = lines.filter(|line| !shown.contains(&series(line))).collect();
    assert!(missing.is_empty() && shown.contains("node_textfile_scrape_error 0"), "{missing:?}");
}

/// Returns what the node exporter shows of a directory.
fn shown_by_node_exporter(dir: &Path) -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut exporter = Command::new("prometheus-node-exporter")
        .args(["--collector.disable-defaults", "--collector.textfile"])
        .arg(format!("--collector.textfile.directory={}", dir.display()))
        .arg(format!("--web.listen-address={port}"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("the node exporter listens", || TcpStream::connect(port).is_ok());
    let mut stream = TcpStream::connect(port).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut shown = String::new();
    stream.read_to_string(&mut shown).unwrap();
    exporter.kill().unwrap();
    exporter.wait().unwrap();
    shown
}
