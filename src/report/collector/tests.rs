//! Timelines through the code that polls and records, and what a report makes of them.

use std::fs;
use std::sync::Arc;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::model::{BatchCode, Failure, FailureClass, Outcome, Secret, Transition};
use crate::report::{Cell, Incident, SiteReport, Times};
use crate::store::{AdminEntry, Entry, Frame, RunOutage, Store};

/// The start of the timelines: 2026-01-01.
const START: UnixTime = 1_767_225_600;
const HOUR: UnixTime = 3600;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    timeline: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Case {
    name: String,
    retry: String,
    began: String,
    window: String,
    events: Vec<String>,
    up: String,
    down: String,
    unknown: String,
    incidents: Vec<String>,
    nightly: Option<Nightly>,
}

/// What another job of the app did, in the same window.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nightly {
    polls: Vec<String>,
    up: String,
    down: String,
    unknown: String,
    incidents: Vec<String>,
}

impl Default for Case {
    fn default() -> Self {
        let [zero, window] = ["0:00", "0:00 10:00"].map(str::to_owned);
        Self {
            name: String::new(),
            retry: "1 hour (x3)".to_owned(),
            began: zero.clone(),
            window,
            events: Vec::new(),
            up: zero.clone(),
            down: zero.clone(),
            unknown: zero,
            incidents: Vec::new(),
            nightly: None,
        }
    }
}

/// A site that is polled.
struct PolledSite {
    /// The jobs with their expressions and statuses; events are about the first.
    jobs: Vec<(Job, Policy, PollStatus)>,
    cxn: Cxn,
    frames: Vec<Frame>,
    exported: PollStatus,
}

impl PolledSite {
    fn new(retry: &str) -> Self {
        let cxn = Cxn {
            cxn_id: "cxn:1".parse().unwrap(),
            secret: Secret::from_bytes([0; 32]),
            app_id: "app:org.example.myapp".parse().unwrap(),
            app_url: "https://app.example.org/".into(),
            site_url: "https://a.example.org/".into(),
            perm: Arc::default(),
            via_port: None,
            batch_code: BatchCode::MIN,
            disabled: false,
        };
        let mut site = Self { jobs: Vec::new(), cxn, frames: Vec::new(), exported: PollStatus::default() };
        site.add_job("default", retry);
        site
    }

    fn add_job(&mut self, name: &str, retry: &str) {
        let mut job = Job::unknown(1, 1, name.parse().unwrap());
        job.retry = Some(retry.to_owned());
        self.jobs.push((job, retry.parse().unwrap(), PollStatus::default()));
    }

    /// Polls, and stores the outcome in history and the store, or only in one of them.
    fn poll(&mut self, of_job: usize, at: UnixTime, outcome: &Outcome, in_history: bool, in_store: bool) {
        let (job, policy, status) = &mut self.jobs[of_job];
        let mut next = status.clone();
        policy.apply(&mut next, at, outcome);
        let outages: Vec<_> = RunOutage::times_for(&job.outages, self.cxn.batch_code).collect();
        let transition = policy.transition(status, &next, &outages).filter(|_| in_history);
        if in_store {
            *status = next;
        }
        self.add(of_job, at, transition);
    }

    fn add(&mut self, of_job: usize, at: UnixTime, transition: Option<Transition>) {
        let job = Some((self.cxn.app_id.clone(), self.jobs[of_job].0.name.clone()));
        let cxn = CxnHash::from(&self.cxn.cxn_id);
        let entry = transition.map(|transition| Entry::Transition(SiteTransition { cxn, host: None, transition }));
        self.frames.push(Frame { at, job, entries: entry.into_iter().collect() });
    }

    /// Removes the connection: notes its statuses and the action in history, and clears the statuses.
    fn remove(&mut self, at: UnixTime, has_losses: bool, in_store: bool) {
        for number in (0..self.jobs.len()).filter(|_| has_losses) {
            let (job, _, status) = &self.jobs[number];
            self.add(number, at, job.loss(self.cxn.batch_code, status, at));
        }
        let (user, action) = ("root".to_owned(), "remove".to_owned());
        let cxns = vec![self.cxn.cxn_id.to_string()];
        let entry = Entry::Admin(AdminEntry { at, user, action, cxns, detail: String::new() });
        self.frames.push(Frame { at, job: None, entries: vec![entry] });
        for (.., status) in self.jobs.iter_mut().filter(|_| in_store) {
            *status = PollStatus::default();
        }
    }

