//! Limits count connections to an address, whatever names and spellings it has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::bad_host::PER_HOST;
use super::scene::{Scene, network};
use super::server::{Answer, Then};
use crate::testkit::name_server::{self, name, number};
use crate::testkit::namespace;

/// The reply of a site that takes a while.
const SLOW: Answer = Answer::Reply(Duration::from_millis(80), Then::Keep);
/// The address that is shared.
const SHARED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// The address that names share.
const NAMED: Ipv4Addr = Ipv4Addr::new(11, 2, 0, 1);

/// Polls all sites well; returns the largest number of connections to an address at the same time.
fn most(scene: &Scene, address: impl Into<IpAddr>, more: &[&str]) -> usize {
    let sites = scene.world.statuses().len();
    scene.poll(more).assert_counts(sites, 0, 0);
    let most = scene.server.take_counts().at(address).most;
    println!("at most {most} connections at the same time");
    most
}

/// Returns an IPv6 address that no other site has.
fn own_ipv6(net: u16, number: u32) -> IpAddr {
    Ipv6Addr::new(0x2a00, net, 0, 0, 0, 0, 9, u16::try_from(number).unwrap()).into()
}

/// Polls names that all have one address, of which every second has another one before it.
fn check_names(count: u32, answer: Answer, others: Option<fn(u32) -> IpAddr>) {
    let _network = network(move |name| {
        let number = number(name).unwrap();
        let other = others.filter(|_| number.is_multiple_of(2)).map(|other| other(number));
        name_server::Answer::Addresses(other.into_iter().chain([NAMED.into()]).collect())
    });
    let scene = Scene::at(&[NAMED.into()], move |_| answer);
    scene.import((0..count).map(name));
    assert_eq!(most(&scene, NAMED, &[]), PER_HOST);
}

#[test]
fn names_of_one_address_share_its_limit() {
    namespace::run(concat!(module_path!(), "::names_of_one_address_share_its_limit"), &[], || {
        check_names(20, SLOW, None);
    });
}

#[test]
fn names_of_one_ipv6_address_share_its_limit() {
    namespace::run(concat!(module_path!(), "::names_of_one_ipv6_address_share_its_limit"), &[], || {
        let address = own_ipv6(1, 1);
        let _network = network(move |_| name_server::Answer::Address(address));
        let scene = Scene::on_both_families(|_| SLOW);
        scene.import((0..16).map(name));
        assert_eq!(most(&scene, address, &[]), PER_HOST);
    });
}

/// A connection that is kept for another site of its name takes a place at its address too.
#[test]
fn sites_of_several_names_at_one_address_share_its_limit() {
    namespace::run(concat!(module_path!(), "::sites_of_several_names_at_one_address_share_its_limit"), &[], || {
        let _network = network(|_| name_server::Answer::Address(NAMED.into()));
        let scene = Scene::at(&[NAMED.into()], |_| SLOW);
        scene.import((0..24).map(|number| name(number % 4)));
        assert_eq!(most(&scene, NAMED, &[]), PER_HOST);
    });
}

#[test]
#[ignore = "takes 3 s"]
fn forty_names_of_one_address_share_its_limit() {
    let test = concat!(module_path!(), "::forty_names_of_one_address_share_its_limit");
    namespace::run(test, &[], || check_names(40, Answer::Reply(Duration::from_millis(200), Then::Keep), None));
}

#[test]
fn names_with_another_address_that_refuses_share_the_limit() {
    let test = concat!(module_path!(), "::names_with_another_address_that_refuses_share_the_limit");
    namespace::run(test, &[], || check_names(20, SLOW, Some(|number| own_ipv6(1, number))));
}

#[test]
fn names_with_another_address_that_is_a_black_hole_share_the_limit() {
    let test = concat!(module_path!(), "::names_with_another_address_that_is_a_black_hole_share_the_limit");
    namespace::run(test, &[], || check_names(20, SLOW, Some(|_| own_ipv6(0xdead, 1))));
}

/// Each is polled at an address of its own, and might be at the one that they share.
#[test]
fn names_with_living_addresses_of_their_own() {
    namespace::run(concat!(module_path!(), "::names_with_living_addresses_of_their_own"), &[], || {
        let _network =
            network(|name| name_server::Answer::Addresses(vec![own_ipv6(1, number(name).unwrap()), NAMED.into()]));
        let scene = Scene::on_both_families(|_| SLOW);
        scene.import((0..12).map(name));
        assert!(most(&scene, NAMED, &[]) <= PER_HOST);
    });
}

#[test]
fn spellings_of_an_address_share_its_limit() {
    let scene = Scene::on_both_families(|_| SLOW);
    let spellings = ["127.0.0.2", "127.2", "2130706434", "0x7f000002", "[::ffff:127.0.0.2]"];
    scene.import((0..20).map(|number| spellings[number % spellings.len()]));
    assert_eq!(most(&scene, SHARED, &[]), PER_HOST);
}

#[test]
fn proxy_and_sites_at_one_address_share_its_limit() {
    let scene = Scene::new(|_| SLOW);
    scene.import_proxied(20, |number| {
        if number % 2 == 0 { (name(number), Some(SHARED.into())) } else { (SHARED.to_string(), None) }
    });
    assert_eq!(most(&scene, SHARED, &[]), PER_HOST);
}

#[test]
fn limit_of_an_address_is_set_by_an_option_or_in_the_configuration() {
    let scene = Scene::new(|_| SLOW);
    scene.import([SHARED; 16]);
    for per_host in [1, 2, 16] {
        let run = scene.poll_after(60, &["--per-host", &per_host.to_string()]);
        run.assert_counts(16, 0, 0);
        assert_eq!(scene.server.take_counts().at(SHARED).most, per_host);
    }
    scene.world.append_config("[per-host]\n\"127.0.0.2\" = 3\n");
    scene.poll_after(60, &[]).assert_counts(16, 0, 0);
    assert_eq!(scene.server.take_counts().at(SHARED).most, 3);
}
