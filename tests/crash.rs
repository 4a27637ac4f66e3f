//! What is acknowledged survives SIGKILL, at whatever instant it comes.
//!
//! `CXNPOLL_KILLS=2000 cargo test --release --test crash` is the long mode; the default is a tenth of it.

mod common;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{APP, MIDNIGHT, World, assert_quiet, code, stderr};
use cxnpoll::fault::Step;
use cxnpoll::model::{AppId, CxnId, JobName, Secret};
use cxnpoll::store::{Replacement, Store};
use cxnpoll::{batch::Batch, retry::Policy, transfer};

/// How many connections the child works on, and how many it imports in a round.
const CXNS: u32 = 120;
const AT_ONCE: u32 = 8;
const HOUR: i64 = 3600;
/// The expression of the child's job.
const CHILDS: &str = "1 hour (x3); 1 day (x*)";
const STORE: &str = "CXNPOLL_CRASH_STORE";
const ROUND: &str = "CXNPOLL_CRASH_ROUND";

/// How many times something is killed, with 200 in all where nothing else is said.
fn kills(share: u32) -> u32 {
    let all = env::var("CXNPOLL_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    (all * share / 100).max(1)
}

/// Numbers that look random, and are the same again for the same seed.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let seed = env::var("CXNPOLL_SEED").ok().and_then(|text| text.parse().ok());
        let seed = seed.unwrap_or(u64::from(now.subsec_nanos()));
        println!("CXNPOLL_SEED={seed}");
        Self(seed)
    }

    /// Up to so much time.
    fn within(&mut self, limit: Duration) -> Duration {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        limit * u32::try_from(self.0 >> 40).unwrap() / (1 << 24)
    }
}

fn open(path: &Path) -> Store {
    Store::create(path, Duration::from_secs(30)).unwrap()
}

/// The connections that a round imports; their address tells the round.
fn imported(round: u32) -> impl Iterator<Item = u32> {
    (0..AT_ONCE).map(move |i| (round * AT_ONCE + i) % CXNS)
}

fn line(number: u32, round: u32) -> String {
    let secret = Secret::from_bytes([7; 32]).to_base64();
    format!(
        r#"{{"cxnId":"cxn:{number}","secret":"{secret}","appId":"app:{APP}","appUrl":"https://a.example/","siteUrl":"https://{number}.example/{round}"}}"#
    )
}

/// The child: imports some connections, polls all of them (so to speak), says so, and begins anew, until it is killed.
#[test]
#[ignore = "it is started, and killed, by another test"]
fn child() {
    let (Ok(store), Ok(round)) = (env::var(STORE), env::var(ROUND)) else { return };
    let store = open(Path::new(&store));
    let policy: Policy = CHILDS.parse().unwrap();
    for round in round.parse::<u32>().unwrap().. {
        let lines: Vec<_> = imported(round).map(|number| transfer::parse(&line(number, round)).unwrap()).collect();
        store.session(|session| session.put(&lines, false)).unwrap();
        let now = MIDNIGHT + i64::from(round) * 2 * HOUR;
        let recorded = store.session(|session| {
            let app = session.app(&format!("app:{APP}").parse().unwrap())?.unwrap();
            let job = session.ensure_job(app, &JobName::default())?;
            session.enrol(&job)?;
            session.remember_retry(job.no, &policy.to_string())?;
            let job = session.ensure_job(app, &JobName::default())?;
            let due = session.due(&job, &policy, &Batch::default().range(), now)?;
            let replacements = session.load(&job, &policy, Some(now), &due)?.into_iter().map(|task| {
                let mut next = task.status.clone();
                policy.apply(&mut next, now, &Ok(()));
                Replacement { place: task.place, selected: task.status, next }
            });
            session.record(&job, &replacements.collect::<Vec<_>>())
        });
        assert!(recorded.unwrap().into_iter().all(|recorded| recorded));
        println!("done {round}");
    }
}

