//! Metrics for Prometheus.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::listeners::configure;
use crate::testkit::{APP, MIDNIGHT, World, assert_quiet, code, stderr};

const HOUR: i64 = 3600;
/// The labels of the file of a run without options.
const LABELS: &str = "app=\"org.example.myapp\",batch=\"0/1\",job=\"default\"";

/// A world with a directory for metrics.
fn world<const N: usize>(behaviours: [&str; N]) -> World {
    let world = World::with(behaviours);
    fs::create_dir(world.path("metrics")).unwrap();
    world
}

/// Runs a poll that writes metrics, and returns its exit code.
fn poll(world: &World, now: i64, more: &[&str]) -> i32 {
    let now = now.to_string();
    code(&world.run(&[&["poll", APP, "--metrics", "metrics", "--now", now.as_str()], more].concat()))
}

/// Returns the file of a run without options.
fn text(world: &World) -> String {
    fs::read_to_string(world.path(&format!("metrics/cxnpoll-{APP}-default-0of1.prom"))).unwrap()
}

/// Returns the value of a metric without labels of its own, or with one.
fn value(text: &str, name: &str, label: &str) -> u64 {
    let labels = LABELS.split(',').chain(Some(label).filter(|label| !label.is_empty()));
    let mut labels: Vec<_> = labels.collect();
    labels.sort_unstable();
    metric(text, &format!("{name}{{{}}} ", labels.join(",")))
}

