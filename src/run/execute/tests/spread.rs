//! Sites that are imported together, in a store that is polled at each tick.

use std::collections::BTreeMap;

use super::*;
use crate::model::PollStatus;
use crate::store;

/// How many connections have their next poll so many seconds early, if all were last polled at `now`.
fn early(store: &Store, now: UnixTime) -> BTreeMap<u32, usize> {
    let mut early = BTreeMap::new();
    let read = |_, _, statuses: Vec<(JobName, PollStatus)>| {
        for (_, status) in statuses {
            assert_eq!(status.last_run, now);
            *early.entry(status.early_s).or_default() += 1;
        }
        Ok::<_, store::Error>(())
    };
    store.for_each_cxn(read).unwrap();
    early
}

#[test]
fn sites_that_were_imported_together_are_even_after_the_first_run_and_after_a_stop() {
    let mut fixture = Fixture::new(0, |_| Ok(()));
    let patches: Vec<_> = (0..300).map(|number| transfer::parse(&line(number)).unwrap()).collect();
    fixture.store.write(|session| session.upsert(&patches, false)).unwrap();
    fixture.run.listeners = Listeners::default();
    fixture.add("civi_cxn.poll", 0, Action::Poll(Box::new(|_| Ok(()))));
    fixture.run.policy = "20 min (x6); 1 day (x3)".parse().unwrap();
    let store = fixture.store.clone();
    let mut polled = |ticks: std::ops::RangeInclusive<i64>| {
        let run = |tick| {
            fixture.run.now = NOW + tick * 300;
            fixture.run().unwrap().run.polled
        };
        ticks.map(run).collect::<Vec<_>>()
    };
    assert_eq!(polled(0..=0), [300]);
    assert_eq!(early(&store, NOW), BTreeMap::from([(0, 75), (300, 75), (600, 75), (900, 75)]));
    assert_eq!(polled(1..=6), [75; 6]);
    // After two days.
    assert_eq!(polled(576..=576), [300]);
    assert_eq!(early(&store, NOW + 576 * 300).len(), 4);
    assert_eq!(polled(577..=581), [75; 5]);
    let notes = fs::read_dir(store.runs()).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let counted = format!(r#""sites":{{"counted_at":{},"by_level":[300,0]}}"#, NOW + 576 * 300);
    assert!(notes.into_iter().any(|note| note.contains(&counted)), "the sites were counted once");
}