#[test]
fn what_a_killed_process_acknowledged_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut random = Random::new();
    let mut acknowledged: Option<u32> = None;
    for _ in 0..kills(60) {
        let next = acknowledged.map_or(0, |round| round + 1);
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env(STORE, &path)
            .env(ROUND, next.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        thread::sleep(random.within(Duration::from_millis(150)));
        child.kill().unwrap();
        child.wait().unwrap();
        let mut said = String::new();
        child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        // A line that was cut off is no acknowledgement.
        let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let done = whole.lines().filter_map(|line| line.split("done ").nth(1)?.parse().ok());
        acknowledged = done.max().or(acknowledged);
        if let Some(round) = acknowledged {
            verify(&open(&path), round);
        }
    }
    assert!(acknowledged > Some(kills(60) / 2), "{acknowledged:?}");
}

/// All rounds up to this one are in the store, and perhaps the next, or half of it.
fn verify(store: &Store, round: u32) {
    never_lies(store, CHILDS);
    let check = store.check(false).unwrap();
    assert_eq!(check.faults, 0, "{check:?}");
    let mut found = BTreeMap::new();
    store
        .connections(|_, cxn, statuses| {
            let told: u32 = cxn.site_url.rsplit('/').next().unwrap().parse().unwrap();
            found.insert(cxn.cxn_id, (told, statuses.first().map_or(0, |(_, status)| status.last_run)));
            Ok(())
        })
        .unwrap();
    let rounds = round.saturating_sub(CXNS / AT_ONCE - 1)..=round;
    for (round_of_it, number) in rounds.flat_map(|round| imported(round).map(move |number| (round, number))) {
        let id: CxnId = format!("cxn:{number}").parse().unwrap();
        let (told, last_run) = found[&id];
        assert!(told == round_of_it || told == round + 1, "{number} is of round {told}, not {round_of_it}");
        let at = |round: u32| MIDNIGHT + i64::from(round) * 2 * HOUR;
        assert!([at(round), at(round + 1)].contains(&last_run), "{number} was polled at {last_run}, not {}", at(round));
    }
}

/// What is said without a look into the database is what the database says.
fn never_lies(store: &Store, retry: &str) {
    let (policy, app_id): (Policy, AppId) = (retry.parse().unwrap(), format!("app:{APP}").parse().unwrap());
    let moments = (0..200).map(|number| MIDNIGHT + number * HOUR / 2);
    let said = |now| (now, store.nothing_is_due(&app_id, &JobName::default(), &policy, now));
    let said: Vec<_> = moments.map(said).collect();
    store
        .session(|session| {
            for (now, nothing) in said {
                let app = session.app(&app_id)?;
                let job = app.map(|app| session.job(app, &JobName::default())).transpose()?.flatten();
                let Some(job) = job.filter(|_| nothing) else { continue };
                assert_eq!(session.due(&job, &policy, &Batch::default().range(), now)?, [], "at {now}");
            }
            Ok(())
        })
        .unwrap();
}

/// A command that changes the store, and how to tell that nothing was lost.
struct Scene {
    world: World,
    arguments: &'static [&'static str],
    times: AtomicI64,
    /// What an export holds before the command and after it.
    before: Vec<String>,
    after: Vec<String>,
}

/// An export without what a poll changes.
fn export(world: &World) -> Vec<String> {
    let lines = world.export();
    lines.iter().map(|line| line.split(",\"pollStatus\"").next().unwrap().to_owned()).collect()
}

const COMMANDS: [&[&str]; 5] = [
    &["import", "more.jsonl"],
    &["poll", APP, "--per-host", "64"],
    &["store", "backup"],
    &["store", "restore"],
    &["store", "compact"],
];

