//! Outages of this machine's network, the same answer of all sites, and hosts that are down.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Output;

use civisite::{Server, Site};
use serde_json::{Value, json};

use crate::testkit::{APP, MIDNIGHT, World, assert_quiet, code, json_lines, stderr, until};

const HOUR: i64 = 3600;

/// Imports sites that are each in a loopback network of their own.
fn world(behaviours: impl IntoIterator<Item = &'static str>) -> (World, Vec<Site>) {
    let world = World::on_all_addresses();
    let sites: Vec<_> = (0..)
        .zip(behaviours)
        .map(|(number, behaviour)| world.site_on_own_host(number, behaviour.parse().unwrap()))
        .collect();
    world.import(&sites);
    (world, sites)
}

/// Runs `poll`, with any exit code; returns its summary too.
fn run(world: &World, now: i64, more: &[&str]) -> (Output, Value) {
    let output = world.run(&[&["poll", APP, "--json", "--now", &now.to_string()], more].concat());
    let summary = serde_json::from_slice(&output.stdout).unwrap();
    (output, summary)
}

#[test]
fn outage_spares_all_sites_for_a_day() {
    let (world, sites) = world(["ok"; 12]);
    assert_eq!(world.poll(MIDNIGHT, &[])["ok"], 12);

    world.server.stop_listening().unwrap();
    for hour in 1..=24 {
        let (output, summary) = run(&world, MIDNIGHT + hour * HOUR, &[]);
        assert_eq!((code(&output), &summary["outage"], &summary["failed"]), (69, &json!(true), &json!(0)), "{summary}");
        assert_eq!(stderr(&output).lines().count(), 1, "{output:?}");
    }
    let explained = world.explain(&sites[3], MIDNIGHT + HOUR);
    assert_eq!((&explained["lastRun"], &explained["pollCount"]), (&json!(MIDNIGHT), &json!(0)));
    let counted = world.poll(MIDNIGHT + 25 * HOUR, &[]);
    assert_eq!((&counted["outage"], &counted["failures"]), (&json!(false), &json!({"connect": 12})));
    world.assert_sound();
}

#[test]
fn successful_run_restarts_the_day_of_outages() {
    let (world, _) = world(["ok"; 12]);
    world.poll(MIDNIGHT, &[]);
    let outage = |hour: i64| code(&run(&world, MIDNIGHT + hour * HOUR, &[]).0);
    world.server.stop_listening().unwrap();
    assert_eq!((outage(1), outage(20)), (69, 69));
    world.server.resume_listening().unwrap();
    assert_eq!(world.poll(MIDNIGHT + 21 * HOUR, &[])["ok"], 12, "the next run polls the spared sites");
    world.server.stop_listening().unwrap();
    assert_eq!((outage(30), outage(53), outage(54)), (69, 69, 0));
}

#[test]
fn day_without_a_run_and_a_wrong_clock_restart_the_day_of_outages() {
    let (world, _) = world(["ok"; 12]);
    world.poll(MIDNIGHT, &[]);
    let outage = |hour: i64| code(&run(&world, MIDNIGHT + hour * HOUR, &[]).0);
    world.server.stop_listening().unwrap();
    assert_eq!((outage(1), outage(26)), (69, 69), "no run for 25 hours");
    assert_eq!((outage(1000), outage(27)), (69, 69), "the clock was ahead");
    assert_eq!((outage(50), outage(51)), (69, 0));
}

#[test]
fn run_that_polls_nothing_does_not_restart_the_day_of_outages() {
    let (world, _) = world(["ok"; 12]);
    let config = world.config();
    world.poll(MIDNIGHT, &[]);
    let run = |hour: i64| run(&world, MIDNIGHT + hour * HOUR, &[]);
    world.server.stop_listening().unwrap();
    assert_eq!(code(&run(1).0), 69);
    // A listener that cannot start ends a run before any poll has an outcome.
    world.append_config("[[listeners]]\nevent = \"civi_cxn.poll\"\nprogram = [\"./missing\"]\n");
    let broken = world.run(&["poll", APP, "--now", &(MIDNIGHT + 2 * HOUR).to_string()]);
    assert_eq!(code(&broken), 78, "{broken:?}");
    assert_eq!(world.json(&["status", "--json"])[0]["lastRun"]["polled"], 0);
    assert!(!world.text(&["status"]).contains("So did all runs"), "it met no outage");
    world.set_config(&config);
    assert_eq!(code(&run(24).0), 69);
    let (output, summary) = run(25);
    assert_eq!((code(&output), &summary["failures"]), (0, &json!({"connect": 12})), "the day began at hour 1");
}

