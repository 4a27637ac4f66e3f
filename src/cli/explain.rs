//! `cxnpoll explain`: why a connection is due or not.

use clap::Args;
use serde_json::{Value, json};

use super::{Context, Judge, output};
use crate::error::{Error, Kind, Result};
use crate::exit;
use crate::model::{Cxn, FailureClass, JobName, PollStatus, UnixTime, safe_text};
use crate::retry::{Policy, State, Times};
use crate::site::moved_to;

/// Tell why a connection is due or not, when it will be, and how its last polls went
#[derive(Args)]
#[command(after_help = "Example:\n  cxnpoll explain cxn:0123456789abcdef0123456789abcdef")]
pub(super) struct Explain {
    /// The connection
    #[arg(value_name = "CXN")]
    cxn: String,
    /// The job's name
    #[arg(long, value_name = "J", default_value = "default", value_parser = super::job)]
    name: JobName,
    #[command(flatten)]
    judge: Judge,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is explained.
struct Case {
    cxn: Cxn,
    status: PollStatus,
    job: JobName,
    policy: Policy,
    now: UnixTime,
}

impl Explain {
    pub(super) fn run(self, context: &Context) -> Result<u8> {
        let (cxn, status, policy) = context.store()?.session(|session| {
            let key = Context::find(session, &self.cxn)?;
            let job = session.job(key.app, &self.name)?;
            let missing = || Error::new(Kind::NotFound, format!("there is no connection {}", self.cxn));
            let cxn = session.cxn(key)?.ok_or_else(missing)?;
            let status = job.as_ref().map(|job| session.status(job.no, key.place)).transpose()?.flatten();
            Ok((cxn, status.unwrap_or_default(), self.judge.policy(job.as_ref())?))
        })?;
        let case = Case { cxn, status, job: self.name, policy, now: self.judge.now(context) };
        if self.json {
            output::json(&case.json())?;
        } else {
            case.sentences().iter().try_for_each(|sentence| output::line(sentence))?;
        }
        Ok(exit::OK)
    }
}

impl Case {
    fn state(&self) -> State {
        self.policy.state(&self.status, self.cxn.disabled, self.now)
    }

    /// When it is due next; for what is due already, since when. `None` is never.
    fn next_due(&self) -> Option<UnixTime> {
        let due = self.policy.next_due_of_status(&self.status).filter(|_| !self.cxn.disabled)?;
        // After a clock that was wrong, what lies in the future is due now.
        Some(if self.policy.is_due(&self.status, self.now) { due.min(self.now) } else { due })
    }

    fn json(&self) -> Value {
        let status = &self.status;
        let class = |class: Option<FailureClass>| class.map_or("ok", FailureClass::name);
        let last = status.attempts.last().map(|attempt| {
            let failure = status.last_failure.as_ref().filter(|(at, _)| attempt.class.is_some() && *at == attempt.at);
            json!({
                "at": attempt.at,
                "class": class(attempt.class),
                "message": failure.map(|(_, failure)| &failure.message),
            })
        });
        let attempts = status.attempts.iter();
        json!({
            "cxnId": self.cxn.cxn_id,
            "appId": self.cxn.app_id,
            "jobName": self.job,
            "state": self.state(),
            "pollLevel": status.level,
            "pollCount": status.count,
            "lastRun": status.last_run,
            "nextDue": self.next_due(),
            "lastOutcome": last,
            "lastSuccess": status.last_success,
            "attempts": attempts.map(|a| json!({"at": a.at, "class": class(a.class)})).collect::<Value>(),
        })
    }

