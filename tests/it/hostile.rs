//! A run among sites that misbehave: each costs one worker a bounded time, and no other site anything.

use std::fs;
use std::io::Read;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use civisite::{Behaviour, Server, Site};
use serde_json::{Value, json};

use crate::testkit::{APP, MIDNIGHT, World, assert_quiet, signal, until, wait};

/// How long a poll may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// What a run may take beside its slowest poll.
const OVERHEAD: Duration = Duration::from_secs(30);

/// Returns a connection like that of a site, with another URL.
fn elsewhere(world: &World, number: u32, url: &str) -> Site {
    Site { site_url: url.to_owned(), ..world.server.site(number) }
}

/// Waits for a child, and watches its memory.
///
/// Returns its exit code, its standard output and error, and its peak memory in MiB. The code is -1 after a signal.
fn watch(mut child: Child) -> (i32, String, String, u64) {
    let mut pipes = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let out = thread::spawn(move || {
        let mut text = String::new();
        pipes.0.read_to_string(&mut text).map(|_| text)
    });
    let err = thread::spawn(move || {
        let mut text = String::new();
        pipes.1.read_to_string(&mut text).map(|_| text)
    });
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code().unwrap_or(-1);
        }
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        most = most.max(kib.unwrap_or_default());
        thread::sleep(Duration::from_millis(5));
    };
    (code, out.join().unwrap().unwrap(), err.join().unwrap().unwrap(), most / 1024)
}

/// Returns the classes of outcome that a site of this behaviour may cause, separated by spaces.
fn class_of(kind: Behaviour) -> &'static str {
    match kind {
        Behaviour::Ok
        | Behaviour::Slow(_)
        | Behaviour::Every(_)
        | Behaviour::OkFirst(_)
        | Behaviour::CloseAfter(_)
        | Behaviour::Large
        | Behaviour::Objects
        | Behaviour::Nested => "ok",
        Behaviour::ApiError | Behaviour::Leak => "api",
        Behaviour::Garbled | Behaviour::Insecure | Behaviour::Empty | Behaviour::NotHttp => "garbled",
        Behaviour::WrongCxn | Behaviour::Expired | Behaviour::BadHmac => "protocol",
        Behaviour::Hang => "timeout",
        Behaviour::Drip => "ok timeout",
        Behaviour::Endless | Behaviour::EndlessMessage | Behaviour::EndlessHeader => "too-large",
        Behaviour::Redirect(_) | Behaviour::RedirectLoop => "redirect",
        Behaviour::RedirectPrivate => "blocked",
        Behaviour::Close | Behaviour::Reset | Behaviour::ResetMidway | Behaviour::Short => "disconnected",
        Behaviour::Status(_) | Behaviour::RetryAfter(_) | Behaviour::Busy(_) | Behaviour::FailFirst(_) => "http",
    }
}

/// Statuses of HTTP, each with the class of the outcome.
const STATUSES: [(&str, u16); 14] = [
    ("garbled", 200),
    ("garbled", 204),
    ("garbled", 299),
    ("redirect", 304),
    ("http", 400),
    ("http", 401),
    ("http", 403),
    ("http", 404),
    ("gone", 410),
    ("http", 418),
    ("http", 429),
    ("http", 502),
    ("http", 503),
    ("http", 599),
];

/// URLs that are never called, each with the class of the outcome.
const BLOCKED_URLS: [(&str, &str); 7] = [
    ("blocked", "http://127.0.0.1:25/"),
    ("blocked", "http://10.0.0.1/"),
    ("blocked", "http://0xa9fea9fe/latest/meta-data/"),
    ("blocked", "http://[::ffff:10.0.0.1]/"),
    ("blocked", "http://public.example@192.168.0.1/"),
    ("blocked", "ftp://127.0.0.1/"),
    ("blocked", "file:///etc/passwd"),
];

/// Returns sites that misbehave in every way, each with the classes of outcome that it may have.
///
/// `refusing` is a server that accepts no connections.
fn bad_sites(world: &World, refusing: &Server) -> Vec<(Site, &'static str)> {
    let kinds = Behaviour::KINDS.into_iter().flat_map(|kind| [(class_of(kind), kind); 3]);
    let statuses = STATUSES.map(|(class, code)| (class, Behaviour::Status(code)));
    let behaving = (0..).zip(kinds.chain(statuses));
    let mut bad: Vec<_> =
        behaving.map(|(number, (class, kind))| (world.site_on_own_host(number, kind), class)).collect();
    let unreachable = [
        ("dns", format!("http://{}.example/", "a".repeat(64))),
        ("connect", format!("http://{}/", refusing.addr())),
        ("tls", format!("https://127.0.0.1:{}/", world.server.port())),
    ];
    for (class, url) in unreachable.into_iter().chain(BLOCKED_URLS.map(|(class, url)| (class, url.to_owned()))) {
        bad.push((elsewhere(world, u32::try_from(bad.len()).unwrap(), &url), class));
    }
    bad
}

