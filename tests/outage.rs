//! Our own network: an outage of it is not charged to the sites, and a crowd of dead sites is none.

mod common;

use std::fs;
use std::net::Ipv4Addr;
use std::process::Output;
use std::time::{Duration, Instant};

use civisite::{Server, Site};
use common::{APP, MIDNIGHT, World, code, stderr};
use serde_json::{Value, json};

const HOUR: i64 = 3600;

/// Sites that each have a host of the loopback network to themselves, imported.
fn world(behaviours: impl IntoIterator<Item = &'static str>) -> (World, Vec<Site>) {
    let mut world = World::new();
    world.server = Server::bind((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
    let mut sites = world.sites(behaviours);
    for site in &mut sites {
        let host = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + site.number + 1);
        site.site_url = site.site_url.replace("127.0.0.1", &host.to_string());
    }
    world.import(&sites);
    (world, sites)
}

/// A run that may end in any way, and its summary.
fn run(world: &World, now: i64, more: &[&str]) -> (Output, Value) {
    let output = world.run(&[&["poll", APP, "--json", "--now", &now.to_string()], more].concat());
    let summary = serde_json::from_slice(&output.stdout).unwrap();
    (output, summary)
}

#[test]
fn a_day_of_outages_from_the_start_charges_nobody_and_then_everybody() {
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
    let charged = world.poll(MIDNIGHT + 25 * HOUR, &[]);
    assert_eq!((&charged["outage"], &charged["failures"]), (&json!(false), &json!({"connect": 12})));
    world.assert_sound();
}

#[test]
fn a_good_run_begins_the_day_anew() {
    let (world, _) = world(["ok"; 12]);
    world.poll(MIDNIGHT, &[]);
    let outage = |hour: i64| code(&run(&world, MIDNIGHT + hour * HOUR, &[]).0);
    world.server.stop_listening().unwrap();
    assert_eq!((outage(1), outage(20)), (69, 69));
    world.server.resume_listening().unwrap();
    assert_eq!(world.poll(MIDNIGHT + 21 * HOUR, &[])["ok"], 12, "those that were spared are polled by the next run");
    world.server.stop_listening().unwrap();
    assert_eq!((outage(30), outage(53), outage(54)), (69, 69, 0));
}

#[test]
fn an_outage_in_the_middle_keeps_what_was_learnt_and_leaves_the_rest() {
    let (world, sites) = world(vec!["slow-50"; 1500]);
    assert_eq!(world.poll(MIDNIGHT, &["--threads", "256"])["ok"], 1500);
    world.server.reset_counts();
    let now = MIDNIGHT + HOUR;
    let began = Instant::now();
    let runner = world.start(&["poll", APP, "--json", "--threads", "4", "--now", &now.to_string()]);
    while world.server.total() < 16 {
        assert!(began.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(2));
    }
    world.server.stop_listening().unwrap();
    let output = runner.wait_with_output().unwrap();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((code(&output), &summary["outage"], &summary["failed"]), (69, &json!(true), &json!(0)), "{summary}");
    let answered = world.server.total();
    assert_eq!(summary["ok"], answered, "those under way got their reply, and it counts: {summary}");
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
fn three_sites_have_no_guard() {
    let (world, sites) = world(["ok"; 3]);
    world.poll(MIDNIGHT, &[]);
    world.server.stop_listening().unwrap();
    let charged = world.poll(MIDNIGHT + HOUR, &[]);
    assert_eq!((&charged["outage"], &charged["failures"]), (&json!(false), &json!({"connect": 3})));
    assert_eq!(world.explain(&sites[0], MIDNIGHT + HOUR)["pollCount"], 1);
}

/// Sites on hosts of their own in the order in which one thread polls them; of those that are dead, nobody answers any more.
/// They were all polled well at midnight.
fn dying(count: u32, is_dead: impl Fn(u32) -> bool) -> (World, Server) {
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
fn one_new_reply_proves_our_network() {
    // Ten witnesses are enough for a suspicion, and the sixth poll after them ends it.
    let (world, _dead) = dying(24, |number| number != 15);
    let charged = world.poll(MIDNIGHT + HOUR, &["--threads", "1"]);
    assert_eq!((&charged["outage"], &charged["ok"], &charged["failed"]), (&json!(false), &json!(1), &json!(23)));
}

#[test]
fn a_hoster_that_died_does_not_hold_up_the_others() {
    // So many come first that the run has ended long before it gets to the others.
    let (world, _dead) = dying(1000, |number| number < 800);
    let (output, summary) = run(&world, MIDNIGHT + HOUR, &["--threads", "1"]);
    assert_eq!((code(&output), &summary["ok"], &summary["failed"]), (69, &json!(0), &json!(0)), "{summary}");
    // The next runs begin with others, and with each that replies some of the dead are charged.
    let polled = |tick: i64| run(&world, MIDNIGHT + HOUR + tick * 300, &[]).1["ok"].as_u64().unwrap();
    assert_eq!((1..=6).map(polled).sum::<u64>(), 200);
    let status = &world.json(&["status", "--json", "--now", &(MIDNIGHT + HOUR + 1800).to_string()])[0];
    assert_eq!((&status["healthy"], &status["levels"][0]), (&json!(200), &json!(800)), "{status}");
}

/// Dead sites alone are due at most ticks, since failing ones are tried more often: nobody is there who could reply, and
/// still they are charged, tick after tick, until they are given up.
#[test]
fn a_crowd_of_dead_sites_is_charged_and_given_up() {
    let (world, sites) = world(["ok"; 24]);
    let retry = ["--retry", "2 hour (x1); 30 min (x480)"];
    assert_eq!(world.poll(MIDNIGHT, &retry)["ok"], 24);
    let dead = Server::bind((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
    dead.stop_listening().unwrap();
    let lines: Vec<_> = sites[..12]
        .iter()
        .map(|site| {
            let mut line: Value = serde_json::from_str(&site.jsonl()).unwrap();
            line["viaPort"] = json!(format!("127.0.1.{}:{}", site.number + 1, dead.port()));
            line.to_string()
        })
        .collect();
    world.import_text(&lines.join("\n"));

    let mut alone = 0;
    for tick in 0..=480 {
        let now = MIDNIGHT + 2 * HOUR + tick * HOUR / 2;
        let (output, summary) = run(&world, now, &retry);
        assert_eq!((code(&output), &summary["outage"]), (0, &json!(false)), "tick {tick}: {summary}");
        assert_eq!(summary["failures"], json!({"connect": 12}), "tick {tick}: {summary}");
        alone += u64::from(summary["polled"] == 12);
        let given_up = if tick == 480 { 12 } else { 0 };
        assert_eq!(summary["givenUp"], given_up, "tick {tick}");
    }
    assert_eq!(alone, 360, "ticks with nobody but the dead");
    let explained = world.explain(&sites[0], MIDNIGHT + 30 * 24 * HOUR);
    assert_eq!((&explained["state"], &explained["nextDue"]), (&json!("given-up"), &Value::Null));
    world.assert_sound();
}
