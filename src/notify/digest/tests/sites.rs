//! What is news of single sites.

use super::*;

#[test]
fn a_site_is_in_one_change_by_what_it_did_on_the_whole() {
    let mut fleet = Fleet::with(&[(1, 0..1), (2, 1..2), (3, 2..3), (4, 10..400)]);
    fleet.poll(NOW, 0, true);
    fleet.poll(NOW, 1, true);
    assert_eq!(fleet.message(NOW), [(Kind::Failing, 2, 2)]);
    for (minutes, number, fails) in
        [(1, 0, false), (2, 0, true), (3, 1, false), (4, 1, true), (5, 1, false), (6, 2, true)]
    {
        fleet.poll(NOW + minutes * 60, number, fails);
    }
    (10..400).for_each(|number| fleet.poll(NOW + 7 * 60, number, true));
    fleet.poll(NOW + 8 * 60, 2, false);
    (10..400).for_each(|number| fleet.poll(NOW + 9 * 60, number, false));
    let changes = fleet.changes(NOW + HOUR);
    let counts: Vec<_> = changes.iter().map(|change| (change.kind, change.count, change.host_count)).collect();
    assert_eq!(counts, [(Kind::FailedMeanwhile, 391, 2), (Kind::Recovered, 1, 1)]);
    assert_eq!((changes[0].since, changes[0].sites[0].at), (NOW + 6 * 60, NOW + 6 * 60), "when it began to fail");
    assert_eq!((changes[0].sites.len(), changes[0].cause.as_deref()), (20, Some("http")));
    fleet.poll(NOW + 2 * HOUR, 0, false);
    assert_eq!(fleet.message(NOW + 2 * HOUR), [(Kind::Recovered, 1, 1)], "it was reported as failing at first");
}

#[test]
fn all_hosts_are_counted_and_the_first_are_listed() {
    let hosts: Vec<_> = (0..30).map(|host: u8| (host, u64::from(host)..u64::from(host) + 1)).collect();
    let mut fleet = Fleet::with(&hosts);
    (0..30_u8).for_each(|number| fleet.poll(NOW - i64::from(number), number.into(), true));
    let changes = fleet.changes(NOW);
    let [Change { count, host_count, hosts, sites, since, .. }] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!((*count, *host_count, hosts.len(), sites.len(), *since), (30, 30, 20, 20, NOW - 29));
    assert_eq!(sites[0].cxn_id.as_str(), "cxn:29", "the first that failed");
}

#[test]
fn sites_that_runs_followed_are_reported_with_both_urls() {
    use crate::store::AdminEntry;
    let mut fleet = Fleet::with(&[(1, 0..1)]);
    let action = |action: &str, number: u8, detail: &str| {
        Entry::Admin(AdminEntry {
            at: NOW,
            user: "cxnpoll".to_owned(),
            action: action.to_owned(),
            cxns: vec![format!("cxn:{number}")],
            detail: detail.to_owned(),
        })
    };
    for (at, entry) in [
        (NOW, action("follow", 0, "siteUrl http://a.example/ → https://a.example/?…")),
        (NOW + 1, action("follow", 1, "siteUrl http://b.example/ → https://b.example/")),
        (NOW + 2, action("follow", 0, "siteUrl https://a.example/?… → https://www.a.example/")),
        (NOW + 3, action("set", 2, "siteUrl http://c.example/ → https://c.example/")),
    ] {
        fleet.entries.push((at, entry));
    }
    let changes = fleet.changes(NOW + HOUR);
    let [Change { kind: Kind::Moved, count: 2, host_count: 2, sites, .. }] = &changes[..] else {
        panic!("{changes:?}")
    };
    let urls: Vec<_> = sites.iter().map(|site| (site.old_url.as_deref().unwrap(), site.site_url.as_str())).collect();
    assert_eq!(urls, [("http://a.example/", "https://www.a.example/"), ("http://b.example/", "https://b.example/")]);
}

#[test]
fn what_changes_while_sites_are_read_is_left_to_the_next_message() {
    let mut fleet = Fleet::with(&[(1, 0..1), (2, 1..2)]);
    fleet.poll(NOW, 0, true);
    let read = std::mem::take(&mut fleet.entries);
    // It recovers, and another one fails, before the store is asked about them.
    fleet.poll(NOW + 60, 0, false);
    fleet.poll(NOW + 60, 1, true);
    let later = std::mem::replace(&mut fleet.entries, read);
    let mut done = HashSet::new();
    let mut asked = fleet.sites.clone();
    for (at, entry) in &later {
        let frame = Frame { at: *at, job: Some(job()), entries: vec![entry.clone()] };
        asked.take_back(&frame, &mut done);
    }
    let now = std::mem::replace(&mut fleet.sites, asked);
    assert_eq!(fleet.message(NOW), [(Kind::Failing, 1, 1)]);
    (fleet.sites, fleet.entries) = (now, later);
    assert_eq!(fleet.message(NOW + HOUR), [(Kind::Failing, 1, 1), (Kind::Recovered, 1, 1)]);
}

