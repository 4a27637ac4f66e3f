use super::*;

const TICK: i64 = 300;
const DAY: i64 = 86_400;
const START: UnixTime = 1_767_225_600;
const RETRY: &str = "20 min (x6); 1 hour (x24); 1 day (x30)";

/// A site, and how many of 1,000 polls of it fail.
type Site = (PollStatus, u64);

fn number(x: u64) -> u64 {
    // The finalizer of splitmix64.
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Polls a fleet at each tick, as runs do, and returns how many sites each run polled.
fn polls(policy: &Policy, sites: &mut [Site], ticks: std::ops::Range<i64>) -> Vec<u64> {
    let run = |tick| {
        let now = START + tick * TICK;
        let due: Vec<_> = (0..sites.len()).filter(|site| policy.is_due(&sites[*site].0, now)).collect();
        let mut spread = (due.len() as u64 > MAX_EXACT).then(|| Spread::new(policy, now, TICK));
        if let Some(spread) = &mut spread {
            for (status, _) in sites.iter() {
                spread.add(status);
            }
        }
        for site in &due {
            let (status, permille) = &mut sites[*site];
            let fails = number(u64::try_from(now).unwrap() << 20 ^ *site as u64) % 1000 < *permille;
            let failed = || Err(Failure::new(FailureClass::Timeout, ""));
            policy.apply(status, now, &if fails { failed() } else { Ok(()) });
            if let Some(spread) = &mut spread {
                spread.place(status);
            }
        }
        due.len() as u64
    };
    ticks.map(run).collect()
}

fn forecast(policy: &Policy, sites: &[Site], after_tick: i64, hours: i64) -> Forecast<usize> {
    let timetable = Timetable { first: START + (after_tick + 1) * TICK, tick_s: TICK, runs: hours * 3600 / TICK };
    let mut fleet = Fleet::new(policy, timetable);
    sites.iter().enumerate().for_each(|(site, (status, _))| fleet.add(site, status));
    fleet.forecast(32)
}

/// Asserts that the forecast is what runs do, run by run.
fn assert_exact(policy: &Policy, sites: &mut [Site], after_tick: i64, hours: i64) {
    let predicted = polls_of(&forecast(policy, sites, after_tick, hours));
    let actual = polls(policy, sites, after_tick + 1..after_tick + 1 + hours * 3600 / TICK);
    let wrong = predicted.iter().zip(&actual).position(|(predicted, actual)| predicted != actual);
    let wrong = wrong.map(|run| (run, predicted[run], actual[run]));
    assert_eq!((wrong, predicted.len()), (None, actual.len()), "{policy}");
    assert!(actual.iter().any(|polls| *polls > 0), "{policy}");
}

fn polls_of(forecast: &Forecast<usize>) -> Vec<u64> {
    forecast.runs.iter().map(|run| run.polls).collect()
}

/// Sites that always succeed, and were last polled at a time.
fn polled_at(last_run: UnixTime, count: usize) -> Vec<Site> {
    vec![(PollStatus { last_run, ..PollStatus::default() }, 0); count]
}

#[test]
fn a_forecast_of_sites_that_keep_their_state_is_exact() {
    let policy: Policy = RETRY.parse().unwrap();
    let mut sites = vec![(PollStatus::default(), 0); 700];
    sites.extend(vec![(PollStatus::default(), 1000); 20]);
    polls(&policy, &mut sites, 0..30);
    // Another import, and three runs that are missed.
    sites.extend(vec![(PollStatus::default(), 0); 300]);
    assert_exact(&policy, &mut sites, 33, 24);
}

#[test]
fn a_forecast_of_a_fleet_with_failures_is_within_five_percent_at_every_run_of_a_day() {
    let policy: Policy = RETRY.parse().unwrap();
    // Two imports that are still uneven, sites that fail sometimes, and some that are in every level.
    let mut sites = vec![(PollStatus::default(), 15); 1000];
    sites.extend(vec![(PollStatus::default(), 1000); 30]);
    polls(&policy, &mut sites, 0..340);
    sites.extend(vec![(PollStatus::default(), 1000); 15]);
    polls(&policy, &mut sites, 340..360);
    sites.extend(vec![(PollStatus::default(), 20); 300]);
    let predicted = polls_of(&forecast(&policy, &sites, 359, 24));
    let actual = polls(&policy, &mut sites, 360..360 + 288);
    assert_eq!((actual[0] > 500, *actual.iter().min().unwrap() > 240), (true, true));
    for (run, (predicted, actual)) in predicted.iter().zip(&actual).enumerate() {
        assert!(predicted.abs_diff(*actual) * 20 <= *actual, "run {run}: {predicted}, but {actual}");
    }
}

#[test]
fn sites_at_a_daily_level_are_a_peak_once_a_day() {
    let policy: Policy = "1 hour (x2); 1 day (x30)".parse().unwrap();
    let status = PollStatus { level: 1, count: 3, last_run: START, ..PollStatus::default() };
    let sites = vec![(status, 1000); 90];
    let forecast = forecast(&policy, &sites, 0, 96);
    let polled: Vec<_> = forecast.runs.iter().filter(|run| run.polls > 0).map(|run| (run.at, run.polls)).collect();
    assert_eq!(polled, [1, 2, 3, 4].map(|day| (START + day * DAY, 90)));
    assert_eq!((forecast.by_level, forecast.given_up), (vec![0, 360], 0));
}

#[test]
fn sites_that_are_given_up_are_named_in_their_order() {
    let policy: Policy = "1 hour (x2); 2 hour (x3)".parse().unwrap();
    let at = |level, count, last_run| (PollStatus { level, count, last_run, ..PollStatus::default() }, 1000);
    let mut sites = vec![at(1, 1, START), at(1, 2, START), at(0, 1, START), at(2, 0, START)];
    sites.extend(polled_at(START, 200));
    sites.extend(vec![at(1, 2, START + 60); 30]);
    let forecast = forecast(&policy, &sites, 0, 6);
    assert_eq!(forecast.given_up, 32, "one was given up before, and one fails for longer");
    let named = &forecast.first_given_up;
    assert_eq!((named.len(), named[0], named[1]), (MAX_NAMED, (1, START + 7200), (204, START + 7500)));
    assert_eq!(forecast.by_level, [200 * 6 + 1, 1 + 2 + 1 + 30 + 1]);
}

#[test]
fn a_site_that_asked_to_wait_is_polled_after_that() {
    let policy: Policy = "20 min (x6)".parse().unwrap();
    let not_before = Some(START + 3500);
    let sites = [(PollStatus { last_run: START, not_before, deferrals: 1, ..PollStatus::default() }, 0)];
    let polled = polls_of(&forecast(&policy, &sites, 0, 2));
    let runs: Vec<_> = (1..).zip(polled).filter(|(_, polls)| *polls > 0).map(|(run, _)| run).collect();
    assert_eq!(runs, [12, 16, 20, 24]);
}

#[test]
fn periods_of_the_calendar_and_periods_below_a_tick_are_those_of_runs() {
    for retry in ["7 sec (x3)", "5 min (x3)", "1 month (x3)", "1 week (x3); 1 month (x9)"] {
        let policy: Policy = retry.parse().unwrap();
        let mut sites: Vec<Site> = (0..45).flat_map(|day| polled_at(START - day * (DAY + 40), 5)).collect();
        // One of a wrong clock.
        sites.extend(polled_at(START + 90 * DAY, 1));
        assert_exact(&policy, &mut sites, 0, 26);
    }
}

#[test]
fn a_run_takes_as_long_as_its_polls_by_the_workers_and_no_less_than_the_longest() {
    let policy: Policy = "20 min (x6)".parse().unwrap();
    let timed = |durations: &[(u32, bool)], level: u32| {
        let mut status = PollStatus { level, last_run: START, ..PollStatus::default() };
        for (ms, failed) in durations {
            status.remember(START, &if *failed { Err(Failure::new(FailureClass::Timeout, "")) } else { Ok(()) });
            status.attempts.last_mut().unwrap().duration_ms = *ms;
        }
        (status, 0)
    };
    let of = |sites: &[Site]| forecast(&policy, sites, 0, 1).runs[3].duration_ms;
    assert_eq!(of(&[]), None);
    assert_eq!(of(&polled_at(START, 5)), None);
    // Only polls that ended as the last one count, and a site without any takes as long as others.
    let site = timed(&[(60_000, true), (100, false), (0, false), (300, false)], 0);
    assert_eq!(of(&vec![site.clone(); 64]), Some(400));
    assert_eq!(of(&vec![site.clone(); 3]), Some(200));
    assert_eq!(of(&[vec![site.clone(); 32], polled_at(START, 64)].concat()), Some(600));
    assert_eq!(of(&[site, timed(&[(100, false), (9_000, true)], 0)]), Some(9_000));
}

#[test]
fn many_sites_are_placed_as_one_after_the_other() {
    let policy: Policy = "20 min (x6); 1 hour (x9)".parse().unwrap();
    let status = |level| PollStatus { level, last_run: START, ..PollStatus::default() };
    let due = [(status(0), 900), (PollStatus { last_run: START - 4000, ..status(1) }, 300)];
    let mut one = Spread::new(&policy, START + 1200, TICK);
    let mut many = one.clone();
    for (status, count) in &due {
        (0..*count).for_each(|_| one.add(status));
        many.add_many(status, *count);
    }
    for (level, count) in [(0, 400), (1, 120), (0, 500), (1, 180), (2, 5)] {
        let next = PollStatus { last_run: START + 1200, ..status(level) };
        let mut placed = BTreeMap::new();
        for _ in 0..count {
            let mut next = next.clone();
            one.place(&mut next);
            *placed.entry(next.early_s).or_default() += 1;
        }
        assert!(placed.len() > 1 || level == 2, "{placed:?}");
        assert_eq!(place(&mut many, &next, count), placed);
    }
}
