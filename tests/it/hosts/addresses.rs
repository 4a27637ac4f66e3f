//! Names with addresses that are dead cost hardly more than those with the living one alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::scene::{Scene, network};
use super::server::WELL;
use crate::testkit::name_server::{Answer, name, number};
use crate::testkit::namespace;

/// The number of sites, each with a name of its own.
const SITES: u32 = 12;
/// The number of pairs of runs, of which one must be fast enough: other processes take time too.
const ATTEMPTS: u32 = 3;

/// Returns the living address of a site.
fn living(site: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0B01_0001 + (site << 8))
}

/// Returns an IPv6 address in a `/32`, which no other site has.
fn ipv6(net: u16, site: u32, number: u32) -> IpAddr {
    let [site, number] = [site, number].map(|number| u16::try_from(number).unwrap());
    Ipv6Addr::new(0x2a00, net, site, 0, 0, 0, 9, number).into()
}

/// Returns an IPv4 address in a `/8`, which no other site has.
fn ipv4(net: u32, site: u32, number: u32) -> IpAddr {
    Ipv4Addr::from_bits((net << 24) + 0x0003_0000 + (site << 8) + number).into()
}

/// Compares runs over names with dead addresses with runs over names that have only the living one.
///
/// All sites must be polled well, within `seconds` more.
fn check(dead: fn(u32) -> Vec<IpAddr>, seconds: f64, more: &[&str]) {
    let addresses: Vec<IpAddr> = (0..SITES).map(|site| living(site).into()).collect();
    let (_network, names) = network(|_| Answer::Unknown);
    let scene = Scene::at(&addresses, |_| WELL);
    scene.import((0..SITES).map(name));
    let poll = || {
        let run = scene.poll_after(60, more);
        run.assert_counts(SITES as usize, 0, 0);
        run.elapsed.as_secs_f64()
    };
    let mut costs = (0..ATTEMPTS).map(|_| {
        names.answer(|name| Answer::Address(living(number(name).unwrap()).into()));
        let living_only = poll();
        names.answer(move |name| {
            let site = number(name).unwrap();
            Answer::Addresses(dead(site).into_iter().chain([living(site).into()]).collect())
        });
        let cost = poll() - living_only;
        println!("{cost:+.2} s");
        cost
    });
    // Noise is less than a second.
    let found = costs.find(|cost| *cost <= seconds || *cost > seconds + 1.0);
    assert!(found.is_some_and(|cost| cost <= seconds), "no pair of runs was fast enough");
}

macro_rules! rows {
    ($($(#[$attribute:meta])* $name:ident: $dead:expr, $seconds:literal $(, $option:literal)*;)*) => {
        $(
            #[test]
            $(#[$attribute])*
            fn $name() {
                let test = concat!(module_path!(), "::", stringify!($name));
                namespace::run(test, &[], || check($dead, $seconds, &[$($option),*]));
            }
        )*
    };
}

rows! {
    ipv6_address_that_is_a_black_hole: |site| vec![ipv6(0xdead, site, 1)], 0.3;
    ipv4_address_that_is_a_black_hole: |site| vec![ipv4(9, site, 1)], 0.3;
    ipv6_address_that_refuses: |site| vec![ipv6(1, site, 1)], 0.3;
    ipv4_address_that_refuses: |site| vec![ipv4(11, site, 1)], 0.3;
    ipv6_address_that_is_forbidden: |site| vec![ipv6(7, site, 1)], 0.3;
    ipv6_address_without_a_route: |site| vec![ipv6(8, site, 1)], 0.3;
    eleven_addresses_that_refuse: |site| eleven(1, 11, site), 0.3;
    /// One thread meets it with the first site, and tries it last with the others.
    black_hole_of_all_sites: |_| vec![ipv6(0xdead, 0, 1)], 0.5, "--threads", "1";
    #[ignore = "takes 8 s"]
    eleven_addresses_that_are_black_holes: |site| eleven(0xdead, 9, site), 4.0;
}

/// Returns eight IPv6 and three IPv4 addresses of a site.
fn eleven(ipv6_net: u16, ipv4_net: u32, site: u32) -> Vec<IpAddr> {
    let first = (0..8).map(|number| ipv6(ipv6_net, site, number));
    first.chain((0..3).map(|number| ipv4(ipv4_net, site, number))).collect()
}
