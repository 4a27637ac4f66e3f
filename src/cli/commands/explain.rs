//! `cxnpoll explain`: why a connection is due or not.

mod actions;
mod recent;

use clap::Args;
use serde_json::{Value, json};

use crate::batch::Batch;
use crate::cli::context::{Context, ScheduleArgs};
use crate::cli::cxn_arg::CxnArg;
use crate::cli::error::{ALLOW_OWN_NETWORK, Result, argument};
use crate::cli::selection::last_outcome;
use crate::cli::ui::{outage, output, skipped_hosts, terminal, time, wrap};
use crate::cli::values;
use crate::exit;
use crate::model::{Cxn, FailureClass, JobName, PollStatus, UnixTime};
use crate::retry::{Policy, State, Times};
use crate::site::suggested_site_url;
use crate::store::{AdminEntry, DueEntry, HostHash, PollTask, RunRecord, SkippedHost};
use crate::util::text::{count, sanitize};
use recent::Recent;

/// Explain why a connection is due or not
///
/// Also shows when it is due next, and how its last polls ended. If it fails, it shows since when. From history it shows how
/// available it was in the last 30 days, with a mark for each day: the higher, the longer it was up. Where the locale or the
/// terminal has no Unicode, the marks are `#` (up all day), `+`, `-`, `.` and `_` (down all day). Of a day with `·` or `?`
/// nothing is known.
#[derive(Args)]
#[command(after_help = "Example:\n  cxnpoll explain cxn:0123456789abcdef0123456789abcdef")]
pub(in crate::cli) struct Explain {
    /// Connection
    #[arg(value_name = "CXN")]
    cxn: CxnArg,
    /// Job name
    #[arg(long, value_name = "J", default_value = "default", value_parser = values::job)]
    name: JobName,
    #[command(flatten)]
    schedule: ScheduleArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The facts to explain.
struct Case {
    cxn: Cxn,
    /// The hash of its host.
    host: HostHash,
    status: PollStatus,
    job: JobName,
    policy: Policy,
    /// What the last run of the job did; `None` if it never ran.
    last_run: Option<RunRecord>,
    /// The last actions of users on it, the oldest first.
    actions: Vec<AdminEntry>,
    /// What history shows; `None` if the job never ran.
    recent: Option<Recent>,
    now: UnixTime,
}

impl Explain {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let store = context.store()?;
        let (host, task, job) = self.cxn.load_with(&store, |session, key| {
            let job = session.job(key.app, &self.name)?;
            let entry = DueEntry { locator: key.locator, host: 0, due: 0, permille_late: 0 };
            let task = session.task(key.app, job.as_ref(), &entry)?;
            Ok(task.map(|task| (session.host_key().hash(&task.cxn.host()), task, job)))
        })?;
        let PollTask { cxn, status, .. } = task;
        let policy = self.schedule.policy(&context.config, &cxn.app_id, &self.name, job.as_ref())?;
        let now = self.schedule.clock.now(context);
        let recent = match &job {
            Some(job) => Recent::read(&store.history(), now, &cxn, (job, &policy, &status))?,
            None => None,
        };
        let last_run = job.and_then(|job| job.last_run);
        let actions = store.history().actions_on(&cxn.cxn_id, actions::MAX_ACTIONS)?;
        let case = Case { cxn, host, status, job: self.name, policy, last_run, actions, recent, now };
        if self.json {
            output::json(&case.json());
        } else {
            let width = terminal::width().unwrap_or(usize::MAX);
            case.sentences().iter().for_each(|sentence| wrap::print(sentence, width));
        }
        Ok(exit::OK)
    }
}

impl Case {
    fn state(&self) -> State {
        self.policy.state(&self.status, self.cxn.disabled, self.now)
    }

    /// When it is due next, or since when it is due. `None` is never.
    fn next_due(&self) -> Option<UnixTime> {
        self.policy.when_due(&self.status, self.cxn.disabled, self.now)
    }

