//! What cron and those who watch over it get to see.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use common::{APP, MIDNIGHT, World, assert_quiet, code, stderr};
use serde_json::Value;

#[test]
fn the_log_has_the_details_and_cron_hears_nothing() {
    let world = World::with(["ok", "status-500", "slow-60"]);
    let poll = ["poll", APP, "--batch", "0/1", "--now", "1767225600"];
    assert_quiet(&world.run(&[&poll[..], &["--log-file", "log.json", "--log-format", "json"]].concat()));
    let log = fs::read_to_string(world.folder.path().join("log.json")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let polls: Vec<_> = lines.iter().filter(|line| line["outcome"].is_string()).collect();
    assert_eq!(polls.len(), 3, "{log}");
    let runs: BTreeSet<_> = polls.iter().map(|line| line["span"]["run"].as_str().unwrap().to_owned()).collect();
    assert_eq!((runs.len(), runs.first().unwrap().len()), (1, 8), "{log}");
    for line in &polls {
        assert_eq!(
            (&line["span"]["app"], &line["span"]["job"], &line["span"]["batch"]),
            (&APP.into(), &"default".into(), &"0/1".into())
        );
        assert!(
            line["ms"].is_u64() && line["cxn"].as_str().unwrap().starts_with("cxn:") && line["timestamp"].is_string()
        );
    }
    let slow = polls.iter().find(|line| line["cxn"] == world.site(2, "ok").cxn_id).unwrap();
    assert!(slow["outcome"] == "ok" && slow["ms"].as_u64().unwrap() >= 60, "{slow}");
    let bad = polls.iter().find(|line| line["cxn"] == world.site(1, "ok").cxn_id).unwrap();
    assert!(bad["outcome"] == "http" && bad["message"] == "status 500 Internal Server Error", "{bad}");
    assert!(log.contains("3 due, 3 polled, 2 ok, 1 failed (1 http)"), "{log}");

    let later = ["poll", APP, "--now", "1767229200", "--log-file", "log.txt"];
    assert_quiet(&world.run(&later));
    let log = fs::read_to_string(world.folder.path().join("log.txt")).unwrap();
    assert!(log.contains("run{run=") && log.contains("outcome=\"ok\"") && log.contains("outcome=http"), "{log}");
}

#[test]
fn a_log_that_can_not_be_written_is_told_once_and_ends_nothing() {
    let world = World::with(["ok", "status-500"]);
    let output = world.run(&["poll", APP, "--log-file", "/dev/full"]);
    assert_eq!(code(&output), 0);
    assert_eq!(stderr(&output), "warning: the log can't be written: No space left on device (os error 28)\n");
    assert_eq!(world.server.total(), 2);
    assert_eq!(code(&world.run(&["poll", APP, "--log-file", "nowhere/log"])), 78);
}

/// The value of a metric, by the beginning of its line.
fn metric(text: &str, start: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn metrics_are_those_of_the_last_run_but_for_the_last_success() {
    let world = World::with(["ok", "ok", "status-500", "slow-120"]);
    fs::create_dir(world.folder.path().join("metrics")).unwrap();
    let poll = |now: i64, more: &[&str]| {
        world.run(&[&["poll", APP, "--metrics", "metrics", "--now", &now.to_string()], more].concat())
    };
    assert_quiet(&poll(MIDNIGHT, &["--name", "a/b"]));
    assert_quiet(&poll(MIDNIGHT, &[]));
    let files: BTreeSet<_> = fs::read_dir(world.folder.path().join("metrics"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let file = format!("cxnpoll-{APP}-default-0of1.prom");
    assert!(files.len() == 2 && files.contains(&file) && files.iter().all(|name| name.contains(".prom")), "{files:?}");
    let path = world.folder.path().join("metrics").join(&file);
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
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

    // A run that is not well keeps the time of the last that was.
    thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(code(&poll(MIDNIGHT + 3600, &["--strict"])), 3);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(metric(&text, "cxnpoll_last_success_timestamp_seconds{"), success);
    assert!(metric(&text, "cxnpoll_run_timestamp_seconds{") > success);

    let output = world.run(&["poll", APP, "--metrics", "nowhere", "--now", &(MIDNIGHT + 7200).to_string()]);
    assert_eq!((code(&output), stderr(&output).lines().count()), (0, 1), "{output:?}");
    assert!(stderr(&output).starts_with("warning: metrics could not be written to nowhere: "), "{output:?}");
}

/// Somebody who listens to heartbeats, and the first lines of what he is told.
fn listener(status: &'static str) -> (SocketAddr, Receiver<String>) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let (tell, heard) = channel();
    thread::spawn(move || {
        for mut stream in server.incoming().flatten() {
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            tell.send(line.trim().to_owned()).unwrap();
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nOK");
        }
    });
    (address, heard)
}

#[test]
fn a_heartbeat_is_sent_where_a_run_ends_well() {
    let world = World::with(["ok", "status-500"]);
    let (address, heard) = listener("200 OK");
    let url = format!("http://{address}/ping/key?x=1");
    let poll = |now: i64, more: &[&str]| {
        world.run(&[&["poll", APP, "--heartbeat", &url, "--now", &now.to_string()], more].concat())
    };
    assert_quiet(&poll(MIDNIGHT, &[]));
    assert_eq!(heard.recv().unwrap(), "GET /ping/key?x=1 HTTP/1.1");
    assert_quiet(&poll(MIDNIGHT, &[]));
    assert!(heard.recv().unwrap().starts_with("GET "), "also where nothing was due");
    assert_eq!(code(&poll(MIDNIGHT + 3600, &["--strict"])), 3);
    assert!(heard.try_recv().is_err(), "but not where sites failed that must not");

    assert_eq!(code(&world.run(&["poll", APP, "--heartbeat", "nonsense"])), 2);
    let (deaf, _heard) = listener("500 No");
    let output = world.run(&["poll", APP, "--heartbeat", &format!("http://{deaf}/ping/key")]);
    assert_eq!(
        (code(&output), stderr(&output)),
        (0, "warning: the heartbeat was not heard: http: status 500 Internal Server Error\n".to_owned())
    );
}

#[test]
fn an_environment_as_poor_as_cron_s_is_enough() {
    let world = World::with(["ok"]);
    let mut command = world.command(&["--store", world.store().to_str().unwrap(), "poll", APP]);
    command.env_remove("HOME").env_remove("CXNPOLL_STORE");
    assert_quiet(&command.output().unwrap());
    assert_eq!(world.server.total(), 1);
}
