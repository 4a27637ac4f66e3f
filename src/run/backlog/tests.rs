use super::*;

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

/// A run of 64 workers that had no time for 1,200 of 5,000 sites, with a period of 60 minutes.
fn pace() -> Pace {
    Pace {
        period: minutes(60),
        max_runtime: Some(minutes(20)),
        threads: Threads::Fixed(64),
        gap_s: Some(1200),
        is_after_stop: false,
    }
}

fn cut_short() -> Ran {
    Ran { polled: 3800, left: 1200, elapsed: minutes(20), busy: minutes(20) * 60, workers: 64, lateness_s: None }
}

#[test]
fn a_run_without_time_for_all_needs_workers_or_time() {
    let backlog = pace().backlog(&cut_short()).unwrap();
    assert_eq!((backlog.due, backlog.left, backlog.elapsed), (5000, 1200, minutes(20)));
    // 60 workers were busy, for 3,800 of 5,000 sites, and a tenth is to spare.
    assert_eq!(backlog.lacks, Some(Lack::Workers(87)));
    assert_eq!(backlog.runtime.map(|runtime| runtime.as_secs()), Some(1736));
    // With a shorter period, more time would not be enough.
    let short = Pace { period: minutes(25), ..pace() }.backlog(&cut_short()).unwrap();
    assert_eq!((short.lacks, short.runtime), (backlog.lacks, None));
    // Nor is it enough to poll all sites in more time than the period.
    let long = Pace { period: minutes(10), ..pace() }.backlog(&cut_short()).unwrap();
    assert_eq!((long.lacks, long.runtime), (Some(Lack::Workers(174)), None));
}

#[test]
fn what_a_run_lacks_depends_on_what_it_waited_for() {
    let lacks = |threads, ran: Ran| Pace { threads, ..pace() }.backlog(&ran).unwrap().lacks;
    let idle = || Ran { busy: minutes(20) * 31, ..cut_short() };
    assert_eq!(lacks(Threads::Fixed(64), idle()), Some(Lack::PollsPerHost));
    assert_eq!(lacks(Threads::Auto, idle()), Some(Lack::PollsPerHost));
    assert_eq!(lacks(Threads::Auto, cut_short()), Some(Lack::Machine));
    let many = Ran { polled: 10, left: 1200, ..cut_short() };
    assert_eq!(lacks(Threads::Fixed(64), many), Some(Lack::Machine), "more workers are not possible");
    let none = pace().backlog(&Ran { polled: 0, busy: Duration::ZERO, ..cut_short() }).unwrap();
    assert_eq!((none.due, none.lacks, none.runtime), (1200, None, None));
}

#[test]
fn a_run_is_behind_if_sites_are_a_period_late_and_runs_take_most_of_the_time() {
    let ran = |elapsed, p95| Ran {
        polled: 5000,
        left: 0,
        elapsed,
        busy: elapsed * 60,
        lateness_s: Some(Lateness { p50: 0, p95, max: p95 }),
        workers: 64,
    };
    let pace = |gap_s| Pace { max_runtime: None, gap_s, ..pace() };
    let backlog = pace(Some(5400)).backlog(&ran(minutes(90), 3600)).unwrap();
    assert_eq!((backlog.due, backlog.left, backlog.elapsed), (5000, 0, minutes(90)));
    assert_eq!((backlog.lacks, backlog.runtime), (Some(Lack::Workers(99)), None), "90 minutes in 60, and a tenth");
    assert_eq!(pace(Some(5400)).backlog(&ran(minutes(90), 3599)), None);
    assert!(pace(Some(10_800)).backlog(&ran(minutes(90), 3600)).is_some());
    assert_eq!(pace(Some(10_801)).backlog(&ran(minutes(90), 3600)), None, "cron starts it too rarely");
    assert_eq!(pace(None).backlog(&ran(minutes(90), 3600)), None);
}

#[test]
fn a_run_after_a_stop_may_be_late() {
    assert_eq!(Pace { is_after_stop: true, ..pace() }.backlog(&cut_short()), None);
    assert_eq!(pace().backlog(&Ran { left: 0, ..cut_short() }), None, "all were polled in the end");
}

#[test]
fn it_is_reported_when_it_begins_and_once_a_day() {
    let mut behind = Behind::default();
    let mut update = |now, kept_up| (behind.update(now, kept_up), behind.since);
    assert_eq!(update(1000, true), (false, None));
    assert_eq!(update(1300, false), (true, Some(1300)));
    assert_eq!(update(1600, false), (false, Some(1300)));
    assert_eq!(update(1900, true), (false, None));
    assert_eq!(update(2200, false), (false, Some(2200)), "it was reported today");
    assert_eq!(update(1300 + 86_399, false), (false, Some(2200)));
    assert_eq!(update(1300 + 86_400, false), (true, Some(2200)));
    assert_eq!(update(500, false), (true, Some(500)), "the clock was wrong");
    assert_eq!(behind.caught_up(), Behind { since: None, reported: Some(500) });
}
