//! The situations at the size for which there are figures; `tests/long.sh` runs them.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::bad_host::{BAD, Crowd, at_bad_host, healthy};
use super::scene::Scene;
use super::server::{Answer, Then, WELL};

const HUNDRED: Crowd = Crowd { bad: 100, healthy: 200 };
const HUNDRED_OPTIONS: [&str; 4] = ["--threads", "64", "--timeout", "2"];

#[test]
#[ignore = "takes 6 s"]
fn a_hundred_hanging_sites_among_two_hundred() {
    let scene = HUNDRED.scene_that_was_well();
    scene.server.answer(at_bad_host(Answer::Hang));
    HUNDRED.check(&scene, 12, 8.0, &HUNDRED_OPTIONS);
}

#[test]
#[ignore = "takes 6 s"]
fn a_hundred_new_hanging_sites_among_two_hundred() {
    let scene = Scene::new(at_bad_host(Answer::Hang));
    scene.import(HUNDRED.hosts(BAD.into(), healthy));
    HUNDRED.check(&scene, 12, 8.0, &HUNDRED_OPTIONS);
}

#[test]
#[ignore = "takes 20 s"]
fn five_hundred_hanging_sites() {
    let scene = Scene::new(|_| Answer::Hang);
    scene.import([BAD; 500]);
    let run = scene.poll(&["--timeout", "5"]);
    assert!((1..=24).contains(&run.charged), "{} sites were charged", run.charged);
    run.assert_counts(0, run.charged, 500 - run.charged);
    run.assert_within(25.0);
}

#[test]
#[ignore = "takes 5 s"]
fn every_fourth_of_forty_sites_hangs() {
    let scene = Scene::new(|request| if request.site % 4 == 3 { Answer::Hang } else { WELL });
    scene.import([BAD; 40]);
    scene.poll(&["--timeout", "1"]).assert_counts(30, 10, 0);
}

#[test]
#[ignore = "takes a minute"]
fn programs_that_pause_at_two_hundred_sites() {
    super::connections::check_pauses(200, 0.3, Duration::from_millis(100), &[]);
}

/// The host answers again after ten seconds. The first probe, after 30 s, finds that out.
#[test]
#[ignore = "takes a minute"]
fn host_that_recovers_within_the_run() {
    let began = Instant::now();
    let scene = Scene::new(move |request| {
        if request.address != BAD {
            Answer::Reply(Duration::from_millis(900), Then::Keep)
        } else if began.elapsed() < Duration::from_secs(10) {
            Answer::Hang
        } else {
            WELL
        }
    });
    // One slow host keeps the run going for 36 s.
    let slow = Ipv4Addr::new(127, 0, 0, 3);
    scene.import((0..60).map(|_| BAD).chain((0..160).map(|_| slow)));
    let run = scene.poll(&["--timeout", "2", "--max-runtime", "2m"]);
    assert!((1..=12).contains(&run.charged), "{} sites were charged", run.charged);
    run.assert_counts(220 - run.charged, run.charged, 0);
}

/// A server that ends connections of its own accord causes no failure in a thousand polls.
#[test]
#[ignore = "takes half a minute"]
fn a_thousand_polls_of_a_server_that_ends_connections() {
    let scene = Scene::new(|request| {
        Answer::Reply(Duration::ZERO, if request.site % 2 == 0 { Then::End } else { Then::AnnouncedEnd })
    });
    scene.import((0..1000).map(|number| Ipv4Addr::from_bits(0x7F05_0001 + number)));
    let run = scene.poll(&[]);
    run.assert_counts(1000, 0, 0);
    let counts = scene.server.take_counts();
    assert_eq!((counts.messages(), counts.late, counts.duplicates), (1000, 0, 0));
}
