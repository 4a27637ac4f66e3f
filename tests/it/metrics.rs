//! Metrics for Prometheus.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::testkit::{APP, MIDNIGHT, World, assert_quiet, code, stderr};

/// Returns the value of a metric, by the start of its line.
fn metric(text: &str, start: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn metrics_describe_the_last_run_and_keep_the_last_success() {
    let world = World::with(["ok", "ok", "status-500", "slow-120"]);
    fs::create_dir(world.path("metrics")).unwrap();
    let poll = |now: i64, more: &[&str]| {
        world.run(&[&["poll", APP, "--metrics", "metrics", "--now", &now.to_string()], more].concat())
    };
    assert_quiet(&poll(MIDNIGHT, &["--name", "a/b"]));
    assert_quiet(&poll(MIDNIGHT, &[]));
    let files: BTreeSet<_> = fs::read_dir(world.path("metrics"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let file = format!("cxnpoll-{APP}-default-0of1.prom");
    assert!(files.len() == 2 && files.contains(&file) && files.iter().all(|name| name.contains(".prom")), "{files:?}");
    let path = world.path("metrics").join(&file);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);

    let text = fs::read_to_string(&path).unwrap();
    let labels = format!("app=\"{APP}\",batch=\"0/1\",job=\"default\"");
    assert_eq!(metric(&text, &format!("cxnpoll_polls{{{labels},outcome=\"ok\"}}")), 3);
    assert_eq!(metric(&text, &format!("cxnpoll_polls{{{labels},outcome=\"http\"}}")), 1);
    assert_eq!(metric(&text, "cxnpoll_due{"), 4);
    assert_eq!(metric(&text, "cxnpoll_given_up{"), 0);
    assert!(metric(&text, "cxnpoll_store_bytes{") > 100_000);
    let bucket = |le: &str| metric(&text, &format!("cxnpoll_poll_duration_seconds_bucket{{{labels},le=\"{le}\"}}"));
    assert!((bucket("+Inf"), bucket("0.1")) == (4, 3) && bucket("5") >= 3, "{text}");
    let success = metric(&text, "cxnpoll_last_success_timestamp_seconds{");
    assert!(text.contains("# TYPE cxnpoll_poll_duration_seconds histogram") && success > 1_700_000_000, "{text}");

    // A run that fails keeps the time of the last success. Times are whole seconds.
    thread::sleep(Duration::from_millis(1010));
    assert_eq!(code(&poll(MIDNIGHT + 3600, &["--strict"])), 3);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(metric(&text, "cxnpoll_last_success_timestamp_seconds{"), success);
    assert!(metric(&text, "cxnpoll_run_timestamp_seconds{") > success);

    let output = world.run(&["poll", APP, "--metrics", "nowhere", "--now", &(MIDNIGHT + 7200).to_string()]);
    assert_eq!((code(&output), stderr(&output).lines().count()), (0, 1), "{output:?}");
    assert!(stderr(&output).starts_with("warning: cannot write metrics to nowhere: "), "{output:?}");
}

#[test]
fn metrics_wait_for_no_pipe_and_follow_no_link_of_others() {
    let world = World::with(["status-500"]);
    let directory = world.path("metrics");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
    let path = directory.join(format!("cxnpoll-{APP}-default-0of1.prom"));
    let endless = || symlink("/dev/zero", &path).unwrap();
    let pipe = || assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    for (hour, plant) in [(0, &pipe as &dyn Fn()), (1, &endless)] {
        plant();
        let now = (MIDNIGHT + hour * 3600).to_string();
        let output = world.run(&["poll", APP, "--metrics", "metrics", "--strict", "--now", &now]);
        let message = stderr(&output);
        assert_eq!((code(&output), message.lines().count()), (3, 1), "{message}");
        assert!(message.starts_with("warning: cannot read the previous metrics metrics/cxnpoll-"), "{message}");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(metric(&text, "cxnpoll_due{"), 1);
        fs::remove_file(&path).unwrap();
    }
}
