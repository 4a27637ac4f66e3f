//! Retry expressions: how often a site is polled, also after failures, and when it is given up.
//!
//! Durations elsewhere have the same units.
//!
//! All functions are pure. The current time is passed in.
//!
//! ```
//! use cxnpoll::retry::Policy;
//!
//! let policy: Policy = "20 min (x6); 1 hour (x24); 1 day (x30)".parse()?;
//! assert_eq!(policy.next(0, 5, false), (1, 0));
//! assert_eq!(policy.next_due(1, 1_767_225_600), Some(1_767_225_600 + 3_600));
//! # Ok::<(), cxnpoll::retry::InvalidRetry>(())
//! ```

mod due;
pub mod duration;
mod parse;
mod period;
mod policy;
mod state;
mod timeline;
mod transition;

pub use due::{MAX_LEEWAY_S, NEW_PERMILLE_LATE, ScanBounds};
pub use parse::InvalidRetry;
pub use period::{Period, Unit};
pub use policy::{Level, Policy, Times};
pub use state::State;
pub use timeline::{Step, Timeline, warnings};
pub use transition::{MAX_GAP_PERIODS, last_polled};

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::model::{Failure, FailureClass, PollStatus, UnixTime};

    /// Recordings of what the PHP program does.
    #[derive(Deserialize)]
    struct Reference {
        timelines: Vec<Recorded>,
        /// Expressions, with the times and seconds of each of their levels.
        good: Vec<(String, Vec<(u32, i64)>)>,
        bad: Vec<String>,
    }

    /// The polls of a connection by a run every `step` seconds, `ticks` times from `start`.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Recorded {
        retry: String,
        periods: Vec<i64>,
        start: UnixTime,
        step: i64,
        ticks: i64,
        polls: Vec<Poll>,
        gave_up: bool,
    }

    /// A recording ends with this many polls. Its `ticks` count one tick more, at which the site may be due.
    const MAX_POLLS: usize = 40;

    #[derive(Deserialize)]
    struct Poll {
        at: UnixTime,
        ok: bool,
        level: u32,
        count: u32,
    }

    fn reference() -> Reference {
        serde_json::from_str(include_str!("../../fixtures/reference-cases.json")).unwrap()
    }

    fn periods(policy: &Policy) -> Vec<i64> {
        policy.levels().iter().map(|level| level.period.mean_seconds()).collect()
    }

    #[test]
    fn reference_timelines() {
        for recorded in reference().timelines {
            let policy: Policy = recorded.retry.parse().unwrap();
            assert_eq!(periods(&policy), recorded.periods);

            let mut polls = recorded.polls.iter();
            let mut status = PollStatus::default();
            for now in (0..recorded.ticks).map(|tick| recorded.start + tick * recorded.step) {
                if recorded.polls.len() == MAX_POLLS && polls.len() == 0 {
                    break;
                }
                if policy.is_due(&status, now) {
                    let poll = polls.next().expect("no poll was recorded");
                    let outcome = if poll.ok { Ok(()) } else { Err(Failure::new(FailureClass::Http, "status 500")) };
                    policy.apply(&mut status, now, &outcome);
                    assert_eq!(
                        (now, status.level, status.count),
                        (poll.at, poll.level, poll.count),
                        "{}",
                        recorded.retry
                    );
                }
            }
            assert_eq!(polls.count(), 0, "{}: polls that did not happen", recorded.retry);
            let gave_up = policy.state(&status, false, status.last_run) == State::GivenUp;
            assert_eq!(gave_up, recorded.gave_up, "{}", recorded.retry);
        }
    }

    #[test]
    fn reference_expressions() {
        for (text, levels) in reference().good {
            let policy: Policy = text.parse().unwrap();
            let (times, seconds): (Vec<_>, Vec<_>) = levels.into_iter().unzip();
            let policy_times: Vec<_> = policy.levels().iter().map(|level| level.times.to_string()).collect();
            assert_eq!(policy_times, times.iter().map(|times| format!("x{times}")).collect::<Vec<_>>(), "{text:?}");
            assert_eq!(periods(&policy), seconds, "{text:?}");
        }
        for text in reference().bad {
            let error = text.parse::<Policy>().unwrap_err();
            assert!(text.get(error.span).is_some(), "{text:?}");
        }
    }
}
