//! A run among sites that do their worst: each costs one worker a bounded time, and nothing else.

mod common;

use std::fs;
use std::io::Read;
use std::net::Ipv4Addr;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use civisite::{Behaviour, Server, Site};
use common::{APP, MIDNIGHT, World, code};
use serde_json::{Value, json};

/// The limit of a whole call that holds where none is named.
const CALL: Duration = Duration::from_secs(60);

/// A world whose sites can have any host of the loopback network.
fn world() -> World {
    let mut world = World::new();
    world.server = Server::bind((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
    world
}

/// A simulated site on a host of its own.
fn site(world: &World, number: u32, behaviour: Behaviour) -> Site {
    let mut site = world.server.site_doing(number, behaviour);
    let host = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + number + 1);
    site.site_url = site.site_url.replace("127.0.0.1", &host.to_string());
    site
}

/// A connection like that of a site, with another URL.
fn elsewhere(world: &World, number: u32, url: &str) -> Site {
    Site { site_url: url.to_owned(), ..world.server.site(number) }
}

/// Waits for a child: what it printed, what it complained of, and the most memory that it had, in MiB.
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

#[test]
fn every_misbehaviour_at_once_among_healthy_sites() {
    let world = world();
    let refusing = Server::start().unwrap();
    refusing.stop_listening().unwrap();
    let mut bad: Vec<(Site, &str)> = Vec::new();
    for kind in Behaviour::KINDS {
        let class = match kind {
            Behaviour::Ok | Behaviour::Slow(_) | Behaviour::Every(_) | Behaviour::OkFirst(_) | Behaviour::Large => "ok",
            Behaviour::ApiError | Behaviour::Leak => "api",
            Behaviour::Garbled | Behaviour::Insecure | Behaviour::Empty | Behaviour::NotHttp => "garbled",
            Behaviour::WrongCxn | Behaviour::Expired | Behaviour::BadHmac => "protocol",
            Behaviour::Hang => "timeout",
            // It may be done in time.
            Behaviour::Drip => "ok timeout",
            Behaviour::Endless | Behaviour::EndlessMessage | Behaviour::EndlessHeader => "too-large",
            Behaviour::Redirect(_) | Behaviour::RedirectLoop => "redirect",
            Behaviour::RedirectPrivate => "blocked",
            Behaviour::Close | Behaviour::Reset | Behaviour::ResetMidway | Behaviour::Short => "disconnected",
            Behaviour::Status(_) | Behaviour::RetryAfter(_) | Behaviour::Busy(_) | Behaviour::FailFirst(_) => "http",
        };
        for _ in 0..3 {
            bad.push((site(&world, u32::try_from(bad.len()).unwrap(), kind), class));
        }
    }
    for (class, code) in [
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
    ] {
        bad.push((site(&world, u32::try_from(bad.len()).unwrap(), Behaviour::Status(code)), class));
    }
    for (class, url) in [
        ("dns", format!("http://{}.example/", "a".repeat(64))),
        ("connect", format!("http://{}/", refusing.addr())),
        ("tls", format!("https://127.0.0.1:{}/", world.server.port())),
        ("blocked", "http://127.0.0.1:25/".to_owned()),
        ("blocked", "http://10.0.0.1/".to_owned()),
        ("blocked", "http://0xa9fea9fe/latest/meta-data/".to_owned()),
        ("blocked", "http://[::ffff:10.0.0.1]/".to_owned()),
        ("blocked", "http://public.example@192.168.0.1/".to_owned()),
        ("blocked", "ftp://127.0.0.1/".to_owned()),
        ("blocked", "file:///etc/passwd".to_owned()),
    ] {
        bad.push((elsewhere(&world, u32::try_from(bad.len()).unwrap(), &url), class));
    }
    let healthy: Vec<_> = (1000..1300).map(|number| site(&world, number, Behaviour::Ok)).collect();
    let sites: Vec<_> = bad.iter().map(|(site, _)| site.clone()).chain(healthy.iter().cloned()).collect();
    world.import(&sites);

    let began = Instant::now();
    let run = world.start(&["poll", APP, "--json", "--log-file", "log", "-vv", "--now", &MIDNIGHT.to_string()]);
    let (code_of_run, out, err, mib) = watch(run);
    let took = began.elapsed();
    assert_eq!(code_of_run, 0, "{err}");
    let summary: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&summary["polled"], &summary["dropped"]), (&json!(sites.len()), &json!(0)), "{summary}");
    assert!(took < CALL + Duration::from_secs(30), "{took:?}");
    assert!((1..128).contains(&mib), "{mib} MiB");

    let lines = world.export();
    for site in &healthy {
        let line = lines.iter().find(|line| line.contains(&site.cxn_id)).unwrap();
        let status: Value = serde_json::from_str(line).unwrap();
        assert_eq!(status["pollStatus"]["default"]["lastSuccess"], MIDNIGHT, "{line}");
        assert_eq!(world.server.polls(site.number), 1);
    }
    let mut told = String::new();
    for (site, class) in &bad {
        let explained = world.run(&["explain", &site.cxn_id, "--now", &MIDNIGHT.to_string()]);
        told.push_str(&String::from_utf8(explained.stdout).unwrap());
        let last = &world.explain(site, MIDNIGHT)["lastOutcome"];
        assert!(class.split(' ').any(|class| last["class"] == class), "{class}: {} {last}", site.site_url);
        told.push_str(&last.to_string());
    }
    let log = fs::read_to_string(world.folder.path().join("log")).unwrap();
    for text in [out, err, log, told] {
        assert!(!text.contains("panic"), "{text}");
        for site in &sites {
            // PHP shows 15 characters of it.
            assert!(!text.contains(&site.secret_base64[..15]), "{}: {text}", site.cxn_id);
        }
    }
    world.assert_sound();
}

