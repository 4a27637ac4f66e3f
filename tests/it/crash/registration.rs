//! Processes that register sites at the same time, until they are killed.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::testkit::library::{Writer, hold_session, import_line, register};
use crate::testkit::{Random, World, number_from_env};

/// The test that is the child process, and the variables that pass it the rest.
const CHILD: &str = "crash::registration::child";
const STORE: &str = "CXNPOLL_CRASH_STORE";
const BEGIN: &str = "CXNPOLL_CRASH_FIRST";
const COUNT: &str = "CXNPOLL_CRASH_COUNT";
const SECRET: &str = "CXNPOLL_CRASH_SECRET";
/// The start of a line that acknowledges a registration.
const DONE: &str = "registered ";
/// The failpoints of a session with requests, and whether what it applied is there after a kill.
///
/// `None` is either.
const POINTS: [(&str, Option<bool>); 9] = [
    ("RegistrationRequested", Some(false)),
    ("LockAcquired", Some(false)),
    ("DatabaseOpened", Some(false)),
    ("HistoryWritten", Some(false)),
    ("WorkDone", None),
    ("Flushed", None),
    ("Synced", Some(true)),
    ("Closed", Some(true)),
    ("RegistrationsAnswered", Some(true)),
];
/// How many stores are written to at the same time.
const THREADS: usize = 3;
/// How many processes register at the same time.
const PROCESSES: u32 = 4;

/// Registers connections, and prints the number and the outcome of each.
#[test]
#[ignore = "another test starts it as a process"]
fn child() {
    let Ok(store) = env::var(STORE) else { return };
    let number = |variable| env::var(variable).unwrap().parse::<u32>().unwrap();
    for at in number(BEGIN)..number(BEGIN) + number(COUNT) {
        let outcome = register(Path::new(&store), &line(at), u8::try_from(number(SECRET)).unwrap());
        println!("{DONE}{at} {outcome}");
    }
}

fn line(number: u32) -> String {
    import_line(number, &format!("https://{number}.example/"))
}

/// Starts a process that registers `count` connections with a secret, beginning with `first`.
fn start(world: &World, (first, count): (u32, u32), secret: u8, die_at: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", CHILD, "--ignored", "--nocapture"])
        .env(STORE, world.store())
        .env(BEGIN, first.to_string())
        .env(COUNT, count.to_string())
        .env(SECRET, secret.to_string())
        .env("CXNPOLL_DIE_AT", if die_at.is_empty() { "None" } else { die_at })
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for a process, and returns the numbers and outcomes that it printed.
fn outcomes(mut child: Child) -> Vec<(u32, String)> {
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    // An incomplete line is no acknowledgement.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines = whole.lines().filter_map(|line| line.split(DONE).nth(1)?.split_once(' '));
    lines.map(|(number, outcome)| (number.parse().unwrap(), outcome.to_owned())).collect()
}

/// The requests that are there.
fn requests(world: &World) -> usize {
    let entries = fs::read_dir(world.store().join("registration")).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().extension().is_some_and(|suffix| suffix == "request")).count()
}

fn wait_for_requests(world: &World, number: usize) {
    let began = Instant::now();
    while requests(world) < number {
        assert!(began.elapsed() < Duration::from_secs(30));
        thread::sleep(Duration::from_millis(1));
    }
}

/// The numbers of the connections in a store, which must be sound and have no request left.
fn stored(world: &World) -> BTreeSet<u32> {
    let writer = Writer::open(&world.store(), "1 hour (x*)");
    writer.assert_sound();
    writer.assert_idle_is_true();
    let connections = writer.connections();
    // The id of the site that was imported is no such number.
    connections.into_keys().filter_map(|cxn_id| cxn_id.strip_prefix("cxn:")?.parse().ok()).collect()
}

#[test]
fn the_requests_of_others_survive_the_process_that_applies_them() {
    let points = std::sync::Mutex::new(POINTS.iter());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let Some((point, is_stored)) = points.lock().unwrap().next() else { break };
                    kill_at(point, *is_stored);
                }
            });
        }
    });
}

fn kill_at(point: &str, is_stored: Option<bool>) {
    let world = World::with(["ok"]);
    let mut children = Vec::new();
    hold_session(&world, "test", || {
        // The first one waits for the session, and applies the requests of the others.
        children.push(start(&world, (100, 1), 7, point));
        wait_for_requests(&world, 1);
        thread::sleep(Duration::from_millis(60));
        children.extend((1..3).map(|number| start(&world, (100 + number, 1), 7, "")));
        wait_for_requests(&world, 3);
    });
    let outcomes: Vec<_> = children.into_iter().map(outcomes).collect();
    let done = |number: u32| vec![(number, "Done".to_owned())];
    assert_eq!(outcomes, [Vec::new(), done(101), done(102)], "{point}");
    let mut found = stored(&world);
    let of_killed = found.remove(&100);
    assert!(is_stored.is_none_or(|is_stored| is_stored == of_killed), "{point}: {of_killed}");
    assert_eq!(found.split_off(&100), BTreeSet::from([101, 102]), "{point}");
    // What a killed process left is removed by the next one with the session, and not applied.
    assert_eq!(register(&world.store(), &line(200), 7), "Done");
    assert_eq!(requests(&world), 0, "{point}");
    assert_eq!(stored(&world).contains(&100), of_killed, "{point}");
    // A site that had no answer asks again, with a new message.
    assert_eq!(register(&world.store(), &line(100).replace("100.example", "new.example"), 7), "Done");
}

#[test]
fn of_processes_that_claim_one_connection_exactly_one_succeeds() {
    let world = World::with(["ok"]);
    let mut children = Vec::new();
    hold_session(&world, "test", || {
        children.extend((0..6).map(|secret| start(&world, (100, 1), secret, "")));
        wait_for_requests(&world, 6);
    });
    let outcomes: Vec<_> = children.into_iter().flat_map(outcomes).map(|(_, outcome)| outcome).collect();
    let of = |wanted: &str| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    assert_eq!((of("Done"), of("OtherSecret")), (1, 5), "{outcomes:?}");
}

#[test]
fn acknowledged_registrations_survive_sigkill() {
    let kills = number_from_env("CXNPOLL_KILLS").unwrap_or(100) / 5;
    let (world, mut random) = (World::with(["ok"]), Random::from_env());
    let (mut acknowledged, mut first) = (BTreeSet::new(), 1000);
    let mut start_next = || {
        first += 1000;
        start(&world, (first, 1000), 7, "")
    };
    let mut running: Vec<_> = (0..PROCESSES).map(|_| start_next()).collect();
    for _ in 0..kills {
        thread::sleep(random.duration_below(Duration::from_millis(150)));
        let mut killed = running.remove(random.below(running.len()));
        killed.kill().unwrap();
        running.push(start_next());
        acknowledged.extend(outcomes(killed));
    }
    for mut child in running {
        child.kill().unwrap();
        acknowledged.extend(outcomes(child));
    }
    assert!(acknowledged.len() > usize::try_from(kills / 2).unwrap(), "{}", acknowledged.len());
    assert!(acknowledged.iter().all(|(_, outcome)| outcome == "Done"), "{acknowledged:?}");
    let found = stored(&world);
    let lost: Vec<_> = acknowledged.iter().filter(|(number, _)| !found.contains(number)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    // At most one of each process was applied without an answer.
    let unanswered = found.range(1000..).count() - acknowledged.len();
    assert!(unanswered as u64 <= kills + u64::from(PROCESSES), "{unanswered}");
    assert_eq!(register(&world.store(), &line(1), 7), "Done");
    assert_eq!(requests(&world), 0);
}
