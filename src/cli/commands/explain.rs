//! `cxnpoll explain`: why a connection is due or not.

use clap::Args;
use serde_json::{Value, json};

use crate::cli::context::{Context, ScheduleArgs};
use crate::cli::cxn_arg::CxnArg;
use crate::cli::error::Result;
use crate::cli::ui::{outage, output, time};
use crate::cli::values;
use crate::exit;
use crate::model::{Cxn, JobName, PollStatus, UnixTime};
use crate::retry::{Policy, State, Times};
use crate::site::suggested_site_url;
use crate::store::{DueEntry, PollTask, RunRecord};
use crate::util::text::{count, sanitize};

/// Explain why a connection is due or not
///
/// Also shows when it is due next, and how its last polls ended.
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
    status: PollStatus,
    job: JobName,
    policy: Policy,
    /// What the last run of the job did; `None` if it never ran.
    last_run: Option<RunRecord>,
    now: UnixTime,
}

impl Explain {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let (task, job) = self.cxn.load_with(&context.store()?, |session, key| {
            let job = session.job(key.app, &self.name)?;
            let entry = DueEntry { locator: key.locator, host: 0, due: 0 };
            Ok(session.task(key.app, job.as_ref(), &entry)?.map(|task| (task, job)))
        })?;
        let PollTask { cxn, status, .. } = task;
        let policy = self.schedule.policy(job.as_ref())?;
        let (last_run, now) = (job.and_then(|job| job.last_run), self.schedule.clock.now(context));
        let case = Case { cxn, status, job: self.name, policy, last_run, now };
        if self.json {
            output::json(&case.json());
        } else {
            case.sentences().iter().for_each(|sentence| output::line(sentence));
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
        let due = self.policy.next_due_of_status(&self.status).filter(|_| !self.cxn.disabled)?;
        // After a wrong clock the connection is due now.
        Some(if self.policy.is_due(&self.status, self.now) { due.min(self.now) } else { due })
    }