/// Asserts that each healthy site was polled once, and with success.
fn assert_polled_once(world: &World, healthy: &[Site]) {
    let lines = world.export();
    for site in healthy {
        let line = lines.iter().find(|line| line.contains(&site.cxn_id)).unwrap();
        let status: Value = serde_json::from_str(line).unwrap();
        assert_eq!(status["pollStatus"]["default"]["lastSuccess"], MIDNIGHT, "{line}");
        assert_eq!(world.server.polls(site.number), 1);
    }
}

/// Asserts that each site's last outcome is of a class that it may have.
///
/// Returns all that `explain` prints about the sites.
fn explain_outcomes(world: &World, bad: &[(Site, &str)]) -> String {
    let mut explained = String::new();
    for (site, class) in bad {
        explained += &world.text(&["explain", &site.cxn_id, "--now", &MIDNIGHT.to_string()]);
        let last = &world.explain(site, MIDNIGHT)["lastOutcome"];
        assert!(class.split(' ').any(|class| last["class"] == class), "{class}: {} {last}", site.site_url);
        explained += &last.to_string();
    }
    explained
}

#[test]
fn every_misbehaviour_at_once_among_healthy_sites() {
    let world = World::on_all_addresses();
    let refusing = Server::start().unwrap();
    refusing.stop_listening().unwrap();
    let bad = bad_sites(&world, &refusing);
    let healthy: Vec<_> = (1000..1300).map(|number| world.site_on_own_host(number, Behaviour::Ok)).collect();
    let sites: Vec<_> = bad.iter().map(|(site, _)| site.clone()).chain(healthy.iter().cloned()).collect();
    // Stores of former builds may have URLs of other schemes.
    let lines: Vec<_> = sites.iter().map(Site::jsonl).collect();
    assert_quiet(&world.run_with_input(&["import", "--lenient"], &lines.join("\n")));

    let began = Instant::now();
    let (now, timeout) = (MIDNIGHT.to_string(), TIMEOUT.as_secs().to_string());
    let run = world.start(&["poll", APP, "--json", "--log-file", "log", "-vv", "--now", &now, "--timeout", &timeout]);
    let (code_of_run, out, err, mib) = watch(run);
    let took = began.elapsed();
    assert_eq!(code_of_run, 0, "{err}");
    let summary: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&summary["polled"], &summary["dropped"]), (&json!(sites.len()), &json!(0)), "{summary}");
    assert!(took < TIMEOUT + OVERHEAD, "{took:?}");
    assert!((1..128).contains(&mib), "{mib} MiB");

    assert_polled_once(&world, &healthy);
    let explained = explain_outcomes(&world, &bad);
    let log = fs::read_to_string(world.path("log")).unwrap();
    for text in [out, err, log, explained] {
        assert!(!text.contains("panic"), "{text}");
        for site in &sites {
            // PHP shows its first 15 characters.
            assert!(!text.contains(&site.secret_base64[..15]), "{}: {text}", site.cxn_id);
        }
    }
    world.assert_sound();
}

#[test]
fn endless_bodies_need_little_memory() {
    let world = World::on_all_addresses();
    // A body that looks like a message is kept until it is too large, which takes up to 1 MiB more per thread. Of the rest, half
    // is the code of the program, which is not optimized here.
    for (kind, threads, limit) in [(Behaviour::Endless, "64", 72), (Behaviour::EndlessMessage, "32", 72 + 32)] {
        world.import(&(0..200).map(|number| world.site_on_own_host(number, kind)).collect::<Vec<_>>());
        let (code, out, err, mib) =
            watch(world.start(&["poll", APP, "--json", "--threads", threads, "--name", threads]));
        assert_eq!(code, 0, "{err}");
        let summary: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(summary["failures"], json!({"too-large": 200}));
        assert!((1..limit).contains(&mib), "{kind}: {mib} MiB");
    }
}

