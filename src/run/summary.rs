//! The figures of a run, as text and as JSON.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::exit;
use crate::model::{AppId, FailureClass, Fault, JobName, Outcome, PollStatus};
use crate::retry::Policy;
use crate::store::{PollTask, RunRecord, StatusUpdate};
use crate::util::text;
use crate::util::time::duration;

/// How many skipped hosts are listed in JSON, those with the most sites.
const MAX_LISTED_HOSTS: usize = 20;
/// The text has the lateness if the latest poll was at least so late, in seconds.
const SHOWN_LATENESS_S: u32 = 60;

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The app.
    pub app_id: AppId,
    /// The job.
    pub job: JobName,
    /// The figures.
    pub run: RunRecord,
    /// How long each poll took, in milliseconds.
    pub durations: Vec<u32>,
    /// How long after its due time each poll began, in seconds. New sites have no due time, and are left out.
    ///
    /// The due time of a poll that was brought forward is that to which it was.
    pub lateness_s: Vec<u32>,
    /// How many sites were polled at a time at most: the number of workers. 0 if none was started.
    pub threads: usize,
    /// The URLs of the first sites that it gave up, without credentials and query.
    pub given_up_sites: Vec<String>,
    /// The exit code of the signal that ended the run early; `None` if none did.
    pub interrupted: Option<u8>,
}

impl Summary {
    /// The summary of a run that has polled nothing yet.
    #[must_use]
    pub fn new(app_id: AppId, job: JobName, run: RunRecord) -> Self {
        let (durations, lateness_s, given_up_sites) = (Vec::new(), Vec::new(), Vec::new());
        Self { app_id, job, run, durations, lateness_s, threads: 0, given_up_sites, interrupted: None }
    }

    /// Adds how long after its due time a poll began; `began` is the time since the run did.
    pub(super) fn add_lateness(&mut self, task: &PollTask, began: Duration) {
        if !task.status.is_new() {
            let began = self.run.now.saturating_add_unsigned(began.as_secs());
            // A poll may begin early, and where the clock was wrong, its due time lies far ahead.
            let lateness = began.saturating_sub(task.due).max(0);
            self.lateness_s.push(u32::try_from(lateness).unwrap_or(u32::MAX));
        }
    }

    /// Counts the outcome of a poll, which leads to the status `next`. A deferral counts as deferred, not as failed.
    pub(super) fn count(&mut self, outcome: &Outcome, next: &PollStatus) {
        let run = &mut self.run;
        match outcome {
            Ok(()) => run.ok += 1,
            Err(_) if next.not_before.is_some() => run.deferred += 1,
            Err(failure) => {
                run.failed += 1;
                let class = failure.class as u8;
                match run.failures.iter_mut().find(|(known, _)| *known == class) {
                    Some((_, count)) => *count += 1,
                    None => run.failures.push((class, 1)),
                }
            }
        }
    }

    /// The exit code of the run.
    ///
    /// Failed sites are reported with `--strict` and where one connection is polled by hand. A poll by hand also reports a
    /// deferral, and a failure that is not counted.
    #[must_use]
    pub fn exit_code(&self, strict: bool, by_hand: bool) -> u8 {
        let run = &self.run;
        let failed = run.failed > 0 || (by_hand && run.ok == 0 && run.deferred + run.dropped > 0);
        match (self.interrupted, run.outage_cause) {
            (Some(code), _) => code,
            (None, Some(Fault::Listener | Fault::Distrusted)) => exit::CONFIG,
            (None, Some(_)) => exit::OWN_OUTAGE,
            (None, None) if (strict || by_hand) && failed => exit::SITE_FAILED,
            (None, None) => exit::OK,
        }
    }

    /// The JSON object for scripts.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut json = Map::from_iter([("appId".into(), json!(self.app_id)), ("jobName".into(), json!(self.job))]);
        json.extend(run_json(&self.run));
        json.insert("threads".into(), json!(self.threads));
        Value::Object(json)
    }
}

