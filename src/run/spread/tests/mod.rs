use super::*;

const TICK: i64 = 300;
const START: UnixTime = 1_767_225_600;

/// Runs a fleet of healthy sites at each tick and returns how many each run polled.
fn polls(policy: &Policy, sites: &mut [PollStatus], ticks: std::ops::Range<i64>) -> Vec<u64> {
    let run = |tick| {
        let now = START + tick * TICK;
        let is_due: Vec<_> = sites.iter().map(|site| policy.is_due(site, now)).collect();
        let due = is_due.iter().filter(|due| **due).count() as u64;
        let mut spread = Spread::new(policy, now, TICK);
        sites.iter().for_each(|site| spread.add(site));
        for (site, _) in sites.iter_mut().zip(is_due).filter(|(_, due)| *due) {
            policy.apply(site, now, &Ok(()));
            if due > MAX_EXACT {
                spread.place(site);
            }
        }
        due
    };
    ticks.map(run).collect()
}

#[test]
fn sites_that_were_imported_together_are_even_within_a_period() {
    let policy: Policy = "20 min (x6); 1 day (x30)".parse().unwrap();
    let mut sites = vec![PollStatus::default(); 1000];
    let polled = polls(&policy, &mut sites, 0..40);
    assert_eq!(polled[..5], [1000, 250, 250, 250, 250]);
    assert!(polled[1..].iter().all(|polled| *polled == 250));
    // After two days without a run.
    let polled = polls(&policy, &mut sites, 600..640);
    assert_eq!(polled[0], 1000);
    assert!(polled[1..].iter().all(|polled| *polled == 250), "{polled:?}");
}

#[test]
fn only_the_excess_is_moved_and_only_into_the_emptiest_runs() {
    let policy: Policy = "20 min (x6)".parse().unwrap();
    let mut sites = vec![PollStatus::default(); 1000];
    polls(&policy, &mut sites, 0..8);
    // One run is missed, so the next polls twice as many.
    assert_eq!(polls(&policy, &mut sites, 9..14), [500, 250, 250, 250, 250]);
    sites.extend(vec![PollStatus::default(); 400]);
    assert_eq!(polls(&policy, &mut sites, 14..19), [650, 350, 350, 350, 350]);
}

#[test]
fn small_crowds_keep_their_exact_times() {
    let policy: Policy = "20 min (x6)".parse().unwrap();
    let mut sites = vec![PollStatus::default(); 100];
    assert_eq!(polls(&policy, &mut sites, 0..9), [100, 0, 0, 0, 100, 0, 0, 0, 100]);
    assert!(sites.iter().all(|site| site.early_s == 0));
}
