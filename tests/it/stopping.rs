//! How a run ends early: signals and `--max-runtime`.

use std::io::{BufRead, BufReader};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::testkit::{APP, MIDNIGHT, StoreLocks, World, signal, until, wait};

#[test]
fn signal_ends_a_run_after_the_polls_in_flight() {
    let hangup = Some("-HUP");
    for (name, next, expected) in
        [("-TERM", None, 143), ("-INT", None, 130), ("-HUP", hangup, 129), ("-TERM", hangup, 143)]
    {
        let world = World::with(["slow-1000"; 20]);
        let runner = world.start(&["poll", APP, "--threads", "4", "--json"]);
        until("four are being polled", || world.server.max_open() == 4);
        signal(&runner, name);
        if let Some(next) = next {
            // A terminal that ends sends it more than once, and systemd can send it after SIGTERM.
            thread::sleep(Duration::from_millis(20));
            signal(&runner, next);
        }
        let (status, text) = wait(runner);
        let summary: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(status.code(), Some(expected));
        assert_eq!((&summary["due"], &summary["ok"]), (&json!(20), &json!(4)), "{summary}");
        assert_eq!(world.server.total(), 4);
        assert_eq!(world.json(&["status", "--json"])[0]["healthy"], 4);
    }
}

#[test]
fn second_signal_ends_a_run_at_once() {
    let world = World::with(["hang"]);
    let runner = world.start(&["poll", APP]);
    until("it is being polled", || world.server.max_open() == 1);
    let began = Instant::now();
    signal(&runner, "-TERM");
    thread::sleep(Duration::from_millis(200));
    signal(&runner, "-TERM");
    assert_eq!(wait(runner).0.code(), Some(143));
    assert!(began.elapsed() < Duration::from_secs(8), "the grace period was cut short");
}

#[test]
fn grace_period_ends_a_run_although_a_site_hangs() {
    let world = World::with(["hang", "ok", "ok", "ok"]);
    let poll = ["poll", APP, "--json", "--timeout", "30", "--now", &MIDNIGHT.to_string()];
    let runner = world.start(&poll);
    until("all are being polled", || world.server.total() == 4);
    let began = Instant::now();
    signal(&runner, "-TERM");
    let (status, text) = wait(runner);
    let took = began.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(20)).contains(&took), "{took:?}");
    assert_eq!(status.code(), Some(143));
    let summary: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&summary["ok"], &summary["failed"]), (&json!(3), &json!(0)), "{summary}");
    let status = &world.json(&["status", "--json", "--now", &MIDNIGHT.to_string()])[0];
    assert_eq!((&status["healthy"], &status["new"]), (&json!(3), &json!(1)), "{status}");
    world.assert_sound();
}

/// The longest time from a signal to its acknowledgement.
const MAX_DELAY: Duration = Duration::from_millis(100);
/// How often the delay is measured. Other processes may delay one measurement, but a wait for the store delays all.
const ROUNDS: usize = 3;

#[test]
fn signal_is_acknowledged_while_another_process_holds_the_store() {
    let mut delays = Vec::new();
    while delays.last().is_none_or(|delay| *delay > MAX_DELAY) {
        assert!(delays.len() < ROUNDS, "acknowledged after {delays:?}");
        delays.push(delay_while_the_store_is_held());
    }
}

/// Stops a run that waits for a store which this process holds.
///
/// Returns the time from the signal until the run reports it.
fn delay_while_the_store_is_held() -> Duration {
    let world = World::with(["slow-100"; 200]);
    let poll = ["poll", APP, "--threads", "2", "-v", "--store-wait", "60", "--now", &MIDNIGHT.to_string()];
    let mut runner = world.start(&poll);
    let stderr = BufReader::new(runner.stderr.take().unwrap());
    let (sender, lines) = channel();
    let reader = thread::spawn(move || {
        for line in stderr.lines() {
            // The receiver may need no more lines.
            let _ = sender.send((line.unwrap(), Instant::now()));
        }
    });
    until("the first poll has ended", || world.server.total() > 2);
    let locks = StoreLocks::acquire(&world);
    until("the run waits for the store", || locks.another_process_waits());
    // The run has outcomes of more polls by then, which it cannot record.
    let waiting = world.server.total();
    until("polls go on during the wait", || world.server.total() > waiting + 20);
    let signalled = Instant::now();
    kill_process(Pid::from_child(&runner), Signal::TERM).unwrap();
    let acknowledged = loop {
        // Without an acknowledgement, the store stays held for 20 s.
        let (line, at) = lines.recv_timeout(Duration::from_secs(20)).expect("the run reports the signal");
        if line.contains("no new poll starts") {
            break at;
        }
    };
    let polled = world.server.total();
    thread::sleep(Duration::from_millis(300));
    let polled_later = world.server.total();
    drop(locks);
    assert_eq!(wait(runner).0.code(), Some(143));
    reader.join().unwrap();
    assert_eq!(polled_later, polled, "a poll started after the acknowledgement");
    let healthy = world.json(&["status", "--json", "--now", &MIDNIGHT.to_string()])[0]["healthy"].clone();
    assert_eq!(healthy, polled, "every outcome is recorded");
    acknowledged - signalled
}

#[test]
fn max_runtime_starts_no_new_poll() {
    let world = World::with(["slow-400"; 30]);
    let summary = world.poll(MIDNIGHT, &["--threads", "2", "--max-runtime", "0.6"]);
    let polled = summary["polled"].as_u64().unwrap();
    assert!((2..30).contains(&polled), "{summary}");
    assert_eq!(world.server.total(), polled);
    assert_eq!(world.json(&["status", "--json"])[0]["new"], 30 - polled);
}
