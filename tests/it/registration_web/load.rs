//! Many sites that register at once through nginx and fcgiwrap.
//!
//! Meanwhile a run polls, or processes are killed.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use civisite::{Reply, Site};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::ENDPOINT;
use super::http::send;
use super::scene::{APP, registrant, site, success, world};
use super::server::{Kind, WebServer};
use crate::testkit::{Random, World, code, number_from_env};

/// How many clients register at the same time, each over a new connection for each request.
const CLIENTS: u32 = 20;
/// The number of the first site that registers. Those below are polled meanwhile.
const NEW_FROM: u32 = 1_000_000;

/// What the clients saw.
#[derive(Default)]
struct Seen {
    /// Sites whose registration was answered with success, and how long that took.
    acknowledged: Vec<(u32, Duration)>,
    /// Sites whose registration failed.
    failed: Vec<u32>,
    /// A failure, as an example.
    example: Option<String>,
}

/// Registers new sites until the time is over.
fn register(world: &World, server: &WebServer, time: Duration) -> Seen {
    let (next, seen, registrant) = (AtomicU32::new(NEW_FROM), Mutex::new(Seen::default()), registrant());
    let end = Instant::now() + time;
    let client = || {
        while Instant::now() < end {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let site = site(world, number);
            let cxn = site.registered();
            let request = registrant.request(&cxn, "register", &json!([]));
            let began = Instant::now();
            let response = send(server.addr, "POST", ENDPOINT, &request);
            let took = began.elapsed();
            let is_done = response.as_ref().is_ok_and(|response| {
                Reply::read(&cxn, &response.body).is_ok_and(|reply| response.status == 200 && reply == success(&site))
            });
            let mut seen = seen.lock().unwrap();
            if is_done {
                seen.acknowledged.push((number, took));
            } else {
                seen.failed.push(number);
                seen.example = Some(format!("{response:?}"));
            }
        }
    };
    thread::scope(|scope| (0..CLIENTS).for_each(|_| drop(scope.spawn(client))));
    seen.into_inner().unwrap()
}

/// Asserts that all acknowledged sites are stored, and that each stored site is whole. Returns how many are stored.
fn assert_stored(world: &World, seen: &Seen) -> usize {
    let lines: Vec<Value> = world.export().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let number = |line: &Value| line["cxnId"].as_str().unwrap()[26..].parse::<u32>().unwrap();
    let stored: BTreeMap<u32, Value> = lines.into_iter().map(|line| (number(&line), line)).collect();
    let registered = stored.range(NEW_FROM..);
    for (number, line) in registered.clone() {
        let Site { cxn_id, secret_base64, app_id, app_url, site_url, .. } = site(world, *number);
        let expected = [cxn_id, secret_base64, app_id, app_url, site_url];
        let found = ["cxnId", "secret", "appId", "appUrl", "siteUrl"].map(|key| line[key].as_str().unwrap().to_owned());
        assert_eq!(found, expected);
        assert!(line["batchCode"].is_u64() && line["perm"] == json!([]), "{line}");
    }
    let lost: Vec<_> = seen.acknowledged.iter().filter(|(number, _)| !stored.contains_key(number)).collect();
    assert!(lost.is_empty(), "acknowledged, but not stored: {lost:?}");
    world.assert_sound();
    registered.count()
}

/// Polls all sites again and again until `stop`; returns how many polls there were.
fn poll_until(world: &World, stop: &AtomicBool) -> u64 {
    let before = world.server.total();
    for job in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        // All sites are due for a new job.
        let output = world.run(&["poll", APP, "--name", &format!("job{job}"), "--per-host", "64", "--json"]);
        assert_eq!(code(&output), 0, "{output:?}");
    }
    world.server.total() - before
}