fn names(world: &World) -> BTreeSet<String> {
    let entries = fs::read_dir(world.path("metrics")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

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
    assert_eq!(metric(&text, "cxnpoll_run_threads{"), 4);
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

#[test]
fn counters_go_on_from_run_to_run_and_start_anew_after_a_damaged_file() {
    let world = world(["ok", "ok", "status-500"]);
    let path = world.path(&format!("metrics/cxnpoll-{APP}-default-0of1.prom"));
    for round in 1..=3 {
        assert_eq!(poll(&world, MIDNIGHT + round * 2 * HOUR, &["--strict"]), 3);
        let text = text(&world);
        let round = u64::try_from(round).unwrap();
        let total = |outcome: &str| value(&text, "cxnpoll_polls_total", &format!("outcome=\"{outcome}\""));
        assert_eq!((total("ok"), total("http"), total("tls")), (2 * round, round, 0), "{text}");
        let runs = |code: u8| value(&text, "cxnpoll_runs_total", &format!("exit_code=\"{code}\""));
        assert_eq!((runs(3), runs(0), value(&text, "cxnpoll_run_exit_code", "")), (round, 0, 3));
        assert_eq!(metric(&text, "cxnpoll_build_info{"), 1);
        // Each run begins two hours after the last, and the sites are due after one. New sites are not late.
        let late = |le: &str| value(&text, "cxnpoll_lateness_seconds_bucket", &format!("le=\"{le}\""));
        assert_eq!((late("1800"), late("7200"), late("+Inf")), (0, 3 * (round - 1), 3 * (round - 1)), "{text}");
    }
    // A run with nothing due is a success.
    assert_eq!(poll(&world, MIDNIGHT + 6 * HOUR + 60, &[]), 0);
    let last = text(&world);
    assert_eq!(value(&last, "cxnpoll_runs_total", "exit_code=\"0\""), 1);
    assert_eq!(value(&last, "cxnpoll_runs_total", "exit_code=\"3\""), 3);
    assert_eq!(value(&last, "cxnpoll_polls_total", "outcome=\"ok\""), 6);
    assert!(metric(&last, "cxnpoll_last_success_timestamp_seconds{") > 1_700_000_000);

    // What is left of a file counts.
    let cut = last.find("cxnpoll_runs_total{").unwrap() + 10;
    fs::write(&path, [&last.as_bytes()[..cut], b"\xff\xfe"].concat()).unwrap();
    assert_eq!(poll(&world, MIDNIGHT + 8 * HOUR, &[]), 0);
    let text = text(&world);
    assert_eq!(value(&text, "cxnpoll_runs_total", "exit_code=\"0\""), 1);
    assert_eq!(value(&text, "cxnpoll_polls_total", "outcome=\"ok\""), 8);
}

#[test]
fn no_run_is_lost_from_the_counters_when_several_end_at_once() {
    let world = world(["ok"]);
    assert_eq!(poll(&world, MIDNIGHT, &[]), 0);
    let ended = thread::scope(|scope| {
        let poll_often = || (0..15).filter(|_| poll(&world, MIDNIGHT + 60, &[]) == 0).count();
        let polling = [(); 6].map(|()| scope.spawn(poll_often));
        polling.into_iter().map(|polling| polling.join().unwrap()).sum::<usize>()
    });
    let counted = value(&text(&world), "cxnpoll_runs_total", "exit_code=\"0\"");
    assert_eq!(usize::try_from(counted).unwrap(), 1 + ended);
}

/// Makes the next run count the connections, however long the last count took on a busy machine.
fn forget_count(world: &World) {
    let is_kept = |line: &&str| !line.starts_with("cxnpoll_connections_timestamp_seconds{");
    let rest: String = text(world).split_inclusive('\n').filter(is_kept).collect();
    fs::write(world.path(&format!("metrics/cxnpoll-{APP}-default-0of1.prom")), rest).unwrap();
}

#[test]
fn a_run_that_cannot_use_the_store_shows_its_exit_code() {
    let world = world(["ok"]);
    assert_eq!(poll(&world, MIDNIGHT, &[]), 0);
    let bytes = value(&text(&world), "cxnpoll_store_bytes", "");
    fs::rename(world.store(), world.path("gone")).unwrap();
    assert_eq!(poll(&world, MIDNIGHT + HOUR, &[]), 66);
    let text = text(&world);
    assert_eq!(value(&text, "cxnpoll_run_exit_code", ""), 66);
    assert_eq!(value(&text, "cxnpoll_runs_total", "exit_code=\"66\""), 1);
    assert_eq!(
        (value(&text, "cxnpoll_connections", "state=\"healthy\""), value(&text, "cxnpoll_store_bytes", "")),
        (1, bytes)
    );
}

#[test]
fn connections_are_counted_by_state_and_batch() {
    let world = world(["ok", "ok", "status-500", "retry-after-7200", "ok", "status-500"]);
    let states = |expected: [u64; 6]| {
        let text = text(&world);
        let state = |state: &str| value(&text, "cxnpoll_connections", &format!("state=\"{state}\""));
        let found = ["new", "healthy", "retrying", "given-up", "disabled", "deferred"].map(state);
        assert_eq!(found, expected, "{text}");
    };
    assert_quiet(&world.run(&["disable", &world.site(4, "ok").cxn_id]));
    let retry = ["--retry", "1 hour (x1); 1 day (x1)"];
    assert_eq!(poll(&world, MIDNIGHT, &[&retry[..], &["--limit", "4"]].concat()), 0);
    let listed_at = |now: i64| {
        let listed = world.json(&["status", "--json", "--now", &now.to_string()])[0].clone();
        let number = |key: &str| listed[key].as_u64().unwrap();
        let failing = listed["levels"].as_array().unwrap().iter().map(|level| level.as_u64().unwrap()).sum();
        [number("new"), number("healthy"), failing, number("givenUp"), number("disabled"), number("deferred")]
    };
    let some_are_new = listed_at(MIDNIGHT);
    assert_eq!(some_are_new[0], 1);
    states(some_are_new);
    for hours in [48, 96] {
        forget_count(&world);
        assert_eq!(poll(&world, MIDNIGHT + hours * HOUR, &retry), 0);
    }
    // Whether a deferral was the third in a row depends on the site that the first run left out.
    let all_were_polled = listed_at(MIDNIGHT + 96 * HOUR);
    assert_eq!((all_were_polled[..2].to_vec(), all_were_polled[3..5].to_vec()), (vec![0, 2], vec![2, 1]));
    states(all_were_polled);
    assert_eq!(value(&text(&world), "cxnpoll_given_up_total", ""), 2);
    // A run with nothing due does not count anew.
    assert_quiet(&world.run(&["remove", "--state", "given-up", "--all", "--yes"]));
    assert_eq!(poll(&world, MIDNIGHT + 96 * HOUR + 60, &retry), 0);
    states(all_were_polled);

    for batch in ["0/2", "1/2"] {
        assert_eq!(poll(&world, MIDNIGHT + 200 * HOUR, &[&retry[..], &["--batch", batch]].concat()), 0);
    }
    let files = names(&world).into_iter().map(|name| fs::read_to_string(world.path("metrics").join(name)).unwrap());
    let healthy = files.flat_map(|text| {
        let lines =
            text.lines().filter(|line| line.starts_with("cxnpoll_connections{") && line.contains("\"healthy\""));
        lines.map(|line| metric(line, "")).collect::<Vec<_>>()
    });
    assert_eq!(healthy.sum::<u64>(), 2);
}

#[test]
fn a_run_that_fails_says_so_and_a_declined_one_does_not() {
    let world = world(["ok", "ok"]);
    configure(&world, "[[listeners]]\nevent = \"civi_cxn.post-poll\"\nprogram = [\"false\"]\n");
    assert_eq!(poll(&world, MIDNIGHT, &[]), 78);
    let failed = text(&world);
    assert_eq!(value(&failed, "cxnpoll_run_exit_code", ""), 78);
    assert_eq!(value(&failed, "cxnpoll_polls_total", "outcome=\"ok\""), 2);
    assert!(!failed.contains("cxnpoll_last_success_timestamp_seconds{"), "{failed}");
    configure(&world, "");

    world.import(&[world.site(7, "hang")]);
    let mut active = world.start(&["poll", APP, "--metrics", "metrics"]);
    while world.server.polls(7) == 0 {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(poll(&world, MIDNIGHT + 1, &["-v"]), 75);
    assert_eq!(poll(&world, MIDNIGHT + 1, &[]), 75);
    assert_eq!(text(&world), failed);
    Command::new("kill").arg(active.id().to_string()).status().unwrap();
    assert_eq!(active.wait().unwrap().code(), Some(143));
    let ended = text(&world);
    assert_eq!(value(&ended, "cxnpoll_run_exit_code", ""), 143);
    assert_eq!(value(&ended, "cxnpoll_runs_total", "exit_code=\"143\""), 1);
    assert_eq!(value(&ended, "cxnpoll_runs_total", "exit_code=\"78\""), 1);
}

#[test]
fn only_files_of_the_same_job_are_removed() {
    let world = world(["ok", "ok", "ok"]);
    let named = |job: &str, batch: &str| format!("cxnpoll-{APP}-{job}-{batch}.prom");
    for (job, batch) in [("default", "0/2"), ("default", "1/2"), ("a-b", "0/2"), ("Default", "0/2")] {
        assert_eq!(poll(&world, MIDNIGHT, &["--name", job, "--batch", batch]), 0);
    }
    // A poll by hand is not a run of the job.
    assert_eq!(poll(&world, MIDNIGHT, &["--cxn", &world.site(0, "ok").cxn_id]), 0);
    let two = [named("default", "0of2"), named("default", "1of2"), named("a%2Db", "0of2"), named("%44efault", "0of2")];
    assert_eq!(names(&world), two.clone().into());
    // A former build gave the file of this job another name; its last success and its counters go on.
    fs::rename(world.path("metrics").join(&two[2]), world.path("metrics").join(named("a-b", "0of2"))).unwrap();
    let foreign = [named("default", "foreign"), "cxnpoll-x.prom".to_owned(), "other.prom".to_owned()];
    for name in &foreign {
        fs::write(world.path("metrics").join(name), "cxnpoll_due{app=\"x\",job=\"default\"} 1\n").unwrap();
    }
    assert_eq!(poll(&world, MIDNIGHT + 1, &[]), 0);
    assert_eq!(poll(&world, MIDNIGHT + 1, &["--name", "a-b", "--batch", "0/2"]), 0);
    let mut expected: BTreeSet<_> = foreign.into();
    expected.extend([named("default", "0of1"), two[2].clone(), two[3].clone()]);
    assert_eq!(names(&world), expected);
    let renamed = fs::read_to_string(world.path("metrics").join(&two[2])).unwrap();
    assert_eq!(metric(&renamed, "cxnpoll_runs_total{"), 2, "{renamed}");
}

#[test]
fn a_file_is_valid_for_any_name_of_a_job() {
    let world = world(["ok", "status-500"]);
    let job = "q\"u\\o,te} 1";
    for now in [MIDNIGHT, MIDNIGHT + 2 * HOUR] {
        assert_eq!(poll(&world, now, &["--name", job]), 0);
    }
    let name = names(&world).pop_first().unwrap();
    let text = fs::read_to_string(world.path("metrics").join(name)).unwrap();
    let (mut helped, mut typed, mut series) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut family = "";
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().unwrap();
            assert!(helped.insert(family), "{line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            assert!(kind.starts_with(family) && typed.insert(family), "{line}");
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with(family) && series.insert(name) && value.parse::<f64>().is_ok(), "{line}");
            assert!(name.contains(r#"job="q\"u\\o,te} 1""#), "{line}");
        }
    }
    assert!(helped == typed && helped.len() == 21, "{text}");
    assert_eq!(metric(&text, "cxnpoll_runs_total{"), 2, "{text}");
}