impl Scene {
    fn new(arguments: &'static [&'static str]) -> Self {
        let world = World::with(["ok"; 60]);
        world.poll(MIDNIGHT, &[]);
        assert_quiet(&world.run(&["store", "backup"]));
        let before = export(&world);
        let mut after = before.clone();
        if arguments[0] == "import" {
            let mut lines = Vec::new();
            for number in 60..1200 {
                let code = format!(r#""batchCode":{number}"#);
                lines.push(world.site(number, "ok").jsonl().replacen('}', &format!(",{code}}}"), 1));
            }
            fs::write(world.folder.path().join("more.jsonl"), lines.join("\n")).unwrap();
            after.extend(lines.iter().map(|line| transfer_form(line)));
            after.sort();
        }
        Self { world, arguments, times: AtomicI64::new(1), before, after }
    }

    /// Whatever the command got done is whole, and nothing is gone.
    fn verify(&self) {
        never_lies(&open(&self.world.store()), &Policy::default().to_string());
        self.world.assert_sound();
        let now = export(&self.world);
        assert!(self.before.iter().all(|line| now.contains(line)), "{:?} lost a connection", self.arguments);
        assert!(now.iter().all(|line| self.after.contains(line)), "{:?} left half a line", self.arguments);
        for backup in fs::read_dir(self.world.store().join("backups")).unwrap() {
            let path = backup.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "gz") {
                transfer::backup::verify(&path).unwrap();
            }
        }
    }

    /// The command; a poll is an hour later each time, so that all sites are due.
    fn command(&self) -> Command {
        let mut command = self.world.command(self.arguments);
        if self.arguments[0] == "poll" {
            let hour = self.times.fetch_add(1, Ordering::Relaxed);
            command.arg("--now").arg((MIDNIGHT + hour * HOUR).to_string());
        }
        command
    }

    /// The command can simply be run again.
    fn again(&self) {
        let output = self.command().output().unwrap();
        assert_eq!(code(&output), 0, "{:?}: {output:?}", self.arguments);
        assert_eq!(export(&self.world), self.after, "{:?}", self.arguments);
    }
}

/// A line as an export writes it.
fn transfer_form(line: &str) -> String {
    let parsed = transfer::parse(line).unwrap();
    let cxn = cxnpoll::model::Cxn {
        cxn_id: parsed.cxn_id,
        secret: parsed.secret,
        app_id: parsed.app_id,
        app_url: parsed.app_url.into(),
        site_url: parsed.site_url,
        perm: std::sync::Arc::new(parsed.perm.unwrap_or_default()),
        via_port: None,
        batch_code: parsed.batch_code.unwrap(),
        disabled: false,
    };
    transfer::line(&cxn, [])
}

fn was_killed(output: &Output) -> bool {
    std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(9)
}

#[test]
fn every_command_survives_being_killed_at_every_step() {
    let reached = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for arguments in COMMANDS {
            let reached = &reached;
            scope.spawn(move || {
                let scene = Scene::new(arguments);
                for step in Step::ALL {
                    for times in 1..=2 {
                        let wanted = format!("{step:?}:{times}");
                        let output = scene.command().env("CXNPOLL_DIE_AT", &wanted).output().unwrap();
                        if !was_killed(&output) {
                            assert_eq!(code(&output), 0, "{arguments:?} {wanted}: {output:?}");
                            break;
                        }
                        reached.lock().unwrap().push(step);
                        scene.verify();
                    }
                }
                scene.again();
            });
        }
    });
    let reached = reached.into_inner().unwrap();
    let missed: Vec<_> = Step::ALL.into_iter().filter(|step| !reached.contains(step)).collect();
    assert!(missed.is_empty(), "no command comes to {missed:?}");
    println!("killed {} times", reached.len());
}

#[test]
fn every_command_survives_being_killed_at_any_instant() {
    thread::scope(|scope| {
        for arguments in COMMANDS {
            scope.spawn(move || {
                let scene = Scene::new(arguments);
                let mut random = Random::new();
                let began = Instant::now();
                scene.again();
                let takes = began.elapsed();
                for _ in 0..kills(8) {
                    let mut child = scene.command().spawn().unwrap();
                    thread::sleep(random.within(takes));
                    child.kill().unwrap();
                    let output = child.wait_with_output().unwrap();
                    assert!(was_killed(&output) || code(&output) == 0, "{output:?}");
                    scene.verify();
                }
                scene.again();
            });
        }
    });
}

#[test]
fn a_dead_holder_blocks_nobody() {
    let world = World::with(["ok"; 3]);
    let mut held = world.command(&["poll", APP]).env("CXNPOLL_DIE_AT", "Opened:2").spawn().unwrap();
    held.wait().unwrap();
    let began = Instant::now();
    let output = world.run(&["store", "compact", "-v"]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(stderr(&output).contains("3 connections"), "{output:?}");
    assert!(began.elapsed() < Duration::from_secs(20));
    std::io::stdout().flush().unwrap();
}