/// `CXNPOLL_REGISTER_S` is how long; `CXNPOLL_REGISTER_POLLED` is how many sites a run polls meanwhile.
#[test]
#[ignore = "measures; tests/registration-load.sh runs it"]
fn load() {
    if !Kind::Nginx.is_there() {
        return;
    }
    let world = world();
    let polled = number_from_env("CXNPOLL_REGISTER_POLLED").unwrap_or(10_000);
    let time = Duration::from_secs(number_from_env("CXNPOLL_REGISTER_S").unwrap_or(20));
    let workers = number_from_env("CXNPOLL_REGISTER_WORKERS").unwrap_or(20);
    let sites: Vec<Site> = (1..=u32::try_from(polled).unwrap()).map(|number| site(&world, number)).collect();
    if polled > 0 {
        world.import(&sites);
    }
    let server = Kind::Nginx.start(world.dir.path(), u32::try_from(workers).unwrap());
    let stop = AtomicBool::new(polled == 0);
    let (mut seen, polls) = thread::scope(|scope| {
        let polls = scope.spawn(|| poll_until(&world, &stop));
        let seen = register(&world, &server, time);
        stop.store(true, Ordering::Relaxed);
        (seen, polls.join().unwrap())
    });
    seen.acknowledged.sort_by_key(|(_, took)| *took);
    let percentile = |percent: usize| {
        let last = seen.acknowledged.len() - 1;
        seen.acknowledged[last * percent / 100].1
    };
    println!(
        "{} registrations in {time:?}: {}/s, {} failed, {polls} polls meanwhile; p50 {:.1?}, p90 {:.1?}, p99 {:.1?}, max {:.1?}",
        seen.acknowledged.len(),
        seen.acknowledged.len() as u128 * 1000 / time.as_millis(),
        seen.failed.len(),
        percentile(50),
        percentile(90),
        percentile(99),
        percentile(100),
    );
    if let Some(example) = &seen.example {
        println!("a failure: {example}\n{}", server.log());
    }
    assert_stored(&world, &seen);
    assert!(seen.failed.is_empty());
}

/// Returns the processes of the program that fcgiwrap started.
fn programs(server: &WebServer) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid = entry.ok()?.file_name().to_str()?.parse::<i32>().ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        Some((pid, rest.split_whitespace().nth(1)?.parse::<i32>().ok()?, name.to_owned()))
    });
    let processes: Vec<_> = processes.collect();
    let fcgiwrap = i32::try_from(server.fcgiwrap()).unwrap();
    let is_worker = |pid: i32| processes.iter().any(|(worker, parent, _)| *worker == pid && *parent == fcgiwrap);
    let ours = processes.iter().filter(|(_, parent, name)| name == "cxnpoll" && is_worker(*parent));
    ours.filter_map(|(pid, ..)| Pid::from_raw(*pid)).collect()
}

/// `CXNPOLL_REGISTER_S` is how long.
#[test]
fn killed_registrations_are_stored_whole_or_not_at_all() {
    if !Kind::Nginx.is_there() {
        return;
    }
    let world = world();
    let server = Kind::Nginx.start(world.dir.path(), 8);
    let time = Duration::from_secs(number_from_env("CXNPOLL_REGISTER_S").unwrap_or(3));
    let (stop, mut random) = (AtomicBool::new(false), Random::from_env());
    let (seen, kills) = thread::scope(|scope| {
        let kills = scope.spawn(|| {
            let mut kills = 0;
            while !stop.load(Ordering::Relaxed) {
                thread::sleep(random.duration_below(Duration::from_millis(40)));
                let programs = programs(&server);
                if !programs.is_empty() {
                    let victim = programs[random.below(programs.len())];
                    kills += u32::from(kill_process(victim, Signal::KILL).is_ok());
                }
            }
            kills
        });
        let seen = register(&world, &server, time);
        stop.store(true, Ordering::Relaxed);
        (seen, kills.join().unwrap())
    });
    let stored = assert_stored(&world, &seen);
    println!("{kills} kills: {} acknowledged, {} failed, {stored} stored", seen.acknowledged.len(), seen.failed.len());
    assert!(kills > 5 && !seen.failed.is_empty() && seen.acknowledged.len() > 5, "{kills} {:?}", seen.example);
}
