//! Connections that are used again, and the messages that arrive on them.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde_json::json;

use super::bad_host::PER_HOST;
use super::scene::{Run, Scene};
use super::server::{Answer, Counts, Request, Then, WELL};
use crate::listeners::configure;
use crate::testkit::name_server::name;

/// Returns the address of a site, which no other has.
fn own(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 0, 1, 1).to_bits() + number).into()
}

/// Makes a number of API calls the listener of every poll.
fn configure_calls(scene: &Scene, calls: usize) {
    let calls = vec!["{ api = \"System.get\" }"; calls].join(", ");
    configure(&scene.world, &format!("[[listeners]]\nevent = \"civi_cxn.poll\"\ncalls = [{calls}]\n"));
}

/// Polls sites with a number of calls each; prints and returns what the server counted.
fn poll_calls(scene: &Scene, calls: usize, more: &[&str]) -> (Run, Counts) {
    configure_calls(scene, calls);
    poll(scene, more)
}

fn poll(scene: &Scene, more: &[&str]) -> (Run, Counts) {
    let run = scene.poll(more);
    let counts = scene.server.take_counts();
    let (connections, messages) = (counts.connections(), counts.messages());
    let most = counts.hosts.values().map(|host| host.most).max();
    println!("{connections} connections, {messages} messages, {} twice, {} too late", counts.duplicates, counts.late);
    println!("at most {most:?} connections to one address at the same time");
    (run, counts)
}

#[test]
fn all_calls_of_a_poll_use_one_connection() {
    let scene = Scene::new(|_| WELL);
    scene.import((0..50).map(own));
    let (run, counts) = poll_calls(&scene, 5, &[]);
    run.assert_counts(50, 0, 0);
    assert_eq!((counts.connections(), counts.messages(), counts.duplicates), (50, 250, 0));
}

#[test]
fn sites_of_one_host_use_the_same_connections() {
    let scene = Scene::new(|_| WELL);
    let address = Ipv4Addr::new(127, 0, 0, 2);
    scene.import([address; 50]);
    let (run, mut counts) = poll_calls(&scene, 5, &[]);
    run.assert_counts(50, 0, 0);
    assert_eq!((counts.messages(), counts.duplicates), (250, 0));
    let host = counts.at(address);
    assert!(host.connections <= 16 && host.most <= PER_HOST, "{} connections, {}", host.connections, host.most);
}

#[test]
fn sites_behind_one_proxy_use_the_same_connections() {
    let scene = Scene::new(|_| WELL);
    let proxy = Ipv4Addr::new(127, 0, 0, 2);
    scene.import_proxied(50, |number| (name(number), Some(proxy.into())));
    let (run, mut counts) = poll_calls(&scene, 2, &[]);
    run.assert_counts(50, 0, 0);
    assert_eq!((counts.messages(), counts.duplicates), (100, 0));
    let host = counts.at(proxy);
    assert!(host.connections <= 16 && host.most <= PER_HOST, "{} connections, {}", host.connections, host.most);
}

#[test]
fn end_that_a_reply_announces_is_no_failure() {
    let scene = Scene::new(|_| Answer::Reply(Duration::ZERO, Then::AnnouncedEnd));
    scene.import((0..20).map(own));
    let (run, counts) = poll_calls(&scene, 3, &[]);
    run.assert_counts(20, 0, 0);
    assert_eq!((counts.connections(), counts.messages(), counts.late, counts.duplicates), (60, 60, 0, 0));
}

/// Ends the first connection to each site after its first reply.
fn check_end_after_the_first(sites: u32, calls: usize, then: Then) {
    let scene = Scene::new(move |request| match request.of_site {
        1 => Answer::Reply(Duration::ZERO, then),
        _ => WELL,
    });
    scene.import((0..sites).map(own));
    let (run, counts) = poll_calls(&scene, calls, &[]);
    let sites = sites as usize;
    run.assert_counts(sites, 0, 0);
    assert_eq!((counts.messages(), counts.late, counts.duplicates), (calls * sites, 0, 0));
    assert_eq!(counts.connections(), 2 * sites, "one that ended, and one for all other calls");
}