#[test]
fn a_thousand_endless_bodies_need_little_memory() {
    let world = world();
    // What looks like a message is held until it is too large, and so may take a MiB a thread more.
    for (kind, threads, limit) in [(Behaviour::Endless, "64", 64), (Behaviour::EndlessMessage, "32", 64 + 32)] {
        world.import(&(0..1000).map(|number| site(&world, number, kind)).collect::<Vec<_>>());
        let (code, out, err, mib) =
            watch(world.start(&["poll", APP, "--json", "--threads", threads, "--name", threads]));
        assert_eq!(code, 0, "{err}");
        let summary: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(summary["failures"], json!({"too-large": 1000}));
        assert!((1..limit).contains(&mib), "{kind}: {mib} MiB");
    }
}

/// Sites of one hoster fill the queue; others must not wait for them.
fn a_crowd_holds_up_nobody(at_a_time: u32, line: impl Fn(&World, &Site) -> String) {
    let world = world();
    let hoster = Server::bind((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
    let crowd = World { folder: tempfile::tempdir().unwrap(), server: hoster };
    let lines: Vec<_> = (0..9000).map(|number| line(&crowd, &crowd.site(number, "slow-20"))).collect();
    let others = (9000..9100).map(|number| site(&world, number, Behaviour::Slow(20)).jsonl());
    if at_a_time != 4 {
        let _ = world.command(&[]);
        let config = world.folder.path().join("cxnpoll.toml");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, format!("{text}[per-host]\n\"127.0.0.1\" = {at_a_time}\n")).unwrap();
    }
    world.import_text(&lines.into_iter().chain(others).collect::<Vec<_>>().join("\n"));
    let output = world.run(&["poll", APP, "--json", "--threads", "16", "--max-runtime", "4"]);
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((code(&output), &summary["failed"]), (0, &json!(0)), "{summary}");
    assert_eq!(world.server.total(), 100, "the others were polled");
    let polled = crowd.server.total();
    assert!((50..5000).contains(&polled), "{polled} of the crowd");
    assert_eq!(crowd.server.max_open(), at_a_time, "and no more of the crowd than its host gets");
}

#[test]
fn a_hoster_with_thousands_of_sites_holds_up_nobody() {
    a_crowd_holds_up_nobody(4, |_, site| site.jsonl());
}

#[test]
fn a_proxy_with_thousands_of_sites_behind_it_holds_up_nobody() {
    // A proxy is allowed more by the configuration.
    a_crowd_holds_up_nobody(8, |crowd, site| {
        let mut line: Value = serde_json::from_str(&site.jsonl()).unwrap();
        let path = site.site_url.splitn(4, '/').last().unwrap();
        line["siteUrl"] = json!(format!("http://host{}.example.org/{path}", site.number));
        line["viaPort"] = json!(format!("127.0.0.1:{}", crowd.server.port()));
        line.to_string()
    });
}