/// The figures of a run as JSON, for scripts.
#[must_use]
pub fn run_json(run: &RunRecord) -> Map<String, Value> {
    let failures: Map<String, Value> = by_count(run).map(|(class, count)| (class.to_string(), json!(count))).collect();
    let hosts = run.skipped_hosts_by_sites().into_iter().take(MAX_LISTED_HOSTS);
    let hosts = hosts.map(|host| json!({"address": host.address, "reason": host.reason.name(), "sites": host.sites}));
    let figures = json!({
        "batch": run.batch,
        "now": run.now,
        "due": run.due,
        "polled": run.polled,
        "ok": run.ok,
        "failed": run.failed,
        "deferred": run.deferred,
        "dropped": run.dropped,
        "failures": failures,
        "givenUp": run.given_up,
        "elapsedMs": run.elapsed_ms,
        "outage": run.is_own_fault(),
        "outageCause": run.outage_cause.map(Fault::name),
        "skipped": run.skipped,
        "skippedHosts": hosts.collect::<Value>(),
        "latenessS": run.lateness_s,
        "behindSince": run.behind_since,
    });
    match figures {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Counts the outcomes that a session recorded, and those that it dropped.
///
/// An outcome is dropped if its connection was changed meanwhile.
pub(super) fn count_recorded(run: &mut RunRecord, policy: &Policy, updates: &[StatusUpdate], recorded: &[bool]) {
    let is_given_up = |status: &PollStatus| policy.next_due(status.level, status.last_run).is_none();
    for (update, recorded) in updates.iter().zip(recorded) {
        if !recorded {
            run.dropped += 1;
        } else if is_given_up(&update.next) && !is_given_up(&update.expected) {
            run.given_up += 1;
        }
    }
}

/// Failures by class, the most frequent first.
pub(crate) fn by_count(run: &RunRecord) -> impl Iterator<Item = (FailureClass, u64)> {
    let mut failures: Vec<_> = run.failures().collect();
    failures.sort_by_key(|(class, count)| (std::cmp::Reverse(*count), *class));
    failures.into_iter()
}

/// The figures of a run as text: `300 due, 300 polled, 280 ok, 20 failed (17 api, 3 timeout), 1.2 s`.
///
/// The lateness follows if a poll was a minute late, since cron is no more exact.
#[must_use]
pub fn run_text(run: &RunRecord) -> String {
    let classes: Vec<_> = by_count(run).map(|(class, count)| format!("{count} {class}")).collect();
    let classes = if classes.is_empty() { String::new() } else { format!(" ({})", classes.join(", ")) };
    let rare =
        [(run.deferred, "deferred"), (run.dropped, "dropped"), (run.skipped, "skipped"), (run.given_up, "given up")];
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let seconds = run.elapsed_ms as f64 / 1e3;
    let lateness =
        run.lateness_s.filter(|lateness| lateness.max >= SHOWN_LATENESS_S).map_or_else(String::new, |lateness| {
            let [p50, p95, max] = [lateness.p50, lateness.p95, lateness.max].map(|seconds| duration(seconds.into()));
            format!(", lateness p50 {p50}, p95 {p95}, max {max}")
        });
    format!(
        "{} due, {} polled, {} ok, {} failed{classes}{}, {seconds:.1} s{lateness}",
        run.due,
        run.polled,
        run.ok,
        run.failed,
        text::counts_above_zero(&rare)
    )
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}: {}", self.app_id.short(), self.job, self.run.batch, run_text(&self.run))?;
        if self.threads > 0 { write!(f, ", {} at a time", self.threads) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Lateness;
    use crate::store::{SkipReason, SkippedHost};

    fn summary(run: RunRecord) -> Summary {
        Summary::new("app:org.example.myapp".parse().unwrap(), JobName::default(), run)
    }

    #[test]
    fn the_exit_code_reports_sites_only_where_that_is_asked_for() {
        let (ok, failed, dropped, deferred) = (
            RunRecord { ok: 3, dropped: 1, ..RunRecord::default() },
            RunRecord { failed: 1, ..RunRecord::default() },
            RunRecord { dropped: 1, ..RunRecord::default() },
            RunRecord { deferred: 1, ..RunRecord::default() },
        );
        for (run, strict, by_hand, expected) in [
            (&ok, true, true, exit::OK),
            (&failed, false, false, exit::OK),
            (&failed, true, false, exit::SITE_FAILED),
            (&failed, false, true, exit::SITE_FAILED),
            (&deferred, false, false, exit::OK),
            (&deferred, true, false, exit::OK),
            (&deferred, false, true, exit::SITE_FAILED),
            (&dropped, true, false, exit::OK),
            (&dropped, false, true, exit::SITE_FAILED),
        ] {
            assert_eq!(summary(run.clone()).exit_code(strict, by_hand), expected, "{run:?} {strict} {by_hand}");
            let outage = |fault| summary(RunRecord { outage_cause: Some(fault), ..run.clone() });
            assert_eq!(outage(Fault::Clock).exit_code(strict, by_hand), exit::OWN_OUTAGE);
            assert_eq!(outage(Fault::Listener).exit_code(strict, by_hand), exit::CONFIG);
            let interrupted = Summary { interrupted: Some(exit::SIGTERM), ..outage(Fault::Clock) };
            assert_eq!(interrupted.exit_code(strict, by_hand), exit::SIGTERM);
        }
    }

    #[test]
    fn a_poll_is_late_from_its_due_time_on() {
        let mut summary = summary(RunRecord { now: 1000, ..RunRecord::default() });
        let task = |last_run, due| {
            let task = crate::run::testdata::task(1, 1);
            PollTask { due, status: PollStatus { last_run, ..PollStatus::default() }, ..task }
        };
        let far_ahead = 1_000_000;
        for (last_run, due, began_s) in [(1, 900, 7), (1, 1020, 7), (1, 1020, 50), (1, far_ahead, 50), (0, 0, 7)] {
            summary.add_lateness(&task(last_run, due), Duration::from_secs(began_s));
        }
        assert_eq!(
            summary.lateness_s,
            [107, 0, 30, 0],
            "early, soon after that, of a wrong clock, and not the new one"
        );
    }

    #[test]
    fn the_text_has_lateness_that_cron_does_not_explain() {
        let text = |max| {
            let lateness_s = Some(Lateness { p50: 12, p95: 40, max });
            run_text(&RunRecord { due: 3, lateness_s, ..RunRecord::default() })
        };
        assert_eq!(text(59), "3 due, 0 polled, 0 ok, 0 failed, 0.0 s");
        assert_eq!(text(120), format!("{}, lateness p50 12 s, p95 40 s, max 2 min", text(59)));
    }

    #[test]
    fn hosts_with_the_most_skipped_sites_are_listed() {
        let host = |number: u8| SkippedHost {
            address: [203, 0, 113, number].into(),
            reason: SkipReason::AskedToWait,
            sites: number.into(),
            names: vec![7],
        };
        let run = RunRecord { skipped_hosts: (1..=30).map(host).collect(), ..RunRecord::default() };
        let listed = &run_json(&run)["skippedHosts"];
        assert_eq!(listed.as_array().map(Vec::len), Some(MAX_LISTED_HOSTS));
        assert_eq!(listed[0], json!({"address": "203.0.113.30", "reason": "asked-to-wait", "sites": 30}));
        assert_eq!(listed[19]["sites"], 11);
    }

    #[test]
    fn only_recorded_outcomes_give_sites_up() {
        let policy: Policy = "1 hour (x1)".parse().unwrap();
        let update = |expected: u32, next: u32| {
            let status = |level| PollStatus { level, last_run: 1, ..PollStatus::default() };
            let batch_code = crate::model::BatchCode::MIN;
            let locator = crate::store::CxnLocator { batch_code, seq: 7 };
            StatusUpdate { locator, expected: status(expected), next: status(next), transition: None, moved: None }
        };
        let mut run = RunRecord::default();
        let updates = [update(0, 1), update(0, 1), update(1, 2), update(0, 0)];
        count_recorded(&mut run, &policy, &updates, &[true, false, true, true]);
        assert_eq!((run.given_up, run.dropped), (1, 1));
    }
}