#[test]
fn nothing_is_written_to_a_connection_that_ended_with_its_first_reply() {
    check_end_after_the_first(200, 2, Then::End);
}

#[test]
fn connection_with_bytes_after_the_reply_is_not_used_again() {
    check_end_after_the_first(50, 3, Then::Bytes("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"));
}

#[test]
fn connection_with_a_part_of_another_reply_is_not_used_again() {
    check_end_after_the_first(50, 3, Then::Bytes("\0"));
}

/// Polls with a program that pauses between its calls; the server ends each connection meanwhile.
pub fn check_pauses(sites: u32, pause: f64, end_after: Duration, more: &[&str]) {
    let scene = Scene::new(move |_| Answer::Reply(Duration::ZERO, Then::EndAfter(end_after)));
    scene.import((0..sites).map(own));
    let script = format!(
        "while read -r event; do\n\
         for call in 1 2 3; do echo '{{\"call\":\"System.get\"}}'; read -r reply; sleep {pause}; done\n\
         echo '{{\"ok\":true}}'; done"
    );
    fs::write(scene.world.path("listener.sh"), script).unwrap();
    let program = "program = [\"sh\", \"listener.sh\"]\nreuse = true";
    configure(&scene.world, &format!("[[listeners]]\nevent = \"civi_cxn.poll\"\n{program}\n"));
    let (run, counts) = poll(&scene, more);
    run.assert_counts(sites as usize, 0, 0);
    assert_eq!((counts.messages(), counts.late, counts.duplicates), (3 * sites as usize, 0, 0));
}

#[test]
fn connection_that_ended_in_a_pause_is_no_failure() {
    check_pauses(16, 0.1, Duration::from_millis(20), &[]);
}

/// One of five calls is read whole and not answered; no message may be sent again.
fn check_unanswered(which: impl Fn(&Request) -> bool + Copy + Send + Sync + 'static, answer: Answer) {
    let scene = Scene::new(move |request| if which(request) { answer } else { WELL });
    scene.import((0..150).map(own));
    let (run, counts) = poll_calls(&scene, 5, &[]);
    run.assert_counts(0, 150, 0);
    assert_eq!(run.summary["failures"], json!({"disconnected": 150}), "{}", run.summary);
    assert_eq!((counts.duplicates, counts.late), (0, 0));
    let expected = (0..150).map(|site| {
        let of_site =
            (1..=5).find(|of_site| which(&Request { address: own(site), site, of_site: *of_site, of_address: 0 }));
        (site, of_site.unwrap())
    });
    assert_eq!(counts.messages, expected.collect(), "a message was sent again, or a call followed a failed one");
}

#[test]
fn message_that_is_not_answered_before_the_end_is_not_sent_again() {
    // Each site ends another of the five calls.
    check_unanswered(|request| request.of_site == 1 + request.site as usize % 5, Answer::End);
}

#[test]
fn message_that_is_not_answered_before_a_reset_is_not_sent_again() {
    check_unanswered(|request| request.of_site == 1 + request.site as usize % 5, Answer::Reset);
}

/// The sites of one host share connections, so the failed call may be the first of its poll.
#[test]
fn message_of_another_site_on_a_used_connection_is_not_sent_again() {
    let is_cut = |request: &Request| request.site % 3 == 2 && request.of_site == 1;
    let scene = Scene::new(move |request| if is_cut(request) { Answer::End } else { WELL });
    scene.import([Ipv4Addr::new(127, 0, 0, 2); 60]);
    let (run, counts) = poll_calls(&scene, 2, &[]);
    run.assert_counts(40, 20, 0);
    assert_eq!(run.summary["failures"], json!({"disconnected": 20}), "{}", run.summary);
    assert_eq!((counts.messages(), counts.duplicates, counts.late), (40 * 2 + 20, 0, 0));
}