    fn event(&mut self, at: UnixTime, what: &str) {
        let (how, outcome) = what.split_once('-').unwrap_or(("", what));
        let (job, _, status) = &mut self.jobs[0];
        match what {
            "outage" => job.outages.push(RunOutage { at, first: 0, last: 10_000 }),
            "outage-elsewhere" => job.outages.push(RunOutage { at, first: 5_000, last: 10_000 }),
            "revived" => status.revive(),
            "removed" | "killed-removed" => self.remove(at, true, how != "killed"),
            "formerly-removed" => self.remove(at, false, true),
            "exported" => self.exported = status.clone(),
            "imported" => {
                let (_, policy, status) = &mut self.jobs[0];
                let transition = policy.transition(status, &self.exported, &[]);
                status.clone_from(&self.exported);
                self.add(0, at, transition);
            }
            _ => self.poll(0, at, &outcome_of(outcome), how != "lost", how != "killed"),
        }
    }

    /// What a report says of the sites, from frames that were written to a store.
    fn report(&self, store: &Store, began: UnixTime, from: UnixTime, to: UnixTime) -> Vec<SiteReport> {
        let history = store.history();
        let _ = fs::remove_dir_all(history.dir());
        let write = |session: &crate::store::WriteSession| {
            history.begin(session, began)?;
            let frames = self.frames.iter().filter(|frame| frame.at >= began);
            frames.cloned().try_for_each(|frame| history.append(session, frame))
        };
        store.write(write).unwrap();
        let collector = Collector::new(&history, from, to, false).unwrap();
        let ledger = self.add_to(collector).read(&history).unwrap();
        let mut report = ledger.report(1);
        ledger.add_strips(&mut report, &history).unwrap();
        for SiteReport { times, strip, .. } in report.worst_sites {
            let shows = |wanted| strip.cells().any(|cell| cell == wanted);
            assert_eq!(shows(Cell::Down), times.down_s > 0);
            assert!(times.up_s > 0 || !shows(Cell::Up));
        }
        ledger.sites().collect()
    }

    /// Adds the site and its jobs to a report.
    fn add_to(&self, mut collector: Collector) -> Collector {
        let add = |(job, policy, status): &'_ (Job, Policy, PollStatus)| {
            (collector.add_job(self.cxn.app_id.clone(), job, policy.clone()), status.clone())
        };
        let jobs: Vec<_> = self.jobs.iter().map(add).collect();
        collector.add(&self.cxn, jobs.iter().map(|(job, status)| (*job, status)));
        collector
    }
}

fn outcome_of(name: &str) -> Outcome {
    match name {
        "ok" => Ok(()),
        "deferred" => Err(Failure { retry_after: Some(60), ..Failure::new(FailureClass::Http, "status 503") }),
        class => Err(Failure::new(FailureClass::from_name(class).expect(class), "")),
    }
}

/// Parses hours and minutes.
fn time(text: &str) -> UnixTime {
    let (hours, minutes) = text.split_once(':').expect(text);
    START + hours.parse::<i64>().unwrap() * HOUR + minutes.parse::<i64>().unwrap() * 60
}

fn text(at: UnixTime) -> String {
    format!("{}:{:02}", (at - START) / HOUR, (at - START) % HOUR / 60)
}

/// The times of an event, and what it is.
fn event(text: &str) -> (Vec<UnixTime>, &str) {
    let (times, what) = text.split_once(' ').expect(text);
    let Some((first, rest)) = times.split_once("..") else { return (vec![time(times)], what) };
    let (last, step) = rest.split_once('/').expect(text);
    let step = usize::try_from(time(step) - START).unwrap();
    ((time(first)..=time(last)).step_by(step).collect(), what)
}

fn incidents(report: &SiteReport) -> Vec<String> {
    let incident = |incident: &Incident| {
        let to = incident.to.map_or_else(|| "-".to_owned(), text);
        format!("{} {to} {}", text(incident.from), incident.class.map_or("?", FailureClass::name))
    };
    report.incidents.iter().map(incident).collect()
}