#[test]
fn the_state_of_a_former_build_is_read() {
    let host = r#"{"joined_at":7,"answered_at":8,"recovered":[[["app:org.example.myapp","default"],[[3,8],[4,9]]]]}"#;
    let job_state = r#"{"failing":{},"outage_since":null,"late_since":null,"down":{"203.0.113.1":9}}"#;
    let jobs = format!(r#"[[["app:org.example.myapp","default"],{job_state}]]"#);
    let tracker: Tracker =
        serde_json::from_str(&format!(r#"{{"jobs":{jobs},"hosts":{{"a.example":{host}}}}}"#)).unwrap();
    assert_eq!(tracker.hosts["a.example"].recovered[&job()].0, [(3, 8), (4, 9)].into());
    assert_eq!(tracker.jobs[&job()].down["203.0.113.1"], 9);
    let again = serde_json::to_value(&tracker).unwrap();
    assert_eq!(again["hosts"]["a.example"]["recovered"][0][1], serde_json::json!([[3, 8], [4, 9]]));
}

#[test]
fn what_the_store_did_not_record_is_no_news() {
    use Condition::{Failing, Up};
    let mut fleet = Fleet::with(&[(1, 0..2)]);
    fleet.event(NOW, 0, Up, Failing);
    assert_eq!(fleet.message(NOW), []);
    // Killed before it was recorded, and polled again.
    fleet.event(NOW, 0, Up, Failing);
    fleet.poll(NOW + 60, 0, true);
    assert_eq!(fleet.message(NOW + 60), [(Kind::Failing, 1, 1)]);
    fleet.event(NOW + HOUR, 0, Failing, Up);
    assert_eq!(fleet.message(NOW + HOUR), [], "the next poll failed, or there was none");
    fleet.poll(NOW + 2 * HOUR, 0, false);
    assert_eq!(fleet.message(NOW + 2 * HOUR), [(Kind::Recovered, 1, 1)]);
}

#[test]
fn sites_that_are_removed_or_disabled_leave_their_host() {
    let mut fleet = Fleet::with(&[(1, 0..10)]);
    (0..10).for_each(|number| fleet.poll(NOW, number, true));
    fleet.changes(NOW);
    (1..10).for_each(|number| _ = fleet.sites.0.get_mut(&job()).unwrap().remove(&number));
    fleet.poll(NOW + HOUR, 0, false);
    assert_eq!(fleet.message(NOW + HOUR), [(Kind::Recovered, 1, 1)]);
}

#[test]
fn a_failing_site_that_is_removed_and_added_again_did_not_recover() {
    use Condition::{Failing, GivenUp, New, Up};
    let mut fleet = Fleet::with(&[(1, 0..1), (2, 1..2), (3, 2..3)]);
    (0..2).for_each(|number| fleet.poll(NOW, number, true));
    fleet.event(NOW, 2, Up, GivenUp);
    fleet.site(2).condition = GivenUp;
    fleet.message(NOW);
    // Removed and added again before the next message: not polled since, answering, and failing.
    let removed = |fleet: &mut Fleet, number, from| {
        fleet.event(NOW + HOUR, number, from, New);
        fleet.site(number).condition = New;
    };
    (0..2).for_each(|number| removed(&mut fleet, number, Failing));
    removed(&mut fleet, 2, GivenUp);
    for (number, to) in [(1, Up), (2, Failing)] {
        fleet.event(NOW + 2 * HOUR, number, New, to);
        fleet.site(number).condition = to;
    }
    assert_eq!(fleet.message(NOW + 2 * HOUR), [(Kind::Failing, 1, 1)]);
    fleet.poll(NOW + 3 * HOUR, 2, false);
    assert_eq!(fleet.message(NOW + 3 * HOUR), [(Kind::Recovered, 1, 1)]);
    // It failed for a time between two messages.
    fleet.poll(NOW + 4 * HOUR, 0, true);
    removed(&mut fleet, 0, Failing);
    assert_eq!(fleet.message(NOW + 4 * HOUR), []);
    // The process was killed before it removed the site.
    fleet.poll(NOW + 5 * HOUR, 1, true);
    assert_eq!(fleet.message(NOW + 5 * HOUR), [(Kind::Failing, 1, 1)]);
    fleet.event(NOW + 6 * HOUR, 1, Failing, New);
    assert_eq!(fleet.message(NOW + 6 * HOUR), []);
    fleet.poll(NOW + 7 * HOUR, 1, false);
    assert_eq!(fleet.message(NOW + 7 * HOUR), [(Kind::Recovered, 1, 1)]);
}
