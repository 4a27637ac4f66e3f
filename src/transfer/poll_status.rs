//! The poll status of a connection for one job, as JSON.

use serde::{Deserialize, Serialize};

use super::error::Problem;
use crate::model::{Attempt, Failure, FailureClass, PollStatus, Schedule, UnixTime};
use crate::util::time::MAX_UNIX_TIME;

/// The highest level of a poll status that is imported, far above the levels of any retry expression.
pub const MAX_POLL_LEVEL: u32 = 1_000_000;

/// A poll status as a JSON object. Keys after the first three are left out where they have their default.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a JSON object")]
pub struct StatusEntry {
    poll_level: u32,
    poll_count: u32,
    last_run: UnixTime,
    #[serde(default, skip_serializing_if = "is_zero")]
    early_s: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before: Option<UnixTime>,
    #[serde(default, skip_serializing_if = "is_zero")]
    deferrals: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_success: Option<UnixTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_failure: Option<FailureEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attempts: Vec<AttemptEntry>,
    #[serde(rename = "tookMs", default, skip_serializing_if = "is_zero")]
    last_duration_ms: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_poll: Option<ScheduleEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ScheduleEntry {
    poll_level: u32,
    poll_count: u32,
    last_run: UnixTime,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FailureEntry {
    at: UnixTime,
    class: String,
    message: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AttemptEntry {
    at: UnixTime,
    class: String,
    /// That of the last attempt is [`StatusEntry::last_duration_ms`].
    #[serde(rename = "tookMs", default, skip_serializing_if = "is_zero")]
    duration_ms: u32,
}

fn is_zero<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}

impl From<&PollStatus> for StatusEntry {
    fn from(status: &PollStatus) -> Self {
        let attempt = |attempt: &Attempt| AttemptEntry {
            at: attempt.at,
            class: attempt.class_name().to_owned(),
            duration_ms: attempt.duration_ms,
        };
        let mut attempts: Vec<_> = status.attempts.iter().map(attempt).collect();
        let last_duration_ms = attempts.last_mut().map_or(0, |last| std::mem::take(&mut last.duration_ms));
        Self {
            poll_level: status.level,
            poll_count: status.count,
            last_run: status.last_run,
            early_s: status.early_s,
            not_before: status.not_before,
            deferrals: status.deferrals,
            last_success: status.last_success,
            last_failure: status.last_failure.as_ref().map(|(at, failure)| FailureEntry {
                at: *at,
                class: failure.class.to_string(),
                message: failure.message.clone(),
            }),
            attempts,
            last_duration_ms,
            last_poll: status.last_poll.map(|Schedule { level, count, last_run }| ScheduleEntry {
                poll_level: level,
                poll_count: count,
                last_run,
            }),
        }
    }
}

impl StatusEntry {
    /// Checks the entry and returns the poll status. Of the attempts, the newest [`PollStatus::ATTEMPTS`] are kept.
    ///
    /// # Errors
    /// Fails if a level, a time or a failure class cannot be stored.
    pub fn into_status(self) -> Result<PollStatus, Problem> {
        let class = |name: &str| FailureClass::from_name(name).ok_or(Problem::UnknownFailureClass);
        if self.poll_level.max(self.last_poll.as_ref().map_or(0, |polled| polled.poll_level)) > MAX_POLL_LEVEL {
            return Err(Problem::LevelTooHigh);
        }
        let polled = self.last_poll.as_ref().map(|polled| polled.last_run);
        let times = [Some(self.last_run), self.not_before, self.last_success, polled];
        if times.into_iter().flatten().any(|at| !(0..=MAX_UNIX_TIME).contains(&at)) {
            return Err(Problem::TimeOutOfRange);
        }
        let skipped = self.attempts.len().saturating_sub(PollStatus::ATTEMPTS);
        let attempt = |attempt: AttemptEntry| {
            let class = if attempt.class == Attempt::OK { None } else { Some(class(&attempt.class)?) };
            Ok(Attempt { at: attempt.at, class, duration_ms: attempt.duration_ms })
        };
        let mut attempts = self.attempts.into_iter().skip(skipped).map(attempt).collect::<Result<Vec<_>, Problem>>()?;
        if let Some(last) = attempts.last_mut().filter(|_| self.last_duration_ms > 0) {
            last.duration_ms = self.last_duration_ms;
        }
        let mut status = PollStatus {
            // A line has none, as it has no network.
            redirect: None,
            level: self.poll_level,
            count: self.poll_count,
            last_run: self.last_run,
            // A new connection has no period.
            early_s: if self.last_run == 0 { 0 } else { self.early_s },
            not_before: self.not_before,
            deferrals: self.deferrals,
            last_success: self.last_success,
            // The hash of one store means nothing in another.
            network: None,
            last_poll: None,
            attempts,
            last_failure: match self.last_failure {
                Some(failure) => Some((failure.at, Failure::new(class(&failure.class)?, failure.message))),
                None => None,
            },
        };
        if let Some(ScheduleEntry { poll_level: level, poll_count: count, last_run }) = self.last_poll {
            status.keep_last_poll(Schedule { level, count, last_run });
        }
        Ok(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: serde_json::Value) -> Result<PollStatus, Problem> {
        serde_json::from_value::<StatusEntry>(value).unwrap().into_status()
    }

    #[test]
    fn only_the_newest_attempts_are_kept() {
        let attempts: Vec<_> = (0..12).map(|at| json!({"at": at, "class": "timeout"})).collect();
        let status = parse(json!({"pollLevel": 0, "pollCount": 0, "lastRun": 0, "attempts": attempts})).unwrap();
        let times: Vec<_> = status.attempts.iter().map(|attempt| attempt.at).collect();
        assert_eq!(times, (2..12).collect::<Vec<_>>());
    }

    #[test]
    fn durations_read_back() {
        let attempts = json!([{"at": 1, "class": "ok", "tookMs": 7}, {"at": 2, "class": "dns"}]);
        let entry = json!({"pollLevel": 0, "pollCount": 1, "lastRun": 2, "attempts": attempts, "tookMs": 9});
        let status = parse(entry.clone()).unwrap();
        assert_eq!(status.attempts.iter().map(|attempt| attempt.duration_ms).collect::<Vec<_>>(), [7, 9]);
        assert_eq!(serde_json::to_value(StatusEntry::from(&status)).unwrap(), entry);
    }

    #[test]
    fn seconds_early_read_back_and_mean_nothing_for_a_new_connection() {
        for (last_run, early_s, expected) in [(0, 600, 0), (1, 600, 600), (1_767_225_600, u32::MAX, u32::MAX)] {
            let entry = json!({"pollLevel": 0, "pollCount": 0, "lastRun": last_run, "earlyS": early_s});
            let status = parse(entry).unwrap();
            assert_eq!(status.early_s, expected);
            let written = serde_json::to_value(StatusEntry::from(&status)).unwrap();
            assert_eq!(written.get("earlyS"), (expected > 0).then(|| json!(expected)).as_ref());
        }
        for wrong in [json!(-1), json!(1_u64 << 32), json!(0.5), json!("1")] {
            let entry = json!({"pollLevel": 0, "pollCount": 0, "lastRun": 9, "earlyS": wrong});
            assert!(serde_json::from_value::<StatusEntry>(entry).is_err());
        }
    }

    #[test]
    fn what_the_last_poll_led_to_reads_back_unless_it_is_of_no_use() {
        let status = |last_run: i64, polled: i64| {
            let polled = json!({"pollLevel": 2, "pollCount": 1, "lastRun": polled});
            json!({"pollLevel": 0, "pollCount": 0, "lastRun": last_run, "lastPoll": polled})
        };
        for last_run in [0, 8, 9] {
            let revived = parse(status(last_run, 9)).unwrap();
            assert_eq!(revived.last_poll, Some(Schedule { level: 2, count: 1, last_run: 9 }));
            assert_eq!(serde_json::to_value(StatusEntry::from(&revived)).unwrap(), status(last_run, 9));
        }
        for (last_run, polled) in [(10, 9), (0, 0)] {
            assert_eq!(parse(status(last_run, polled)).unwrap().last_poll, None);
        }
        assert_eq!(parse(status(0, -1)), Err(Problem::TimeOutOfRange));
        let mut high = status(0, 9);
        high["lastPoll"]["pollLevel"] = json!(MAX_POLL_LEVEL + 1);
        assert_eq!(parse(high), Err(Problem::LevelTooHigh));
    }

    #[test]
    fn limits_are_inclusive() {
        let status = |level: u32, last_run: i64| json!({"pollLevel": level, "pollCount": 0, "lastRun": last_run});
        assert!(parse(status(MAX_POLL_LEVEL, MAX_UNIX_TIME)).is_ok());
        assert_eq!(parse(status(MAX_POLL_LEVEL + 1, 0)), Err(Problem::LevelTooHigh));
        assert_eq!(parse(status(0, MAX_UNIX_TIME + 1)), Err(Problem::TimeOutOfRange));
        assert_eq!(parse(status(0, -1)), Err(Problem::TimeOutOfRange));
    }
}