#[test]
fn availability_is_that_worked_out_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(dir.path(), std::time::Duration::from_secs(30)).unwrap();
    let file: File = toml::from_str(include_str!("../../../fixtures/availability.toml")).unwrap();
    assert!(file.timeline.len() >= 50);
    let mut wrong = Vec::new();
    for case in &file.timeline {
        let mut site = PolledSite::new(&case.retry);
        if let Some(nightly) = &case.nightly {
            site.add_job("nightly", "1 day (x*)");
            nightly.polls.iter().for_each(|text| {
                let (at, what) = text.split_once(' ').unwrap();
                site.poll(1, time(at), &outcome_of(what), true, true);
            });
        }
        for (times, what) in case.events.iter().map(|text| event(text)) {
            for at in times {
                site.event(at, what);
            }
        }
        let (from, to) = case.window.split_once(' ').unwrap();
        let hours = |seconds: u64| text(START + i64::try_from(seconds).unwrap());
        let found = |report: &SiteReport| {
            let times = &report.times;
            ([times.up_s, times.down_s, times.unknown_s].map(hours), incidents(report))
        };
        let mut expected = vec![([&case.up, &case.down, &case.unknown].map(Clone::clone), case.incidents.clone())];
        if let Some(Nightly { up, down, unknown, incidents, .. }) = &case.nightly {
            expected.push(([up, down, unknown].map(Clone::clone), incidents.clone()));
        }
        // What a removal adds beside the transitions changes nothing, unless there are none.
        let only_actions = case.events.iter().any(|event| event.ends_with("formerly-removed"));
        for with_actions in [true, false].into_iter().filter(|with_actions| *with_actions || !only_actions) {
            site.frames.retain(|frame| with_actions || frame.job.is_some());
            let reports = site.report(&store, time(&case.began), time(from), time(to));
            let found: Vec<_> = reports.iter().map(found).collect();
            if found != expected {
                wrong.push(format!("{} ({with_actions}):\n  {found:?}\n  expected {expected:?}", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A site that was polled at some minutes, and the own outages.
#[derive(Debug)]
struct Log {
    /// The minutes, in order, and whether the poll succeeded.
    polls: Vec<(i64, bool)>,
    outages: Vec<i64>,
}

impl Log {
    /// Whether the site was up in a minute; `None` if that is unknown.
    fn is_up(&self, minute: i64) -> Option<bool> {
        let (polled, is_up) = *self.polls.iter().rev().find(|(at, _)| *at <= minute)?;
        let next = self.polls.iter().map(|(at, _)| *at).find(|at| *at > minute);
        let is_out = self.outages.iter().any(|at| polled <= *at && *at <= minute);
        let is_gap = match next {
            Some(next) => next - polled > 180 && minute >= polled + 60,
            None => minute >= polled + 180,
        };
        (!is_out && !is_gap).then_some(is_up)
    }
}

fn any_log() -> impl Strategy<Value = Log> {
    let poll = (1..240_i64, any::<bool>());
    (prop::collection::vec(poll, 0..30), prop::collection::vec(0..2000_i64, 0..4)).prop_map(|(steps, outages)| {
        let mut at = 0;
        let polls = steps.into_iter().map(|(step, is_up)| {
            at += step;
            (at, is_up)
        });
        Log { polls: polls.collect(), outages }
    })
}

proptest! {
    #[test]
    fn availability_is_that_of_each_minute(log in any_log(), from in 0..1500_i64, length in 0..1500_i64) {
        let mut site = PolledSite::new("1 hour (x*)");
        let at = |minute: i64| START + minute * 60;
        site.jobs[0].0.outages = log.outages.iter().map(|minute| RunOutage { at: at(*minute), first: 0, last: 10_000 }).collect();
        for (minute, is_up) in &log.polls {
            site.poll(0, at(*minute), &outcome_of(if *is_up { "ok" } else { "timeout" }), true, true);
        }
        let to = from + length;
        let mut collector = site.add_to(Collector::with_began(Some(START), at(from), at(to), false));
        collector.begin();
        let mut event = |key, event: SiteEvent| collector.event(key, &event);
        site.frames.iter().for_each(|frame| events::of_frame(frame, Some(0), 1, &mut event));
        let ledger = collector.finish();
        let minutes = |wanted| (from..to).filter(|minute| log.is_up(*minute) == wanted).count() as u64 * 60;
        let times = ledger.sites().next().unwrap().times;
        prop_assert_eq!(times.up_s, minutes(Some(true)));
        prop_assert_eq!(times.down_s, minutes(Some(false)));
        prop_assert_eq!(times.unknown_s, minutes(None));

        let mut expected = Vec::new();
        let mut open = None;
        for (minute, is_up) in log.polls.iter().copied().filter(|(minute, _)| *minute <= to) {
            match (open, is_up) {
                (None, false) => open = Some(minute),
                (Some(begin), true) => {
                    expected.extend((minute > from).then_some((at(begin), Some(at(minute)))));
                    open = None;
                }
                _ => {}
            }
        }
        expected.extend(open.map(|begin| (at(begin), None)));
        let site = ledger.sites().next().unwrap();
        let found: Vec<_> = site.incidents.iter().map(|incident| (incident.from, incident.to)).collect();
        prop_assert_eq!(found, expected);
        let jobs = ledger.jobs();
        let mut sums = Times::default();
        jobs[0].slices.iter().for_each(|slice| sums += slice.times);
        prop_assert_eq!((sums, jobs[0].times), (times, times));
    }
}