    /// The last run of the job, if the connection was due in it and still is as it was before.
    fn run_that_left_it(&self) -> Option<&RunRecord> {
        let run = self.last_run.as_ref()?;
        let in_batch = || run.batch.parse::<Batch>().is_ok_and(|batch| batch.range().contains(&self.cxn.batch_code));
        let was_due = !self.cxn.disabled && self.policy.is_due(&self.status, run.now);
        (was_due && self.status.last_run < run.now && in_batch()).then_some(run)
    }

    /// The last run and the host of the connection, if the run did not try it for that host.
    fn skipped(&self) -> Option<(&RunRecord, &SkippedHost)> {
        let run = self.run_that_left_it()?;
        Some((run, run.skipped_hosts.iter().find(|host| host.names.contains(&self.host))?))
    }

    fn json(&self) -> Value {
        let status = &self.status;
        let attempts = status.attempts.iter();
        let mut json = json!({
            "cxnId": self.cxn.cxn_id,
            "appId": self.cxn.app_id,
            "jobName": self.job,
            "state": self.state(),
            "pollLevel": status.level,
            "pollCount": status.count,
            "lastRun": status.last_run,
            "nextDue": self.next_due(),
            "lastOutcome": last_outcome(status),
            "lastSuccess": status.last_success,
            "suggestedSiteUrl": self.moved_to(),
            "skipped": self.skipped().map(|(run, host)| {
                json!({"at": run.now, "address": host.address, "reason": host.reason.name()})
            }),
            "attempts": attempts.map(|a| json!({"at": a.at, "class": a.class_name(), "tookMs": a.duration_ms})).collect::<Value>(),
            "adminActions": actions::json(&self.actions),
        });
        for (key, value) in Recent::json(self.recent.as_ref()) {
            json[key] = value;
        }
        json
    }

    fn sentences(&self) -> Vec<String> {
        let (cxn, status) = (&self.cxn, &self.status);
        let mut sentences = vec![
            format!("{}: connection of {} to {}", cxn.cxn_id, cxn.app_id.short(), sanitize(&cxn.site_url.to_string())),
            format!("Job {}, retry expression {}", self.job, self.policy),
            self.state_sentence(),
        ];
        sentences.extend(self.recent.as_ref().and_then(|recent| recent.failing(self.now)));
        if let (Some(due), false) = (self.next_due(), status.is_new()) {
            let is_due = self.policy.is_due(status, self.now);
            sentences.push(format!("It is due {}{}.", if is_due { "now, since " } else { "at " }, self.when(due)));
        }
        if !status.is_new() {
            let took = duration(status.last_duration_ms()).map_or_else(String::new, |took| format!("; it took {took}"));
            sentences.push(format!("Last polled at {}{took}.", self.when(status.last_run)));
        }
        if self.policy.clock_was_wrong(status, self.now) {
            sentences.push("This is more than five minutes ahead: the clock was wrong.".to_owned());
        }
        if let Some(at) = status.last_success {
            sentences.push(format!("Last success at {}.", self.when(at)));
        }
        if let Some((at, failure)) = &status.last_failure {
            sentences.push(format!("Last failure at {}: {failure}.", self.when(*at)));
            if failure.class == FailureClass::Blocked {
                sentences.push(format!("Our network policy refused it; {ALLOW_OWN_NETWORK}."));
            }
        }
        sentences.extend(self.run_that_left_it().and_then(|run| {
            let outage = outage::of_run(run)?;
            Some(format!("The last run of the job, at {}, met {outage}. It left sites due.", self.when(run.now)))
        }));
        sentences.extend(self.skipped().map(|(run, host)| {
            let (at, reason) = (self.when(run.now), skipped_hosts::reason(host.reason));
            format!("Not tried in the last run, at {at}: its host {} {reason}.", host.address)
        }));
        sentences.extend(self.forecast());
        if let Some(url) = self.moved_to() {
            let id = argument(cxn.cxn_id.as_str());
            let command = match &cxn.via_port {
                None => format!("cxnpoll follow {id}"),
                Some(_) => format!("cxnpoll set {id} siteUrl=… viaPort=…"),
            };
            sentences.push(format!("The site seems to have moved to {url}. If so: {command}"));
        }
        sentences.extend(self.recent.iter().flat_map(Recent::availability));
        if !status.attempts.is_empty() {
            sentences.push("Last polls:".to_owned());
        }
        for attempt in status.attempts.iter().rev() {
            let took = duration(attempt.duration_ms).map_or_else(String::new, |took| format!("  {took}"));
            sentences.push(format!("  {}  {}{took}", time::utc(attempt.at), attempt.class_name()));
        }
        sentences.extend(actions::lines(&self.actions));
        sentences
    }