#[test]
fn outage_in_the_middle_keeps_replies_and_leaves_the_rest() {
    let (world, sites) = world(vec!["slow-50"; 1500]);
    assert_eq!(world.poll(MIDNIGHT, &["--threads", "256"])["ok"], 1500);
    world.server.reset_counts();
    let now = MIDNIGHT + HOUR;
    let runner = world.start(&["poll", APP, "--json", "--threads", "4", "--now", &now.to_string()]);
    until("16 are polled", || world.server.total() >= 16);
    world.server.stop_listening().unwrap();
    let output = runner.wait_with_output().unwrap();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((code(&output), &summary["outage"], &summary["failed"]), (69, &json!(true), &json!(0)), "{summary}");
    let answered = world.server.total();
    assert_eq!(summary["ok"], answered, "replies to polls in flight count: {summary}");
    assert!(summary["polled"].as_u64().unwrap() < 1500, "no new poll starts: {summary}");
    for line in world.export() {
        let line: Value = serde_json::from_str(&line).unwrap();
        let site = sites.iter().find(|site| line["cxnId"] == site.cxn_id).unwrap();
        let last_run = if world.server.polls(site.number) > 0 { now } else { MIDNIGHT };
        assert_eq!(line["pollStatus"]["default"]["lastRun"], last_run, "{}", site.number);
    }
    world.server.resume_listening().unwrap();
    assert_eq!(world.poll(now, &["--threads", "256"])["ok"], 1500 - answered);
    world.assert_sound();
}

#[test]
fn three_sites_detect_an_outage_and_two_do_not() {
    for (count, exit) in [(3, 69), (2, 0)] {
        let (world, sites) = world(vec!["ok"; count]);
        world.poll(MIDNIGHT, &[]);
        world.server.stop_listening().unwrap();
        let (output, summary) = run(&world, MIDNIGHT + HOUR, &[]);
        assert_eq!((code(&output), &summary["outage"]), (exit, &json!(exit == 69)), "{summary}");
        assert_eq!(world.explain(&sites[0], MIDNIGHT + HOUR)["pollCount"], i32::from(exit == 0));
    }
}

#[test]
fn one_host_with_many_sites_is_no_outage() {
    let world = World::with(["ok"; 20]);
    world.poll(MIDNIGHT, &[]);
    world.server.stop_listening().unwrap();
    let summary = world.poll(MIDNIGHT + HOUR, &[]);
    assert_eq!((&summary["outage"], &summary["failures"]), (&json!(false), &json!({"connect": 20})));
}

#[test]
fn the_same_answer_of_all_sites_spares_them() {
    for count in [5, 60] {
        let (world, sites) = world(vec!["ok-first-1"; count]);
        world.poll(MIDNIGHT, &[]);
        let (output, summary) = run(&world, MIDNIGHT + HOUR, &[]);
        let cause = (&summary["outage"], &summary["outageCause"], &summary["failed"]);
        assert_eq!((code(&output), cause), (69, (&json!(true), &json!("refused"), &json!(0))), "{summary}");
        let message = stderr(&output);
        assert!(message.contains("500 Internal Server Error") && message.lines().count() == 1, "{message}");
        assert!(message.contains(&format!("the next run polls {count} sites")), "{message}");
        assert!(!message.contains("check the network"), "{message}");
        assert_eq!(world.explain(&sites[3], MIDNIGHT + HOUR)["lastRun"], MIDNIGHT);
        assert_eq!(world.json(&["status", "--json"])[0]["lastRun"]["outageCause"], "refused");
    }
}

#[test]
fn the_same_answer_from_the_middle_of_a_run_on_spares_the_rest() {
    let behaviours = (0..60).map(|number| if number < 20 { "ok" } else { "ok-first-1" });
    let (world, mut sites) = world(behaviours);
    for site in &mut sites {
        site.batch_code = Some(u16::try_from(site.number).unwrap());
    }
    fs::remove_dir_all(world.store()).unwrap();
    world.import(&sites);
    assert_eq!(world.poll(MIDNIGHT, &[])["ok"], 60);
    let (output, summary) = run(&world, MIDNIGHT + HOUR, &["--threads", "1"]);
    assert_eq!(
        (code(&output), &summary["outageCause"], &summary["failed"]),
        (69, &json!("refused"), &json!(0)),
        "{summary}"
    );
}

