//! Splitting frames, the months of losses, and months that are removed meanwhile.

use super::*;
use crate::model::Condition;
use crate::store::Store;
use crate::store::history::{CxnHash, SiteTransition};
use std::os::unix::fs::symlink;
use std::time::Duration;

#[test]
fn a_loss_is_in_the_month_until_which_something_was_known() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::new(dir.path().to_owned());
    let time = |text: &str| format!("{text}T00:00:00Z").parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp();
    let job = |name: &str| ("app:a".parse().unwrap(), name.parse().unwrap());
    let loss = |name, unknown_from: Option<&str>| {
        let (at, unknown_from) = (time("2026-11-30"), unknown_from.map(time));
        let transition = Transition { at, from: Condition::Up, to: Condition::New, class: None, unknown_from };
        (job(name), SiteTransition { cxn: CxnHash(7), host: None, transition })
    };
    let losses = || {
        vec![
            loss("a", None),
            loss("a", Some("2026-11-03")),
            loss("a", Some("2026-01-31")),
            loss("b", Some("2026-01-31")),
            loss("b", Some("2025-01-31")),
        ]
    };
    let frames = || {
        let frames = history.frames_of(losses()).unwrap().into_iter();
        frames.map(|frame| (segment_of(frame.at), frame.job.unwrap().1.to_string(), frame.entries.len()))
    };
    let of = |month: &str, job: &str, entries| (month.to_owned(), job.to_owned(), entries);
    assert_eq!(frames().collect::<Vec<_>>(), [of("2026-11", "a", 3), of("2026-11", "b", 2)], "it begins now");
    let mut bytes = Vec::new();
    assert!(put(&mut bytes, &Frame { at: time("2025-12-10"), job: None, entries: Vec::new() }.to_bytes()));
    history.write("2025-12", &bytes).unwrap();
    let expected = [of("2025-12", "b", 1), of("2026-01", "a", 1), of("2026-01", "b", 1), of("2026-11", "a", 2)];
    assert_eq!(frames().collect::<Vec<_>>(), expected);
    assert_eq!(history.began().unwrap(), Some(time("2025-12-10")));
}

fn store(dir: &Path) -> (Store, History) {
    let store = Store::create(&dir.join("store"), Duration::from_secs(10)).unwrap();
    (store.clone(), store.history())
}

#[test]
fn entries_that_are_too_many_for_a_frame_are_split() {
    let dir = tempfile::tempdir().unwrap();
    let (store, history) = store(dir.path());
    let cxns: Vec<_> = (0..200_000).map(|number| format!("cxn:{number:032}")).collect();
    let audit = |detail: String| Audit { user: "root".to_owned(), detail };
    store.write(|session| history.audit(session, &audit("why".to_owned()), "revive", cxns.clone())).unwrap();
    let actions = |number: usize| history.actions_on(&cxns[number].parse().unwrap(), 9).unwrap();
    let [first, last] = [0, cxns.len() - 1].map(|number| actions(number).remove(0).cxns);
    assert_eq!(([&first[..], &last].concat() == cxns, history.scan(0, |_| Ok::<_, Error>(())).unwrap()), (true, 0));
    let long = audit("x".repeat(5 << 20));
    let refused = store.write(|session| history.audit(session, &long, "set", vec!["cxn:1".to_owned()]));
    assert!(matches!(refused, Err(Error::RecordTooLarge(Item::HistoryEntry))), "{refused:?}");
}

#[test]
fn a_month_that_is_removed_meanwhile_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let (store, history) = store(dir.path());
    store.write(|session| history.begin(session, 1_800_000_000)).unwrap();
    // It is listed, and cannot be opened any more.
    symlink("gone", history.path("2026-01")).unwrap();
    assert_eq!(history.began().unwrap(), Some(1_800_000_000));
    assert_eq!(history.end().unwrap().into_keys().collect::<Vec<_>>(), ["2027-01"]);
    assert_eq!(history.actions_on(&"cxn:1".parse().unwrap(), 9).unwrap(), []);
}
