//! Runs through the binary: what only the whole program does.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use common::{APP, CERTIFICATE, MIDNIGHT, World, assert_quiet, code, stderr};
use serde_json::{Value, json};

/// Sends a signal to a child that is ours.
fn signal(child: &Child, name: &str) {
    let sent = std::process::Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Waits until something holds.
fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn wait(mut child: Child) -> (ExitStatus, String) {
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    (child.wait().unwrap(), text)
}

#[test]
fn a_crontab_line_of_cxnapp_works_with_its_apps_folder() {
    let world = World::new();
    let sites = world.sites(["ok"; 12]);
    world.import(&sites);
    let app = world.folder.path().join("apps/org.example.myapp");
    fs::create_dir_all(&app).unwrap();
    fs::write(app.join("metadata.json"), r#"{"app:org.example.myapp": {"title": "Mine", "appCert": "*PLACEHOLDER*"}}"#)
        .unwrap();
    fs::write(app.join("app.crt"), CERTIFICATE).unwrap();
    fs::write(world.folder.path().join("cxnpoll.toml"), "apps-dir = \"apps\"\nallow-net = [\"127.0.0.0/8\"]\n")
        .unwrap();

    world.server.record_calls();
    for batch in ["0/4", "1/4", "2/4", "3/4"] {
        let batch = format!("--batch={batch}");
        let line = ["cxn:poll", "org.example.myapp", "--name=get_site_info", &batch, "--retry=1 day (x30)"];
        assert_quiet(&world.run(&[&line[..], &["--env=prod", "--no-debug", "-n"]].concat()));
        assert_quiet(&world.run(&[&line[..], &["-e", "prod"]].concat()));
    }
    for site in &sites {
        assert_eq!(world.server.polls(site.number), 1, "{}", site.cxn_id);
    }
    let call = world.server.last_call(sites[0].number).unwrap();
    assert_eq!((call.entity.as_str(), call.action.as_str()), ("System", "get"));
    assert_eq!(call.app_cert, CERTIFICATE);

    fs::write(app.join("disable"), "").unwrap();
    assert_quiet(&world.run(&["poll", "org.example.myapp", "--name", "other"]));
    assert_eq!(world.server.total(), 12);
}

#[test]
fn outcomes_are_recorded_though_nobody_wants_to_wait_for_the_store() {
    let world = World::with(["slow-300"]);
    let run = world.start(&["poll", APP, "--store-wait", "0.1", "--now", &MIDNIGHT.to_string(), "--json"]);
    until("the site is polled", || world.server.total() == 1);
    let store = cxnpoll::store::Store::open(&world.store(), Duration::from_secs(30)).unwrap();
    let hold = |_: &_| {
        std::thread::sleep(Duration::from_secs(1));
        Ok(())
    };
    store.session(hold).unwrap();
    assert_eq!(wait(run).0.code(), Some(0));
    assert_eq!(world.explain(&world.site(0, "slow-300"), MIDNIGHT)["state"], "healthy");
}

#[test]
fn who_was_slow_comes_first_the_next_time() {
    let world = World::new();
    let mut sites = world.sites(["slow-400", "slow-400", "slow-400", "slow-1100"]);
    // A host of its own: on each, the most overdue comes first.
    sites[3].site_url = sites[3].site_url.replace("127.0.0.1", "localhost");
    world.import(&sites);
    world.poll(MIDNIGHT, &[]);
    let next = (MIDNIGHT + 3600).to_string();
    let run = world.start(&["poll", APP, "--threads", "2", "--now", &next]);
    until("two sites are polled", || world.server.total() == 6);
    assert_eq!(world.server.polls(3), 2);
    assert_eq!(wait(run).0.code(), Some(0));
    let output = world.run(&["explain", &sites[3].cxn_id]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("; it took 1."), "{output:?}");
    assert_eq!(world.export().iter().filter(|line| line.contains(r#""tookMs":11"#)).count(), 1);
}

#[test]
fn a_failing_site_is_polled_less_and_less_and_then_given_up() {
    let world = World::with(["ok", "status-500"]);
    let retry = "20min (x2); 1hour (x2)";
    let mut polls = Vec::new();
    for tick in 0..24 {
        let now = MIDNIGHT + tick * 600;
        let before = [world.server.polls(0), world.server.polls(1)];
        let summary = world.poll(now, &["--retry", retry]);
        let polled: Vec<u32> = (0..2).filter(|n| world.server.polls(*n) > before[*n as usize]).collect();
        assert_eq!(summary["polled"], polled.len());
        if polled.contains(&1) {
            polls.push((tick * 10, summary["givenUp"].as_u64().unwrap()));
        }
        assert_eq!(polled.contains(&0), tick % 2 == 0, "the healthy site at tick {tick}");
    }
    assert_eq!(polls, [(0, 0), (20, 0), (80, 0), (140, 1)]);
    let explained = world.explain(&world.site(1, "status-500"), MIDNIGHT + 86_400);
    assert_eq!((&explained["state"], &explained["nextDue"]), (&json!("given-up"), &Value::Null));
    world.assert_sound();
}

#[test]
fn every_misbehaviour_has_its_class_and_hurts_nobody_else() {
    let classes = [
        ("ok", "ok"),
        ("slow-100", "ok"),
        ("redirect-307", "ok"),
        ("redirect-308", "ok"),
        ("api-error", "api"),
        ("garbled", "garbled"),
        ("insecure", "garbled"),
        ("empty", "garbled"),
        ("status-500", "http"),
        ("status-404", "http"),
        ("status-410", "gone"),
        ("wrong-cxn", "protocol"),
        ("expired", "protocol"),
        ("bad-hmac", "protocol"),
        ("hang", "timeout"),
        ("drip", "timeout"),
        ("endless", "too-large"),
        ("redirect-302", "redirect"),
        ("redirect-loop", "redirect"),
        ("close", "disconnected"),
        ("reset", "disconnected"),
        ("short", "disconnected"),
    ];
    let world = World::with(classes.map(|(behaviour, _)| behaviour));
    let summary = world.poll(MIDNIGHT, &["--timeout", "2"]);
    assert_eq!((&summary["polled"], &summary["ok"]), (&json!(classes.len()), &json!(4)), "{summary}");
    for ((behaviour, class), site) in classes.iter().zip(world.sites(classes.map(|(behaviour, _)| behaviour))) {
        let explained = world.explain(&site, MIDNIGHT);
        assert_eq!(explained["lastOutcome"]["class"], *class, "{behaviour}: {explained}");
    }
    world.assert_sound();
}

#[test]
fn addresses_that_are_not_public_are_refused_unless_allowed() {
    let world = World::with(["ok"; 3]);
    fs::write(world.folder.path().join("cxnpoll.toml"), "").unwrap();
    let poll = ["poll", APP, "--json", "--now", "1767225600"];
    let summary = world.json(&poll);
    assert_eq!(summary["failures"], json!({"blocked": 3}));
    assert_eq!(world.server.total(), 0);
    let later = ["poll", APP, "--json", "--now", "1767229200", "--allow-net", "127.0.0.1"];
    assert_eq!(world.json(&later)["ok"], 3);
}

#[test]
fn three_runners_poll_every_site_once_a_fourth_declines_and_status_answers() {
    let world = World::with(["slow-700"; 60]);
    let batch =
        |batch: &str| world.start(&["poll", APP, "--batch", batch, "--threads", "4", "--per-host", "64", "--json"]);
    let runners = ["0/3", "1/3", "2/3"].map(batch);
    until("all three are polling", || world.server.max_open() >= 10);

    let fourth = world.run(&["poll", APP, "--batch", "0/1"]);
    assert_eq!(code(&fourth), 75);
    assert!(fourth.stdout.is_empty() && fourth.stderr.is_empty(), "declining is no news: {fourth:?}");
    let told = world.run(&["poll", APP, "--batch", "1/2", "-v"]);
    assert_eq!(code(&told), 75);
    assert!(stderr(&told).contains("another runner"), "{told:?}");
    assert_eq!(world.json(&["status", "--json"])[0]["total"], 60);

    let polled: u64 = runners
        .map(|runner| {
            let (status, text) = wait(runner);
            assert!(status.success());
            serde_json::from_str::<Value>(&text).unwrap()["polled"].as_u64().unwrap()
        })
        .iter()
        .sum();
    assert_eq!(polled, 60);
    for number in 0..60 {
        assert_eq!((world.server.polls(number), world.server.max_concurrent(number)), (1, 1), "site {number}");
    }
    world.assert_sound();
}

#[test]
fn who_changes_a_connection_while_it_is_polled_wins() {
    let world = World::with(["slow-2000", "slow-2000"]);
    let [site, other] = [0, 1].map(|number| world.site(number, "slow-2000"));
    let runner = world.start(&["poll", APP, "--json", "--now", &MIDNIGHT.to_string()]);
    until("both are being polled", || world.server.max_open() == 2);
    let mut line: Value = serde_json::from_str(&site.jsonl()).unwrap();
    line["disabled"] = json!(true);
    world.import_text(&line.to_string());

    let (status, text) = wait(runner);
    let summary: Value = serde_json::from_str(&text).unwrap();
    assert!(status.success());
    assert_eq!((&summary["ok"], &summary["dropped"]), (&json!(2), &json!(1)), "{summary}");
    assert_eq!(world.explain(&site, MIDNIGHT)["lastRun"], 0);
    assert_eq!(world.explain(&other, MIDNIGHT)["lastRun"], MIDNIGHT);
    world.assert_sound();
}

#[test]
fn signals_end_a_run_well() {
    for (name, expected) in [("-TERM", 143), ("-INT", 130)] {
        let world = World::with(["slow-2000"; 20]);
        let runner = world.start(&["poll", APP, "--threads", "4", "--json"]);
        until("four are being polled", || world.server.max_open() == 4);
        signal(&runner, name);
        let (status, text) = wait(runner);
        let summary: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(status.code(), Some(expected));
        assert_eq!((&summary["due"], &summary["ok"]), (&json!(20), &json!(4)), "{summary}");
        assert_eq!(world.server.total(), 4);
        assert_eq!(world.json(&["status", "--json"])[0]["healthy"], 4);
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let world = World::with(["hang"]);
    let runner = world.start(&["poll", APP]);
    until("it is being polled", || world.server.max_open() == 1);
    let began = Instant::now();
    signal(&runner, "-TERM");
    std::thread::sleep(Duration::from_millis(200));
    signal(&runner, "-TERM");
    assert_eq!(wait(runner).0.code(), Some(143));
    assert!(began.elapsed() < Duration::from_secs(8), "the grace period was cut short");
}

#[test]
fn max_runtime_starts_no_new_poll_and_ends_well() {
    let world = World::with(["slow-400"; 30]);
    let summary = world.poll(MIDNIGHT, &["--threads", "2", "--max-runtime", "0.6"]);
    let polled = summary["polled"].as_u64().unwrap();
    assert!((2..30).contains(&polled), "{summary}");
    assert_eq!(world.server.total(), polled);
    assert_eq!(world.json(&["status", "--json"])[0]["new"], 30 - polled);
}

#[test]
fn a_dry_run_lists_what_is_due_and_touches_nothing() {
    let world = World::with(["ok", "status-500", "ok"]);
    let database = world.store().join("db-1/db");
    let before = fs::read(&database).unwrap();
    let list = |more: &[&str]| {
        let output = world.run(&[&["poll", APP, "--dry-run", "--json"], more].concat());
        assert_eq!(code(&output), 0, "{output:?}");
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    assert_eq!(list(&[]).len(), 3);
    assert_eq!(list(&["--limit", "2"]).len(), 2);
    assert_eq!((world.server.total(), fs::read(&database).unwrap()), (0, before));

    world.poll(MIDNIGHT, &["--retry", "1 hour (x1); 10 min (x9)"]);
    let due = list(&["--now", &(MIDNIGHT + 600).to_string(), "--retry", "1 hour (x1); 10 min (x9)"]);
    let site = world.site(1, "status-500");
    assert_eq!(
        due,
        [json!({"cxnId": site.cxn_id, "siteUrl": site.site_url, "pollLevel": 1, "pollCount": 0,
                "lastRun": MIDNIGHT, "due": MIDNIGHT + 600})]
    );
}

#[test]
fn one_connection_by_hand_due_or_not() {
    let world = World::with(["ok", "status-500"]);
    let [good, bad] = [world.site(0, "ok"), world.site(1, "status-500")];
    let dry = world.run(&["poll", APP, "--cxn", &good.cxn_id, "--dry-run", "--json"]);
    assert_eq!(String::from_utf8(dry.stdout).unwrap().lines().count(), 1);
    for polls in 1..=2 {
        assert_quiet(&world.run(&["poll", APP, "--cxn", &good.cxn_id]));
        assert_eq!(world.server.polls(0), polls);
    }
    assert_eq!(code(&world.run(&["poll", APP, "--cxn", &bad.cxn_id])), 3);
    assert_eq!(world.explain(&bad, MIDNIGHT)["pollCount"], 1);
    assert_eq!(code(&world.run(&["poll", APP, "--cxn", "cxn:none"])), 66);
    assert_eq!(code(&world.run(&["poll", APP, "--name", "other", "--strict"])), 3);
    assert_eq!(code(&world.run(&["poll", APP, "--name", "third"])), 0);
}

#[test]
fn who_asks_by_hand_waits_for_the_run_that_has_it_and_is_not_the_last_run() {
    let world = World::with(["slow-1500"; 4]);
    let runner = world.start(&["poll", APP, "--threads", "2"]);
    until("two are being polled", || world.server.max_open() == 2);
    let output = world.run(&["poll", APP, "--cxn", &world.site(0, "slow-1500").cxn_id]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(stderr(&output).contains("waiting for it"), "{output:?}");
    assert!(wait(runner).0.success());
    assert_eq!((world.server.polls(0), world.server.max_concurrent(0)), (2, 1));
    assert_eq!(world.json(&["status", "--json"])[0]["lastRun"]["polled"], 4);
}

#[test]
fn too_few_open_files_cut_the_threads_and_charge_nobody() {
    let world = World::with(["slow-100"; 120]);
    let output = limited(&world, "ulimit -n 128", "--threads 500 --per-host 500");
    assert!(stderr(&output).contains("only 32 sites at the same time, not 120"), "{output:?}");
    assert_eq!(world.server.max_open(), 32);
}

/// A run with a limit of the shell's, in which all sites must be well.
fn limited(world: &World, limit: &str, more: &str) -> std::process::Output {
    let poll = format!("{limit}; exec {} poll {APP} {more} --json", env!("CARGO_BIN_EXE_cxnpoll"));
    // The environment of any other command of this world.
    let mut shell = world.command(&[]);
    let environment: Vec<_> =
        shell.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    shell = std::process::Command::new("sh");
    let output = shell.args(["-c", &poll]).env_clear().envs(environment).output().unwrap();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["ok"], summary["due"], "{summary}");
    output
}

#[test]
fn open_files_are_raised_as_far_as_they_may() {
    let world = World::with(["slow-500"; 150]);
    let output = limited(&world, "ulimit -Sn 64", "--threads 150 --per-host 150");
    assert!(output.stderr.is_empty(), "{output:?}");
    assert_eq!(world.server.max_open(), 150);
}

#[test]
fn a_deferral_is_not_charged() {
    for behaviour in ["retry-after-7200", "busy-7200"] {
        deferred(behaviour);
    }
}

fn deferred(behaviour: &str) {
    let world = World::with([behaviour]);
    let site = world.site(0, behaviour);
    let summary = world.poll(MIDNIGHT, &[]);
    assert_eq!((&summary["deferred"], &summary["failed"]), (&json!(1), &json!(0)), "{summary}");
    let explained = world.explain(&site, MIDNIGHT + 3600);
    assert_eq!((&explained["state"], &explained["pollCount"]), (&json!("deferred"), &json!(0)), "{explained}");
    // A date is judged by the real clock, which goes on.
    let due = explained["nextDue"].as_i64().unwrap();
    assert!((MIDNIGHT + 7190..=MIDNIGHT + 7200).contains(&due), "{explained}");
    let told = String::from_utf8(world.run(&["explain", &site.cxn_id, "--now", "1767225600"]).stdout).unwrap();
    assert!(told.contains("asked to be left alone until 2026-01-01 0"), "{told}");
    assert_eq!(world.poll(MIDNIGHT + 7000, &[])["due"], 0);
    assert_eq!(world.poll(MIDNIGHT + 7200, &[])["deferred"], 1);
    assert_eq!(world.poll(MIDNIGHT + 14_400, &[])["failures"], json!({"http": 1}), "the third in a row is charged");
    world.assert_sound();
}

#[test]
fn another_expression_warns_of_whom_it_gives_up_and_brings_back() {
    let world = World::with(["status-500"; 5]);
    let at = |tick: i64, retry: &str| {
        let now = (MIDNIGHT + tick * 3600).to_string();
        stderr(&world.run(&["poll", APP, "--per-host", "9", "--now", &now, "--retry", retry]))
    };
    assert_eq!(at(0, "1 hour (x1); 1 hour (x9)"), "");
    let shorter = at(1, "1 hour (x1)");
    assert!(shorter.contains("gives up 5 sites"), "{shorter}");
    assert_eq!(world.server.total(), 5, "the given-up ones are not polled");
    let longer = at(2, "1 hour (x1); 1 hour (x9)");
    assert!(longer.contains("brings back 5 sites"), "{longer}");
    assert_eq!(world.server.total(), 10);
}

#[test]
fn a_clock_that_was_wrong_does_not_stop_polling_for_ever() {
    let world = World::with(["ok"]);
    world.poll(MIDNIGHT + 100 * 86_400, &[]);
    let output = world.run(&["poll", APP, "--now", &MIDNIGHT.to_string()]);
    assert!(stderr(&output).contains("future"), "{output:?}");
    assert_eq!(world.explain(&world.site(0, "ok"), MIDNIGHT)["lastRun"], MIDNIGHT);
}

#[test]
fn a_killed_run_loses_nothing_and_no_site_is_missed() {
    let world = World::with(["slow-30"; 400]);
    let poll = ["poll", APP, "--threads", "8", "--per-host", "64", "--now", "1767225600"];
    for attempt in 0u64..12 {
        let mut runner = world.start(&poll);
        // From the first steps of the start to the middle of the polling.
        std::thread::sleep(Duration::from_millis(attempt * attempt * 5));
        runner.kill().unwrap();
        runner.wait().unwrap();
        world.assert_sound();
    }
    assert_quiet(&world.run(&poll));
    let status = &world.json(&["status", "--json", "--now", "1767225600"])[0];
    assert_eq!((&status["total"], &status["healthy"]), (&json!(400), &json!(400)), "{status}");
    let polls: BTreeMap<u64, usize> = (0..400).fold(BTreeMap::new(), |mut polls, number| {
        *polls.entry(world.server.polls(number)).or_default() += 1;
        polls
    });
    assert!(!polls.contains_key(&0), "{polls:?}");
    // What was recorded is not polled again: most sites are polled by one run alone.
    assert!(polls[&1] > 100, "{polls:?}");
}
