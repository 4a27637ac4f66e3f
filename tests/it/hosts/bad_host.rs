//! A host that hangs, refuses or is silent costs its own sites a few polls, and the others nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::scene::{Scene, network};
use super::server::{Answer, Request, Then, WELL};
use crate::testkit::name_server::{self, name, number};
use crate::testkit::namespace;

/// The address of the bad host.
pub const BAD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// The default of `--per-host`.
pub const PER_HOST: usize = 4;
/// How many sites of a host that never answers are polled at most.
const MOST: usize = 2 * PER_HOST - 1;
/// Options of small runs.
const SHORT: [&str; 4] = ["--threads", "16", "--timeout", "0.3"];

/// Returns the address of a healthy site, which no other site has.
pub fn healthy(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 0, 1, 1).to_bits() + number).into()
}

/// Sites at a bad host.
#[derive(Clone, Copy)]
pub struct Crowd {
    /// How many sites are at the bad host. They have the first numbers.
    pub bad: u32,
    /// How many sites have addresses of their own.
    pub healthy: u32,
}

const SMALL: Crowd = Crowd { bad: 48, healthy: 40 };

impl Crowd {
    /// Returns the host of each site.
    pub fn hosts<T: Clone>(self, bad: T, healthy: impl Fn(u32) -> T) -> Vec<T> {
        let healthy = (0..self.healthy).map(healthy);
        vec![bad; self.bad as usize].into_iter().chain(healthy).collect()
    }

    /// Returns a scene of which all sites were polled well.
    ///
    /// They are due since more than a period, so the sites of the last host are polled to the end.
    pub fn scene_that_was_well(self) -> Scene {
        let scene = Scene::new(|_| WELL);
        scene.import(self.hosts(BAD.into(), healthy));
        scene.poll(&["--per-host", "64"]).assert_counts((self.bad + self.healthy) as usize, 0, 0);
        scene.wait(180);
        scene.server.take_counts();
        scene
    }

    /// Polls; the sites at the bad host must cost little.
    ///
    /// At most `charged` of them are charged. The others keep their status, and are due in a run five minutes later,
    /// which begins with them.
    pub fn check(self, scene: &Scene, charged: usize, seconds: f64, more: &[&str]) {
        let first = scene.poll(more);
        let (bad, healthy) = (self.bad as usize, self.healthy as usize);
        first.assert_counts(healthy, first.charged, bad - first.charged);
        assert!((1..=charged).contains(&first.charged), "{} sites were charged", first.charged);
        first.assert_within(seconds);
        let tried = scene.server.take_counts().messages;

        let second = scene.poll_after(5, more);
        let left = bad - first.charged;
        second.assert_counts(0, second.charged, left - second.charged);
        assert!((1..=charged).contains(&second.charged), "{} sites were charged", second.charged);
        second.assert_within(seconds);
        let tried_again = scene.server.take_counts().messages;
        assert!(tried_again.keys().all(|site| !tried.contains_key(site)), "{tried:?}, then {tried_again:?}");
    }
}

/// Answers in one way at the bad host, and well at all others.
pub fn at_bad_host(answer: Answer) -> impl Fn(&Request) -> Answer + Send + Sync + 'static {
    move |request| if request.address == BAD { answer } else { WELL }
}

#[test]
fn host_that_accepts_and_says_nothing() {
    let scene = Scene::new(at_bad_host(Answer::Hang));
    scene.import(SMALL.hosts(BAD.into(), healthy));
    SMALL.check(&scene, MOST, 2.5, &SHORT);
}

#[test]
fn host_that_was_well_a_while_ago_hangs() {
    let scene = SMALL.scene_that_was_well();
    scene.server.answer(at_bad_host(Answer::Hang));
    SMALL.check(&scene, MOST, 2.5, &SHORT);
}

#[test]
fn host_that_says_half_a_head() {
    let scene = Scene::new(at_bad_host(Answer::HalfHead));
    scene.import(SMALL.hosts(BAD.into(), healthy));
    SMALL.check(&scene, MOST, 2.5, &SHORT);
}

#[test]
fn host_that_refuses() {
    let scene = Scene::new(|_| WELL);
    let closed = TcpListener::bind((BAD, 0)).unwrap().local_addr().unwrap().port();
    scene.import_with(SMALL.hosts(BAD.into(), healthy), |site| {
        if site.number < SMALL.bad {
            site.site_url = format!("http://{BAD}:{closed}/site/{}", site.number);
        }
    });
    SMALL.check(&scene, MOST, 2.5, &SHORT);
}

