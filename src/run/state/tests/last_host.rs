//! What happens when only the sites of one host are left.

use std::collections::HashMap;

use super::*;
use crate::model::UnixTime;
use crate::retry::Policy;
use crate::run::PollRun;
use crate::run::order::sort;
use crate::store::HostHash;

/// The period of level 0 in the policy of the fixture, and its `now`.
const HOUR: UnixTime = 3600;
const NOW: UnixTime = 10 * HOUR;

/// A run in which one connection of host 0 has been polled, and three wait.
///
/// They have been due since `due`. Another host had something due only if `had_others`. The slowest poll took `slowest`.
fn with_last_host(had_others: bool, due: UnixTime, slowest: Duration) -> Fixture {
    let tasks: Vec<_> = (0..4).map(|seq| PollTask { due, ..task(seq, 0) }).collect();
    let others = had_others.then(|| witness(9));
    let entries = others.iter().chain(&tasks).map(entry).collect();
    let mut run = Fixture::of(entries, tasks, |rules| rules.now = NOW);
    run.apply(Event::Tick);
    run.last_host = Some(LastHost { host: 0, due: Some(due), slowest, is_only: false });
    run.poll(1, &Ok(()));
    run
}

fn left(run: &Fixture) -> bool {
    run.log == ["3 and 0 left"]
}

#[test]
fn a_slow_host_is_left_to_the_next_run_if_others_were_due() {
    let run = with_last_host(true, NOW - HOUR + 1, secs(1));
    assert!(left(&run));
    let (record, error) = run.end();
    assert_eq!((record.polled, error.is_none()), (1, true));
    assert!(!left(&with_last_host(true, NOW, ms(999))), "it is not slow");
    assert!(!left(&with_last_host(false, NOW, secs(1))), "nothing else was due");
}

#[test]
fn polls_in_flight_are_waited_for_without_a_grace_period() {
    let mut run = with_last_host(true, NOW, ms(0));
    run.take(2);
    run.last_host.as_mut().unwrap().slowest = secs(1);
    run.wait(secs(1));
    assert_eq!(run.permits, Some(0));
    run.end_session(ms(4));
    run.wait(2 * SHUTDOWN_GRACE);
    assert!(run.log.is_empty() && run.finish.is_none());
    run.end_polls(secs(1), &Ok(()));
    assert_eq!(run.log, ["1 and 0 left"]);
    assert_eq!(run.end().0.ok, 3);
}

#[test]
fn a_host_that_is_a_period_late_is_polled_for_half_a_period() {
    let mut run = with_last_host(true, NOW - HOUR, secs(1));
    assert!(!left(&run));
    run.wait(ms(1_799_899));
    assert!(!left(&run));
    run.wait(ms(1));
    assert!(left(&run));
    // New sites have been due for ever, and are not late.
    assert!(left(&with_last_host(true, 0, secs(1))));
}

#[test]
fn a_run_with_one_host_ends_after_half_a_period() {
    let mut run = with_last_host(false, NOW, ms(0));
    run.wait(ms(1_799_899));
    assert!(!left(&run));
    run.wait(ms(1));
    assert!(left(&run));
}

#[test]
fn what_is_not_loaded_yet_counts() {
    let unloaded = 50;
    let tasks: Vec<_> = (0..INITIAL_LOAD as u64 + unloaded).map(|seq| PollTask { due: NOW, ..task(seq, 0) }).collect();
    let run = |last: PollTask| {
        let mut tasks = tasks.clone();
        *tasks.last_mut().unwrap() = last;
        let entries = [witness(9)].iter().chain(&tasks).map(entry).collect();
        tasks.truncate(INITIAL_LOAD);
        let mut run = Fixture::of(entries, tasks, |rules| rules.now = NOW);
        run.apply(Event::Tick);
        run.last_host = Some(LastHost { host: 0, due: Some(NOW), slowest: secs(1), is_only: false });
        run.wait(secs(1));
        run.log
    };
    assert_eq!(run(tasks[0].clone()), [format!("{INITIAL_LOAD} and {} left", unloaded + 1)]);
    assert!(run(PollTask { due: NOW, ..task(9, 9) }).is_empty(), "a site of another host is to be loaded");
}

#[test]
fn what_was_just_loaded_is_not_left() {
    let mut run = with_last_host(true, NOW, ms(0));
    run.state.rest = vec![entry(&witness(9))];
    run.wait(secs(1));
    run.last_host.as_mut().unwrap().slowest = secs(1);
    // The queue holds only slow sites of one host until the loaded one is in it.
    assert_eq!(run.session.as_ref().unwrap().load.len(), 1);
    run.apply(Event::Loaded(vec![witness(9)]));
    assert!(run.log.is_empty() && run.queue.iter().any(|task| task.host == 9), "{:?}", run.log);
}

/// Sites that cron polls every five minutes on simulated time, with 32 workers and four polls per host.
struct Fleet {
    policy: Policy,
    /// The sites by sequence number, with the duration of their polls.
    sites: Vec<(PollTask, Duration)>,
}