    /// `2026-01-31 12:00:00Z (in 20 min)`
    fn when(&self, at: UnixTime) -> String {
        format!("{} ({})", time::utc(at), time::relative(at, self.now))
    }

    fn state_sentence(&self) -> String {
        let status = &self.status;
        match self.state() {
            State::New => "New: never polled for this job, or revived since. It is due now.".to_owned(),
            State::Healthy => "Healthy: the last poll succeeded.".to_owned(),
            State::Retrying if status.deferrals > 0 && self.policy.clock_was_wrong(status, self.now) => {
                "No longer deferred: the clock was wrong when the site asked to wait.".to_owned()
            }
            State::Retrying if status.deferrals > 0 => {
                "No longer deferred: the time that the site asked for is over.".to_owned()
            }
            State::Retrying => self.failures(),
            State::GivenUp => {
                "Given up: not polled again, because it failed as often as the retry expression allows.".to_owned()
            }
            State::Disabled => "Disabled: not polled until it is enabled.".to_owned(),
            State::Deferred => {
                let until = status.not_before.map_or_else(|| "later".to_owned(), |at| self.when(at));
                format!("Deferred: the site asked not to be polled until {until}. This does not count as a failure.")
            }
        }
    }

    /// The failures that count at the current level: `Retrying: 3 of 6 failures at level 0 (every 20 min).`
    fn failures(&self) -> String {
        let Self { status, policy, .. } = self;
        let Some(level) = policy.levels().get(status.level as usize) else {
            return format!("Retrying: {} at level {}.", count(status.count.into(), "failure"), status.level);
        };
        let failures = match level.times {
            Times::Count(times) => format!("{} of {}", status.count, count(times.get().into(), "failure")),
            Times::Forever => count(status.count.into(), "failure"),
        };
        format!("Retrying: {failures} at level {} (every {}).", status.level, level.period)
    }

    /// When it is polled, and when it is given up, if every poll fails from now on.
    fn forecast(&self) -> Vec<String> {
        let status = &self.status;
        let Some(due) = self.next_due() else { return Vec::new() };
        let mut sentences = vec!["If every poll fails from now on:".to_owned()];
        let mut at = due.max(self.now);
        let mut failed = status.count;
        for (number, level) in (0..).zip(self.policy.levels()).skip(status.level as usize) {
            let times = match level.times {
                Times::Count(times) => Some(times.get().saturating_sub(failed).max(1)),
                Times::Forever => None,
            };
            let often = match times {
                None => "without end".to_owned(),
                Some(1) => "once".to_owned(),
                Some(times) => format!("{times} times"),
            };
            sentences.push(format!("  {}  every {}, {often} (level {number})", time::utc(at), level.period));
            let Some(times) = times else { return sentences };
            let last = level.period.after_times(at, times - 1);
            failed = 0;
            at = match self.policy.levels().get(number + 1) {
                Some(next) => next.period.after(last),
                None => last,
            };
        }
        sentences.push(format!("  {}  given up ({})", time::utc(at), time::relative(at, self.now)));
        sentences
    }

    /// The URL at which the site seems to be since the last poll; `None` if there is no other.
    fn moved_to(&self) -> Option<&str> {
        let status = &self.status;
        let (at, failure) = status.last_failure.as_ref()?;
        status.attempts.last().filter(|last| last.class.is_some() && last.at == *at)?;
        suggested_site_url(failure, &self.cxn.site_url)
    }
}

/// The text of a duration in milliseconds: `1.2 s`. `None` if it is 0, which means that it is not known.
fn duration(ms: u32) -> Option<String> {
    (ms > 0).then(|| format!("{:.1} s", f64::from(ms) / 1e3))
}

#[cfg(test)]
mod tests;