#[test]
fn host_that_accepts_and_makes_no_handshake() {
    let scene = Scene::new(|_| WELL);
    // The system accepts for it.
    let silent = TcpListener::bind((BAD, 0)).unwrap();
    scene.import_with(SMALL.hosts(BAD.into(), healthy), |site| {
        if site.number < SMALL.bad {
            site.site_url = format!("https://{}/site/{}", silent.local_addr().unwrap(), site.number);
        }
    });
    SMALL.check(&scene, MOST, 2.5, &SHORT);
}

#[test]
fn host_that_is_a_black_hole() {
    namespace::run(concat!(module_path!(), "::host_that_is_a_black_hole"), &[], || {
        let _network = network(|_| name_server::Answer::Unknown);
        let scene = Scene::new(|_| WELL);
        scene.import(SMALL.hosts(Ipv4Addr::new(9, 0, 0, 1).into(), healthy));
        SMALL.check(&scene, MOST, 2.5, &SHORT);
    });
}

#[test]
fn ipv6_host_that_hangs() {
    let scene = Scene::on_both_families(|request| if request.address.is_ipv6() { Answer::Hang } else { WELL });
    let bad = format!("[{}]", Ipv6Addr::LOCALHOST);
    scene.import(SMALL.hosts(bad, |number| healthy(number).to_string()));
    SMALL.check(&scene, MOST, 2.5, &[&SHORT[..], &["--allow-net", "::1/128"]].concat());
}

#[test]
fn names_of_one_host_that_hangs() {
    namespace::run(concat!(module_path!(), "::names_of_one_host_that_hangs"), &[], || {
        let bad = Ipv4Addr::new(11, 2, 0, 1);
        let _network = network(move |name| {
            name_server::Answer::Address(match number(name) {
                Some(number) if number < SMALL.bad => bad.into(),
                number => Ipv4Addr::from_bits(0x0B01_0001 + (number.unwrap_or(0) << 8)).into(),
            })
        });
        let scene = Scene::new(move |request| if request.address == bad { Answer::Hang } else { WELL });
        scene.import((0..SMALL.bad + SMALL.healthy).map(name));
        SMALL.check(&scene, MOST, 2.5, &SHORT);
    });
}

#[test]
fn proxy_that_hangs() {
    let scene = Scene::new(at_bad_host(Answer::Hang));
    scene.import_proxied(SMALL.bad + SMALL.healthy, |number| {
        if number < SMALL.bad { (name(number), Some(BAD.into())) } else { (healthy(number).to_string(), None) }
    });
    SMALL.check(&scene, MOST, 2.5, &SHORT);
}

#[test]
fn two_hosts_that_hang() {
    let other = Ipv4Addr::new(127, 0, 0, 3);
    let scene = Scene::new(
        move |request| if [BAD.into(), other.into()].contains(&request.address) { Answer::Hang } else { WELL },
    );
    let hosts = [vec![IpAddr::from(BAD); 24], vec![other.into(); 24], (0..40).map(healthy).collect()];
    scene.import(hosts.concat());
    SMALL.check(&scene, 2 * MOST, 2.5, &SHORT);
}

/// They occupy all workers at first, so healthy sites wait for one limit of a call.
#[test]
fn more_hosts_that_hang_than_workers() {
    let bad = |number: u32| Ipv4Addr::new(127, 3, u8::try_from(number).unwrap(), 1);
    let scene = Scene::new(|request| match request.address {
        IpAddr::V4(ip) if ip.octets()[1] == 3 => Answer::Hang,
        _ => WELL,
    });
    let hosts = (0..96).map(|number| IpAddr::from(bad(number % 6))).chain((0..40).map(healthy));
    scene.import(hosts);
    let run = scene.poll(&SHORT);
    // Of each of the six hosts, four sites are tried, in two rounds of 16 workers.
    assert!(run.charged <= 6 * MOST, "{}", run.charged);
    run.assert_counts(40, run.charged, 96 - run.charged);
    run.assert_within(2.0);
}

#[test]
fn host_that_answers_and_then_hangs() {
    let crowd = Crowd { bad: 60, healthy: 20 };
    let scene = crowd.scene_that_was_well();
    scene.server.answer(|request| match (request.address == BAD, request.of_address) {
        (true, 21..) => Answer::Hang,
        _ => WELL,
    });
    let run = scene.poll(&[&SHORT[..], &["--per-host", "2"]].concat());
    // A host that has answered is down after six failures in a row. One may begin before the last answer, and one be in
    // flight.
    assert!((6..=8).contains(&run.charged), "{}", run.charged);
    run.assert_counts(40, run.charged, 40 - run.charged);
    run.assert_within(3.0);
}