    fn sentences(&self) -> Vec<String> {
        let (cxn, status, now) = (&self.cxn, &self.status, self.now);
        let when = |moment| format!("{} ({})", output::time(moment), output::relative(moment, now));
        let mut said = vec![
            format!("{}, a connection of {} to {}", cxn.cxn_id, cxn.app_id.short(), safe_text(&cxn.site_url)),
            format!("Job {}, retry expression {}", self.job, self.policy),
        ];
        said.push(match self.state() {
            State::New => "It was never polled for this job, or was revived since: it is due now.".to_owned(),
            State::Healthy => "It is healthy: its last poll was a success.".to_owned(),
            State::Retrying => self.retrying(),
            State::GivenUp => {
                "It is given up: it failed as often as the expression allows, and is not polled any more.".to_owned()
            }
            State::Disabled => "It is disabled: it is not polled.".to_owned(),
            State::Deferred => {
                let until = status.not_before.map_or_else(|| "a while".to_owned(), when);
                format!(
                    "It is deferred: the site asked to be left alone until {until}. That is not charged as a failure."
                )
            }
        });
        if let (Some(due), false) = (self.next_due(), status.is_new()) {
            let is_due = self.policy.is_due(status, now);
            said.push(format!("It is due {}{}.", if is_due { "now, since " } else { "at " }, when(due)));
        }
        if !status.is_new() {
            let took = match status.took_ms {
                0 => String::new(),
                ms => format!("; it took {:.1} s", f64::from(ms) / 1e3),
            };
            said.push(format!("Last polled at {}{took}.", when(status.last_run)));
        }
        if let Some(at) = status.last_success {
            said.push(format!("Last success at {}.", when(at)));
        }
        if let Some((at, failure)) = &status.last_failure {
            said.push(format!("Last failure at {}: {failure}.", when(*at)));
        }
        said.extend(self.what_comes_next());
        if let Some(place) = self.moved_to() {
            said.push(format!("It seems to have moved: if that is so, import it with \"siteUrl\": \"{place}\"."));
        }
        if !status.attempts.is_empty() {
            said.push("Its last polls:".to_owned());
        }
        for attempt in status.attempts.iter().rev() {
            let class = attempt.class.map_or("ok", FailureClass::name);
            said.push(format!("  {}  {class}", output::time(attempt.at)));
        }
        said
    }

    /// What comes next if it fails from now on: when it is polled how often, and when it is given up.
    fn what_comes_next(&self) -> Vec<String> {
        let status = &self.status;
        let Some(due) = self.next_due() else { return Vec::new() };
        let mut said = vec!["If every poll fails from now on:".to_owned()];
        let mut at = due.max(self.now);
        let mut failed = status.count;
        for (number, level) in (0..).zip(self.policy.levels()).skip(status.level as usize) {
            let times = match level.times {
                Times::Count(times) => times.get().saturating_sub(failed).max(1),
                Times::Forever => 0,
            };
            let often = match times {
                0 => "for ever".to_owned(),
                1 => "once".to_owned(),
                times => format!("{times} times"),
            };
            said.push(format!("  {}  every {}, {often} (level {number})", output::time(at), level.period));
            if times == 0 {
                return said;
            }
            let last = level.period.after_times(at, times - 1);
            failed = 0;
            at = match self.policy.levels().get(number + 1) {
                Some(next) => next.period.after(last),
                None => last,
            };
        }
        said.push(format!("  {}  given up ({})", output::time(at), output::relative(at, self.now)));
        said
    }

    /// Where it seems to have moved to, by its last poll.
    fn moved_to(&self) -> Option<&str> {
        let status = &self.status;
        let (at, failure) = status.last_failure.as_ref()?;
        status.attempts.last().filter(|last| last.class.is_some() && last.at == *at)?;
        moved_to(failure)
    }

    /// `It fails: 3 of 6 times at level 0 (every 20 min).`
    fn retrying(&self) -> String {
        let status = &self.status;
        if status.deferrals > 0 {
            return "The site asked to be left alone for a while, and that is over.".to_owned();
        }
        let level = self.policy.levels().get(status.level as usize);
        let (period, times) = level.map_or_else(
            || ("?".to_owned(), String::new()),
            |level| {
                let of = match level.times {
                    Times::Count(times) => format!(" of {times}"),
                    Times::Forever => String::new(),
                };
                (level.period.to_string(), of)
            },
        );
        format!("It fails: {}{times} times at level {} (every {period}).", status.count, status.level)
    }
}