#[test]
fn reply_of_small_objects_needs_little_memory() {
    // Without a listener that reads it, the reply is only checked.
    for (listener, outcome) in [
        ("", json!({"ok": 96, "failures": {}})),
        ("calls = [{ api = \"System.get\" }]", json!({"ok": 96, "failures": {}})),
        ("keep = true\ncalls = [{ api = \"System.get\" }]", json!({"ok": 0, "failures": {"too-large": 96}})),
    ] {
        let world = World::on_all_addresses();
        world.import(&(0..96).map(|number| world.site_on_own_host(number, Behaviour::Objects)).collect::<Vec<_>>());
        if !listener.is_empty() {
            world.append_config(&format!("[[listeners]]\nevent = \"civi_cxn.poll\"\n{listener}\n"));
        }
        let (code, out, err, mib) = watch(world.start(&["poll", APP, "--json", "--threads", "64"]));
        assert_eq!(code, 0, "{err}");
        let summary: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(json!({"ok": summary["ok"], "failures": summary["failures"]}), outcome, "{listener}");
        assert!((1..128).contains(&mib), "{listener}: {mib} MiB");
        // A poll by hand has the same outcome, although it shows the reply.
        let id = world.site_on_own_host(0, Behaviour::Objects).cxn_id;
        let by_hand = world.run(&["poll", APP, "--cxn", &id]).status.code();
        assert_eq!(by_hand, Some(if outcome["ok"] == 96 { 0 } else { 3 }), "{listener}");
    }
}

/// Asserts that other sites do not wait while thousands of sites of one host fill the queue.
fn assert_crowd_delays_no_other_site(at_a_time: u32, line: impl Fn(&World, &Site) -> String) {
    let world = World::on_all_addresses();
    let crowd = World::on_all_addresses();
    let lines: Vec<_> = (0..9000).map(|number| line(&crowd, &crowd.site(number, "slow-20"))).collect();
    let others = (9000..9100).map(|number| world.site_on_own_host(number, Behaviour::Slow(20)).jsonl());
    if at_a_time != 4 {
        world.append_config(&format!("[per-host]\n\"127.0.0.1\" = {at_a_time}\n"));
    }
    world.import_text(&lines.into_iter().chain(others).collect::<Vec<_>>().join("\n"));
    let run = world.start(&["poll", APP, "--json", "--threads", "16"]);
    until("the others are polled", || world.server.total() == 100 && crowd.server.total() >= 50);
    let polled = crowd.server.total();
    signal(&run, "-TERM");
    let (status, text) = wait(run);
    let summary: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status.code(), &summary["failed"]), (Some(143), &json!(0)), "{summary}");
    assert!(polled < 5000, "{polled} of the crowd");
    assert_eq!(crowd.server.max_open(), at_a_time, "no more of the crowd at a time than its host may have");
}

#[test]
fn host_with_thousands_of_sites_delays_no_other_site() {
    assert_crowd_delays_no_other_site(4, |_, site| site.jsonl());
}

#[test]
fn proxy_with_thousands_of_sites_delays_no_other_site() {
    // The configuration allows more polls at a time for this proxy.
    assert_crowd_delays_no_other_site(8, |crowd, site| {
        let mut line: Value = serde_json::from_str(&site.jsonl()).unwrap();
        let path = site.site_url.splitn(4, '/').last().unwrap();
        line["siteUrl"] = json!(format!("http://host{}.example.org/{path}", site.number));
        line["viaPort"] = json!(format!("127.0.0.1:{}", crowd.server.port()));
        line.to_string()
    });
}

#[test]
fn slow_sites_of_one_host_are_left_to_the_next_run() {
    let world = World::on_all_addresses();
    let crowd: Vec<_> = (0..60).map(|number| world.site(number, "slow-900")).collect();
    let others = (60..80).map(|number| world.site_on_own_host(number, Behaviour::Ok));
    world.import(&crowd.into_iter().chain(others).collect::<Vec<_>>());
    let poll = |now: i64| world.json(&["poll", APP, "--json", "--timeout", "1", "--now", &now.to_string()]);
    let first = poll(MIDNIGHT);
    let ok = first["ok"].as_u64().unwrap();
    assert_eq!((&first["due"], &first["failed"], &first["dropped"]), (&json!(80), &json!(0), &json!(0)), "{first}");
    assert!((24..=32).contains(&ok), "the others, and a few of the crowd: {first}");
    assert!((60..80).all(|number| world.server.polls(number) == 1));
    // All of the rest took 13 s.
    assert!(first["elapsedMs"].as_u64().unwrap() < 6000, "{first}");
    // Nothing else is due now, so they hold up no other site.
    let second = poll(MIDNIGHT + 300);
    assert_eq!((&second["due"], &second["ok"]), (&json!(80 - ok), &json!(80 - ok)), "{second}");
    world.assert_sound();
}