#[test]
fn host_of_which_every_fourth_site_hangs_is_not_down() {
    let scene = Scene::new(|request| if request.site % 4 == 3 { Answer::Hang } else { WELL });
    scene.import([BAD; 16]);
    scene.poll(&["--timeout", "0.3"]).assert_counts(12, 4, 0);
}

/// If the dead sites came first in the second run too, the host would be taken for one that is down.
#[test]
fn sites_that_were_failing_come_after_the_others_of_their_host() {
    let scene = Scene::new(|request| if request.site < 12 { Answer::Hang } else { WELL });
    scene.import([BAD; 24]);
    scene.poll(&["--timeout", "0.3", "--per-host", "16"]).assert_counts(12, 12, 0);
    let run = scene.poll_after(60, &["--timeout", "0.3"]);
    assert_eq!(run.summary["ok"], 12, "{}", run.summary);
}

#[test]
fn limit_of_polls_at_a_host_is_the_number_of_sites_that_are_tried() {
    for (per_host, most) in [("1", 1), ("2", 3), ("16", 31)] {
        let scene = Scene::new(at_bad_host(Answer::Hang));
        scene.import(Crowd { bad: 48, healthy: 20 }.hosts(BAD.into(), healthy));
        let run = scene.poll(&["--threads", "32", "--timeout", "0.3", "--per-host", per_host]);
        assert!((1..=most).contains(&run.charged), "--per-host {per_host}: {}", run.charged);
        run.assert_counts(20, run.charged, 48 - run.charged);
        run.assert_within(2.0);
    }
}

#[test]
fn no_site_of_a_bad_host_is_charged_in_an_outage() {
    let is_offline = Arc::new(AtomicBool::new(false));
    let offline = Arc::clone(&is_offline);
    let scene = Scene::new(move |_| if offline.load(Ordering::Relaxed) { Answer::Hang } else { WELL });
    let hosts = (0..12).map(|number| Ipv4Addr::new(127, 4, number, 1));
    scene.import(std::iter::repeat_n(BAD, 24).chain(hosts));
    scene.poll(&SHORT).assert_counts(36, 0, 0);
    is_offline.store(true, Ordering::Relaxed);
    let run = scene.poll_after(60, &SHORT);
    assert_eq!((run.code, run.charged, &run.summary["failed"]), (69, 0, &json!(0)), "{}", run.summary);
    is_offline.store(false, Ordering::Relaxed);
    scene.poll_after(60, &SHORT).assert_counts(36, 0, 0);
}

/// The bad host comes first, and holds the only worker for a few polls.
#[test]
fn one_worker_polls_the_healthy_sites_too() {
    let crowd = Crowd { bad: 16, healthy: 10 };
    let scene = crowd.scene_that_was_well();
    scene.server.answer(at_bad_host(Answer::Hang));
    let run = scene.poll(&["--threads", "1", "--timeout", "0.2"]);
    assert!((PER_HOST..=MOST).contains(&run.charged), "{}", run.charged);
    run.assert_counts(10, run.charged, 16 - run.charged);
    run.assert_within(3.0);
}

/// Lookups without an answer hold no worker.
#[test]
fn names_that_no_server_answers_for_delay_no_other_site() {
    let test = concat!(module_path!(), "::names_that_no_server_answers_for_delay_no_other_site");
    namespace::run(test, &[], || {
        let _network = network(|name| match number(name) {
            Some(_) => name_server::Answer::Silence,
            None => name_server::Answer::Unknown,
        });
        let scene = Scene::new(|_| WELL);
        scene.world.append_config("[timeouts]\nresolve = 1\n");
        scene.import((0..20).map(name).chain((20..40).map(|number| healthy(number).to_string())));
        let run = scene.poll(&["--threads", "4"]);
        run.assert_counts(20, 20, 0);
        run.assert_within(3.0);
    });
}

/// A healthy host is slow at first. It must not be taken for one that is down.
#[test]
fn slow_host_is_not_down() {
    let scene = Scene::new(|_| Answer::Reply(Duration::from_millis(200), Then::Keep));
    scene.import([BAD; 16]);
    scene.poll(&["--timeout", "1"]).assert_counts(16, 0, 0);
}
