//! What a run did, for people and for scripts.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::model::{AppId, FailureClass, JobName, Outcome, PollStatus};
use crate::store::RunRecord;

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
    /// The exit code of the signal that ended the run early, if one did.
    pub interrupted: Option<u8>,
}

impl Summary {
    /// Counts one poll that is charged. A failure that leaves the connection deferred is not.
    pub(crate) fn count(&mut self, outcome: &Outcome, next: &PollStatus) {
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

    /// The object that scripts get.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut json = Map::from_iter([("appId".into(), json!(self.app_id)), ("jobName".into(), json!(self.job))]);
        json.extend(run_json(&self.run));
        Value::Object(json)
    }
}

/// The figures of a run as scripts get them.
#[must_use]
pub fn run_json(run: &RunRecord) -> Map<String, Value> {
    let failures: Map<String, Value> = by_count(run).map(|(class, count)| (class.to_string(), json!(count))).collect();
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
        "outage": run.outage,
    });
    match figures {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Failures by class, the most frequent first.
pub(super) fn by_count(run: &RunRecord) -> impl Iterator<Item = (FailureClass, u64)> {
    let mut failures: Vec<_> = run.failures().collect();
    failures.sort_by_key(|(class, count)| (std::cmp::Reverse(*count), *class));
    failures.into_iter()
}

/// The figures of a run as a person reads them: `300 due, 300 polled, 280 ok, 20 failed (17 api, 3 timeout), 1.2 s`.
#[must_use]
pub fn run_text(run: &RunRecord) -> String {
    let classes: Vec<_> = by_count(run).map(|(class, count)| format!("{count} {class}")).collect();
    let classes = if classes.is_empty() { String::new() } else { format!(" ({})", classes.join(", ")) };
    let rare = [(run.deferred, "deferred"), (run.dropped, "dropped"), (run.given_up, "given up")];
    let rare = rare.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!(", {count} {what}"));
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let seconds = run.elapsed_ms as f64 / 1e3;
    format!(
        "{} due, {} polled, {} ok, {} failed{classes}{}, {seconds:.1} s",
        run.due,
        run.polled,
        run.ok,
        run.failed,
        rare.collect::<String>()
    )
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}: {}", self.app_id.short(), self.job, self.run.batch, run_text(&self.run))
    }
}