    fn json(&self) -> Value {
        let status = &self.status;
        let last = status.attempts.last().map(|attempt| {
            let failure = status.last_failure.as_ref().filter(|(at, _)| attempt.class.is_some() && *at == attempt.at);
            json!({
                "at": attempt.at,
                "class": attempt.class_name(),
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
            "suggestedSiteUrl": self.moved_to(),
            "attempts": attempts.map(|a| json!({"at": a.at, "class": a.class_name(), "tookMs": a.duration_ms})).collect::<Value>(),
        })
    }

    fn sentences(&self) -> Vec<String> {
        let (cxn, status) = (&self.cxn, &self.status);
        let mut sentences = vec![
            format!("{}: connection of {} to {}", cxn.cxn_id, cxn.app_id.short(), sanitize(&cxn.site_url.to_string())),
            format!("Job {}, retry expression {}", self.job, self.policy),
            self.state_sentence(),
        ];
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
        }
        let run_and_due = self.last_run.as_ref().zip(self.next_due());
        sentences.extend(run_and_due.and_then(|(run, due)| {
            let outage = outage::that_left_due(run, status.last_run, due)?;
            Some(format!("The last run of the job, at {}, met {outage}. It left sites due.", self.when(run.now)))
        }));
        sentences.extend(self.forecast());
        if let Some(url) = self.moved_to() {
            // The suggestion has none, as they are not shown.
            let has_credentials = cxn.site_url.to_string() != cxn.site_url.with_credentials();
            let credentials = if has_credentials { " and the same user name and password" } else { "" };
            sentences.push(format!(
                "The site seems to have moved. If so, import the connection with \"siteUrl\": \"{url}\"{credentials}."
            ));
        }
        if !status.attempts.is_empty() {
            sentences.push("Last polls:".to_owned());
        }
        for attempt in status.attempts.iter().rev() {
            let took = duration(attempt.duration_ms).map_or_else(String::new, |took| format!("  {took}"));
            sentences.push(format!("  {}  {}{took}", time::utc(attempt.at), attempt.class_name()));
        }
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
mod tests {
    use super::*;
    use crate::model::{AppId, Attempt, BatchCode, Failure, FailureClass, Secret};

    const NOW: UnixTime = 1_769_860_800;
    const MINUTE: UnixTime = 60;

    fn case(status: PollStatus) -> Case {
        let cxn = Cxn {
            cxn_id: "cxn:1".parse().unwrap(),
            secret: Secret::from_bytes([0; 32]),
            app_id: AppId::from_argument("org.example.myapp").unwrap(),
            app_url: "https://example.org".into(),
            site_url: "https://site.example.org".into(),
            perm: Value::Null.into(),
            via_port: None,
            batch_code: BatchCode::MIN,
            disabled: false,
        };
        let policy = "20 min (x6); 1 hour (x24)".parse().unwrap();
        Case { cxn, status, job: JobName::default(), policy, last_run: None, now: NOW }
    }

    /// A connection that was polled ten minutes ago.
    fn polled() -> PollStatus {
        PollStatus { last_run: NOW - 10 * MINUTE, ..PollStatus::default() }
    }

    #[test]
    fn each_state_has_its_sentence() {
        let deferred = PollStatus { not_before: Some(NOW + MINUTE), deferrals: 1, ..polled() };
        for (status, sentence) in [
            (PollStatus::default(), "New: never polled for this job, or revived since. It is due now."),
            (polled(), "Healthy: the last poll succeeded."),
            (PollStatus { count: 3, ..polled() }, "Retrying: 3 of 6 failures at level 0 (every 20 min)."),
            (PollStatus { level: 1, ..polled() }, "Retrying: 0 of 24 failures at level 1 (every 1 hour)."),
            (PollStatus { deferrals: 1, ..polled() }, "No longer deferred: the time that the site asked for is over."),
            (
                PollStatus { level: 2, ..polled() },
                "Given up: not polled again, because it failed as often as the retry expression allows.",
            ),
            (
                deferred,
                "Deferred: the site asked not to be polled until 2026-01-31 12:01:00Z (in 1 min). \
                 This does not count as a failure.",
            ),
        ] {
            let case = case(status);
            assert_eq!(case.state_sentence(), sentence);
            assert!(case.sentences().iter().any(|line| line == sentence));
        }
        let mut disabled = case(polled());
        disabled.cxn.disabled = true;
        assert_eq!(disabled.state_sentence(), "Disabled: not polled until it is enabled.");
        assert_eq!(disabled.next_due(), None);
    }

    #[test]
    fn endless_levels_and_single_failures_read_well() {
        let mut case = case(PollStatus { count: 1, ..polled() });
        case.policy = "20 min (x*)".parse().unwrap();
        assert_eq!(case.state_sentence(), "Retrying: 1 failure at level 0 (every 20 min).");
        assert!(
            case.forecast().last().unwrap().ends_with("every 20 min, without end (level 0)"),
            "{:?}",
            case.forecast()
        );
        case.policy = "20 min (x1); 1 hour (x1)".parse().unwrap();
        case.status = PollStatus { level: 1, ..polled() };
        assert_eq!(case.state_sentence(), "Retrying: 0 of 1 failure at level 1 (every 1 hour).");
    }

    #[test]
    fn the_forecast_ends_when_the_site_is_given_up() {
        let forecast = case(PollStatus { count: 5, ..polled() }).forecast();
        assert_eq!(
            forecast,
            [
                "If every poll fails from now on:",
                "  2026-01-31 12:10:00Z  every 20 min, once (level 0)",
                "  2026-01-31 13:10:00Z  every 1 hour, 24 times (level 1)",
                "  2026-02-01 12:10:00Z  given up (in 1 d)",
            ]
        );
        assert!(case(PollStatus { level: 2, ..polled() }).forecast().is_empty());
    }

    #[test]
    fn a_due_connection_is_due_since_a_time_and_another_at_a_time() {
        let sentences = case(polled()).sentences();
        assert!(sentences.iter().any(|line| line == "It is due at 2026-01-31 12:10:00Z (in 10 min)."), "{sentences:?}");
        let sentences = case(PollStatus { last_run: NOW - 80 * MINUTE, ..polled() }).sentences();
        assert!(
            sentences.iter().any(|line| line == "It is due now, since 2026-01-31 11:00:00Z (1 h ago)."),
            "{sentences:?}"
        );
    }

    #[test]
    fn a_connection_is_due_after_a_wrong_clock() {
        let deferred = PollStatus {
            last_run: NOW + 6 * MINUTE,
            not_before: Some(NOW + 90 * MINUTE),
            deferrals: 1,
            ..PollStatus::default()
        };
        let case = case(deferred);
        assert_eq!((case.state(), case.next_due()), (State::Retrying, Some(NOW)));
        let sentences = case.sentences();
        for expected in [
            "No longer deferred: the clock was wrong when the site asked to wait.",
            "It is due now, since 2026-01-31 12:00:00Z (now).",
            "This is more than five minutes ahead: the clock was wrong.",
        ] {
            assert!(sentences.iter().any(|line| line == expected), "{sentences:?}");
        }
    }

    #[test]
    fn a_credible_new_address_is_suggested() {
        let message = "redirected (301 Moved Permanently) to https://www.site.example.org/";
        let mut status = polled();
        status.remember(NOW - 99, &Err(Failure::new(FailureClass::Redirect, message)));
        let mut case = case(status);
        let suggestion = "The site seems to have moved. If so, import the connection with \
                          \"siteUrl\": \"https://www.site.example.org/\"";
        assert!(case.sentences().contains(&format!("{suggestion}.")), "{:?}", case.sentences());
        assert_eq!(case.json()["suggestedSiteUrl"], "https://www.site.example.org/");
        case.cxn.site_url = "https://jo:sesame@site.example.org".into();
        assert!(case.sentences().contains(&format!("{suggestion} and the same user name and password.")));
        case.status.remember(NOW, &Ok(()));
        assert_eq!(case.json()["suggestedSiteUrl"], Value::Null);
    }

    #[test]
    fn only_a_failure_of_the_last_poll_explains_its_message() {
        let failure = Failure::new(FailureClass::Http, "status 500");
        let mut status = polled();
        status.last_failure = Some((NOW - 99, failure));
        status.attempts = vec![
            Attempt { at: NOW - 99, class: Some(FailureClass::Http), duration_ms: 0 },
            Attempt { at: NOW - 10, class: None, duration_ms: 0 },
        ];
        let json = case(status.clone()).json();
        assert_eq!(json["lastOutcome"], json!({"at": NOW - 10, "class": "ok", "message": null}));
        status.attempts.pop();
        let json = case(status).json();
        assert_eq!(json["lastOutcome"], json!({"at": NOW - 99, "class": "http", "message": "status 500"}));
    }
}
