mod fleet;
mod overload;
mod weeks;

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
        for site in sites.iter() {
            spread.add(site);
        }
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

#[test]
fn a_month_is_spread_over_all_times_at_which_one_can_end() {
    let policy: Policy = "1 month (x2)".parse().unwrap();
    // The last of January, February, March and a day within a month.
    for now in [30, 58, 89, 100].map(|day| START + day * 86_400 + 7) {
        let mut spread = Spread::new(&policy, now, 3_600);
        let new = vec![PollStatus::default(); 7_200];
        for site in &new {
            spread.add(site);
        }
        let natural = policy.next_due(0, now).unwrap();
        let mut by_hour = std::collections::BTreeMap::new();
        for mut site in new {
            policy.apply(&mut site, now, &Ok(()));
            spread.place(&mut site);
            let due = policy.next_due_of_status(&site).unwrap();
            assert!(due > now && due <= natural, "{due} after {now}");
            *by_hour.entry((due - now) / 3_600).or_insert(0) += 1;
        }
        // Up to three days of a month are never one month after any time.
        assert!(by_hour.len() >= 600 && by_hour.values().all(|sites| *sites <= 12), "{now}: {by_hour:?}");
    }
}

#[test]
fn ticks_that_are_shorter_than_the_leeway_are_even_too() {
    let policy: Policy = "10 min (x2)".parse().unwrap();
    let now = START;
    let mut spread = Spread::new(&policy, now, 10);
    let mut sites = vec![PollStatus::default(); 5_700];
    for site in &sites {
        spread.add(site);
    }
    for site in &mut sites {
        policy.apply(site, now, &Ok(()));
        spread.place(site);
    }
    let due = |at| sites.iter().filter(|site| policy.is_due(site, at)).count();
    let by_tick: Vec<_> = (1..=57).map(|tick| due(now + tick * 10) - due(now + tick * 10 - 10)).collect();
    assert_eq!(by_tick, [100; 57]);
}