impl Fleet {
    const STEP: Duration = secs(5);

    /// The sites that are due, in the order in which they are polled.
    fn due(&self, now: UnixTime) -> (Vec<DueEntry>, Vec<PollTask>) {
        let sites = self.sites.iter().map(|(task, _)| task);
        let due = sites.filter(|task| self.policy.is_due(&task.status, now)).map(|task| {
            let due = self.policy.next_due_of_status(&task.status).unwrap();
            (task.locator.seq, PollTask { due, ..task.clone() })
        });
        let due: HashMap<u64, PollTask> = due.collect();
        let mut entries: Vec<_> = due.values().map(entry).collect();
        sort(&mut entries, 4, None);
        let tasks = entries.iter().map(|entry| due[&entry.locator.seq].clone()).collect();
        (entries, tasks)
    }

    /// Runs at `now`. Passes the sites that are polled to `polled`, and returns how many seconds the run takes.
    fn run(&mut self, now: UnixTime, mut polled: impl FnMut(&PollTask, UnixTime)) -> u64 {
        let (entries, tasks) = self.due(now);
        if entries.is_empty() {
            return 0;
        }
        let mut run = Fixture::of(entries, tasks, |rules| {
            (rules.now, rules.max_runtime) = (now, Some(PollRun::default_max_runtime(&self.policy)));
            rules.policy = self.policy.clone();
        });
        run.apply(Event::Tick);
        let mut in_flight: Vec<(PollTask, Duration)> = Vec::new();
        let mut slowest = Duration::ZERO;
        while run.finish.is_none() {
            let mut waiting = std::mem::take(&mut run.queue);
            waiting.retain(|task| {
                let on_host = in_flight.iter().filter(|(other, _)| other.host == task.host).count();
                let starts = on_host < 4 && in_flight.len() < 32;
                if starts {
                    polled(task, now + UnixTime::try_from(run.at.as_secs()).unwrap());
                    in_flight.push((task.clone(), run.at + self.duration(task)));
                }
                !starts
            });
            run.queue = waiting;
            run.at += Self::STEP;
            let ended: Vec<_> = in_flight.extract_if(.., |(_, ends)| *ends <= run.at).map(|(task, _)| task).collect();
            let tasks = || run.queue.iter().chain(in_flight.iter().map(|(task, _)| task));
            let is_last = tasks().all(|task| task.host == SLOW_HOST);
            slowest = ended.iter().map(|task| self.duration(task)).fold(slowest, Duration::max);
            let due = run.queue.front().map(|task| task.due);
            run.last_host = is_last.then_some(LastHost { host: SLOW_HOST, due, slowest, is_only: false });
            let results = ended.into_iter().map(|task| result(task, run.at, run.at, Ok(Ok(()))));
            run.apply(Event::PollsEnded(results.collect()));
            if let Some(work) = run.session.take() {
                let recorded = Ok(Some((vec![true; work.updates.len()], ms(4))));
                self.record(&work.updates);
                let results_error = None;
                run.report(SessionReport { updates: work.updates, results: Vec::new(), recorded, results_error });
            }
        }
        self.record(&run.finish.as_ref().unwrap().work.updates);
        run.at.as_secs()
    }

    fn duration(&self, task: &PollTask) -> Duration {
        self.sites[usize::try_from(task.locator.seq).unwrap()].1
    }

    fn record(&mut self, updates: &[StatusUpdate]) {
        for update in updates {
            self.sites[usize::try_from(update.locator.seq).unwrap()].0.status = update.next.clone();
        }
    }
}

const SLOW_HOST: HostHash = u64::MAX;

#[test]
fn a_thousand_sites_of_a_slow_host_delay_no_other_site_by_more_than_a_period() {
    const TICK: UnixTime = 300;
    const PERIOD: UnixTime = 20 * 60;
    let slow = (0..1000).map(|seq| (task(seq, SLOW_HOST), secs(55)));
    let quick = (1000..1020).map(|seq| (task(seq, seq), secs(1)));
    let policy = "20 min (x6); 1 hour (x24)".parse().unwrap();
    let mut fleet = Fleet { policy, sites: slow.chain(quick).collect() };
    let (mut now, mut delay, mut polls) = (1_767_225_600, 0, HashMap::<u64, u32>::new());
    let end = now + 24 * HOUR;
    while now < end {
        let took = fleet.run(now, |task, at| {
            *polls.entry(task.locator.seq).or_default() += 1;
            if task.host != SLOW_HOST && !task.status.is_new() {
                delay = delay.max(at - task.due);
            }
        });
        // Cron starts a run at every tick, and it declines while another one is active.
        now += TICK * UnixTime::try_from(took / 300 + 1).unwrap();
    }
    assert!(delay <= PERIOD, "a site was {delay} s late");
    assert!((0..1020).all(|seq| polls[&seq] >= 1), "no site starves");
    assert!((1000..1020).all(|seq| polls[&seq] >= 36), "{polls:?}");
}