#[test]
fn half_of_the_sites_are_counted_whatever_they_answer() {
    let behaviours = (0..60).map(|number| if number % 2 == 0 { "ok-first-1" } else { "ok" });
    let (world, _) = world(behaviours);
    world.poll(MIDNIGHT, &[]);
    let summary = world.poll(MIDNIGHT + HOUR, &[]);
    assert_eq!((&summary["outage"], &summary["failures"]), (&json!(false), &json!({"http": 30})), "{summary}");
}

#[test]
fn listener_that_fails_at_every_site_spares_them() {
    let (world, sites) = world(["ok"; 5]);
    world.poll(MIDNIGHT, &[]);
    let fails = r#"program = ["sh", "-c", "read -r event; echo '{\"error\": \"KeyError: version\"}'"]"#;
    world.append_config(&format!("[[listeners]]\nevent = \"civi_cxn.poll\"\n{fails}\n"));
    let (output, summary) = run(&world, MIDNIGHT + HOUR, &[]);
    assert_eq!((code(&output), &summary["outageCause"]), (78, &json!("listener")), "{summary}");
    assert!(stderr(&output).contains("KeyError: version"), "{output:?}");
    assert_eq!(world.explain(&sites[3], MIDNIGHT + HOUR)["lastRun"], MIDNIGHT);
}

