//! Faults of this machine that only some polls meet.
//!
//! Their sites are not charged, and all others are polled.

use std::fs;
use std::net::IpAddr;

use super::charged::is_in_a_third;
use super::scene::{Layout, NAMES, Scene, Urls, ipv4, ipv6};
use crate::testkit::name_server::{Answer, name};
use crate::testkit::namespace;

/// Polls with a fault that the sites of `is_met` meet, and again without it.
fn check(layout: Layout, breaks: fn(&mut Scene), is_met: fn(u32) -> bool) {
    let size = 60;
    let mut scene = Scene::new(layout, size);
    scene.poll_well();
    let before = scene.world.statuses();
    breaks(&mut scene);
    let run = scene.poll(&["--timeout", "3"]);
    let about = format!("exit {}, {}\n{}", run.code, run.summary, run.stderr);
    println!("{about}");
    assert!([0, 69].contains(&run.code), "{about}");
    assert_eq!(run.summary["failed"], 0, "{about}");
    let now = &run.summary["now"];
    for (number, status) in scene.world.statuses() {
        if is_met(number) {
            assert_eq!(status, before[&number], "site {number}: {about}");
        } else {
            assert_eq!(([status[0], status[1]], &status[2].into()), ([0, 0], now), "site {number}: {about}");
        }
    }
    scene.restore();
    let run = scene.poll(&[]);
    let met = (0..size).filter(|number| is_met(*number)).count();
    assert_eq!((run.code, &run.summary["ok"], &*run.stderr), (0, &met.into(), ""), "{}", run.summary);
    scene.world.assert_sound();
}

/// Makes a test of each fault.
macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident: $layout:expr, $breaks:expr, $is_met:expr;)*) => {
        $(
            $(#[$doc])*
            #[test]
            fn $name() {
                let test = concat!(module_path!(), "::", stringify!($name));
                namespace::run(test, &[], || check($layout, $breaks, $is_met));
            }
        )*
    };
}

faults! {
    half_of_the_names_are_in_the_file_of_hosts: NAMES, |scene| {
        list_odd_sites(scene);
        scene.names.stop();
    }, is_even;
    half_of_the_names_are_in_the_file_of_hosts_and_the_name_server_fails: NAMES, |scene| {
        list_odd_sites(scene);
        scene.names.answer(|_| Answer::Failure);
    }, is_even;
    half_of_the_names_are_in_the_file_of_hosts_and_the_name_server_is_silent: NAMES, |scene| {
        list_odd_sites(scene);
        scene.names.answer(|_| Answer::Silence);
    }, is_even;
    firewall_forbids_some_networks: NAMES, |scene| {
        for number in (0..60).filter(|number| is_in_a_third(*number, 60)) {
            scene.network.route("prohibit", &ipv4(number).to_string());
        }
    }, |number| is_in_a_third(number, 60);
    /// Every other site has https.
    ca_bundle_is_empty: Layout { urls: Urls::Mixed, ..NAMES }, |scene| {
        scene.authorities = "empty.pem";
        fs::write(scene.world.path("empty.pem"), "").unwrap();
    }, |number| !is_even(number);
    /// Some sites have IPv6 only, and this machine lost it.
    machine_has_no_ipv6: Layout { address: some_ipv6, ..NAMES }, |scene| {
        scene.network.route("throw", "2a00:1::/40");
    }, |number| is_in_a_third(number, 60);
}

fn list_odd_sites(scene: &Scene) {
    let line = |number| format!("{} {}\n", ipv4(number), name(number));
    scene.network.set_hosts(&(0..scene.size).filter(|number| !is_even(*number)).map(line).collect::<String>());
}

fn is_even(number: u32) -> bool {
    number.is_multiple_of(2)
}

fn some_ipv6(number: u32) -> IpAddr {
    if is_in_a_third(number, 60) { ipv6(number) } else { ipv4(number) }
}