/// Imports sites with networks of their own, numbered in the order in which one thread polls them.
///
/// All were polled with success at midnight. Afterwards nothing answers for the dead ones.
fn with_dead_sites(count: u32, is_dead: impl Fn(u32) -> bool) -> (World, Server) {
    let (world, mut sites) = world(vec!["ok"; count as usize]);
    let dead = Server::bind((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
    let ports = [world.server.port(), dead.port()].map(|port| format!(":{port}/"));
    for site in &mut sites {
        site.batch_code = Some(u16::try_from(site.number).unwrap());
        if is_dead(site.number) {
            site.site_url = site.site_url.replace(&ports[0], &ports[1]);
        }
    }
    fs::remove_dir_all(world.store()).unwrap();
    world.import(&sites);
    assert_eq!(world.poll(MIDNIGHT, &[])["ok"], count);
    dead.stop_listening().unwrap();
    (world, dead)
}

#[test]
fn one_reply_ends_the_suspicion() {
    // Three failures are enough for a suspicion, and ten more polls are made, so at least one of them is answered.
    let (world, _dead) = with_dead_sites(24, |number| number < 12);
    let counted = world.poll(MIDNIGHT + HOUR, &["--threads", "1"]);
    assert_eq!((&counted["outage"], &counted["ok"], &counted["failed"]), (&json!(false), &json!(12), &json!(12)));
}

#[test]
fn dead_sites_do_not_delay_the_others() {
    // The dead sites come first, and most of those that are polled to find out are dead. So a run may end early.
    let (world, _dead) = with_dead_sites(1000, |number| number < 800);
    // The next runs start with other sites. With each reply some of the dead sites are counted.
    for tick in 0..=6 {
        run(&world, MIDNIGHT + HOUR + tick * 300, &[]);
    }
    // Those that are polled first are polled again meanwhile, since their crowd is spread.
    let sites = json_lines(&world.text(&["get", "--json"]));
    let was_ok = |site: &&Value| site["jobs"]["default"]["lastSuccess"].as_i64() >= Some(MIDNIGHT + HOUR);
    assert_eq!(sites.iter().filter(was_ok).count(), 200);
    let status = &world.json(&["status", "--json", "--now", &(MIDNIGHT + HOUR + 1800).to_string()])[0];
    assert_eq!((&status["healthy"], &status["levels"][0]), (&json!(200), &json!(800)), "{status}");
}

/// At most ticks only dead sites are due, because failing sites are polled more often. Nothing could reply then.
#[test]
fn many_dead_sites_are_counted_and_given_up() {
    let (world, sites) = world(["ok"; 24]);
    let retry = ["--retry", "2 hour (x1); 30 min (x120)"];
    assert_eq!(world.poll(MIDNIGHT, &retry)["ok"], 24);
    let dead = Server::bind((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
    dead.stop_listening().unwrap();
    let lines: Vec<_> = sites[..12]
        .iter()
        .map(|site| {
            let mut line: Value = serde_json::from_str(&site.jsonl()).unwrap();
            line["viaPort"] = json!(format!("127.1.{}.1:{}", site.number, dead.port()));
            line.to_string()
        })
        .collect();
    world.import_text(&lines.join("\n"));

    let mut dead_only = 0;
    for tick in 0..=120 {
        let now = MIDNIGHT + 2 * HOUR + tick * HOUR / 2;
        let (output, summary) = run(&world, now, &retry);
        assert_eq!((code(&output), &summary["outage"]), (0, &json!(false)), "tick {tick}: {summary}");
        assert_eq!(summary["failures"], json!({"connect": 12}), "tick {tick}: {summary}");
        dead_only += u64::from(summary["polled"] == 12);
        let given_up = if tick == 120 { 12 } else { 0 };
        assert_eq!(summary["givenUp"], given_up, "tick {tick}");
    }
    assert_eq!(dead_only, 90, "ticks at which only dead sites were due");
    let explained = world.explain(&sites[0], MIDNIGHT + 30 * 24 * HOUR);
    assert_eq!((&explained["state"], &explained["nextDue"]), (&json!("given-up"), &Value::Null));
    world.assert_sound();
}

#[test]
fn host_of_which_two_sites_ask_to_wait_is_left_to_the_next_run() {
    let world = World::on_all_addresses();
    let busy = (0..40).map(|number| world.site(number, "retry-after-60"));
    let others = (40..60).map(|number| world.site_on_own_host(number, civisite::Behaviour::Ok));
    world.import(&busy.chain(others).collect::<Vec<_>>());
    let output = world.run(&["poll", APP, "--json", "-v", "--per-host", "1", "--now", &MIDNIGHT.to_string()]);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["ok"], &summary["failed"], &summary["outage"]), (&json!(20), &json!(0), &json!(false)));
    let (deferred, skipped) = (summary["deferred"].as_u64().unwrap(), summary["skipped"].as_u64().unwrap());
    assert!((2..40).contains(&deferred) && deferred + skipped == 40, "{summary}");
    assert_eq!(world.server.total(), 20 + deferred, "no other site of the host is called");
    let status = &world.json(&["status", "--json", "--now", &MIDNIGHT.to_string()])[0];
    assert_eq!((&status["new"], &status["lastRun"]["skipped"]), (&json!(skipped), &json!(skipped)), "{status}");
    let hosts = json!([{"address": "127.0.0.1", "reason": "asked-to-wait", "sites": skipped}]);
    assert_eq!((&summary["skippedHosts"], &status["lastRun"]["skippedHosts"]), (&hosts, &hosts), "{summary}");
    let shown = format!("Host 127.0.0.1 asked to wait: {skipped} sites skipped.\n");
    assert_eq!(stderr(&output).matches(&shown).count(), 1, "{output:?}");
    world.assert_sound();

    let lines = world.export();
    let explained = |is_new: bool| {
        let is_one = |line: &&String| line.contains("retry-after") && line.contains("pollStatus") != is_new;
        let line: Value = serde_json::from_str(lines.iter().find(is_one).unwrap()).unwrap();
        let now = (MIDNIGHT + 600).to_string();
        let arguments = ["explain", line["cxnId"].as_str().unwrap(), "--now", &now];
        (world.json(&[&arguments[..], &["--json"]].concat())["skipped"].clone(), world.text(&arguments))
    };
    let (skipped, text) = explained(true);
    assert_eq!(skipped, json!({"at": MIDNIGHT, "address": "127.0.0.1", "reason": "asked-to-wait"}));
    assert!(text.contains("at 2026-01-01 00:00:00Z (10 min ago): its host 127.0.0.1 asked to wait"), "{text}");
    assert_eq!(explained(false).0, Value::Null, "it was polled");
    assert_quiet(&world.run(&["store", "compact"]));
    let status = &world.json(&["status", "--json", "--now", &MIDNIGHT.to_string()])[0];
    assert_eq!(status["lastRun"]["skippedHosts"], hosts, "a backup has them");
}
