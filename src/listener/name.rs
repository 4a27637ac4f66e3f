//! The names of events.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::model::{AppId, InvalidId, JobName};

/// When an event is emitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before the first poll of a run.
    PrePoll,
    /// At each poll of a site.
    Poll,
    /// After the last poll of a run.
    PostPoll,
}

impl Phase {
    const ALL: [Self; 3] = [Self::PrePoll, Self::Poll, Self::PostPoll];

    fn name(self) -> &'static str {
        match self {
            Self::PrePoll => "pre-poll",
            Self::Poll => "poll",
            Self::PostPoll => "post-poll",
        }
    }

    fn from_name(name: &str) -> Result<Self, Problem> {
        let phase = Self::ALL.into_iter().find(|phase| phase.name() == name);
        phase.ok_or_else(|| Problem::UnknownPhase(name.to_owned()))
    }
}

/// The name of an event, of one job or of all.
///
/// That of one job follows the specification, `app:org.example.myapp:job=default:poll`; the general one is
/// `civi_cxn.poll`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct EventName {
    /// The job; `None` is every job of every app.
    pub job: Option<(AppId, JobName)>,
    /// When the event is emitted.
    pub phase: Phase,
}

/// Text that is not the name of an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{problem} in the event '{text}'; expected app:org.example.myapp:job=default:poll or civi_cxn.poll, or one of \
     these with pre-poll or post-poll"
)]
pub struct InvalidEventName {
    text: String,
    problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("no ':job='")]
    NoJob,
    #[error("unknown name '{0}'")]
    UnknownPhase(String),
    #[error("{0}")]
    Id(#[from] InvalidId),
}

const GENERAL_PREFIX: &str = "civi_cxn.";

impl EventName {
    fn parse(text: &str) -> Result<Self, Problem> {
        if let Some(name) = text.strip_prefix(GENERAL_PREFIX) {
            return Ok(Self { job: None, phase: Phase::from_name(name)? });
        }
        let parts = text.rsplit_once(':').and_then(|(job, name)| Some((job.split_once(":job=")?, name)));
        let ((app, job), name) = parts.ok_or(Problem::NoJob)?;
        let phase = Phase::from_name(name)?;
        Ok(Self { job: Some((app.parse()?, job.parse()?)), phase })
    }
}

impl FromStr for EventName {
    type Err = InvalidEventName;

    fn from_str(text: &str) -> Result<Self, InvalidEventName> {
        Self::parse(text).map_err(|problem| InvalidEventName { text: text.to_owned(), problem })
    }
}

impl TryFrom<String> for EventName {
    type Error = InvalidEventName;

    fn try_from(text: String) -> Result<Self, InvalidEventName> {
        text.parse()
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.job {
            Some((app, job)) => write!(f, "{app}:job={}:{}", job.as_str(), self.phase.name()),
            None => write!(f, "{GENERAL_PREFIX}{}", self.phase.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_name_is_read_back() {
        for name in [
            "app:org.civicrm.myapp:job=default:poll",
            "app:org.civicrm.myapp:job=sync-x:pre-poll",
            "civi_cxn.poll",
            "civi_cxn.pre-poll",
            "civi_cxn.post-poll",
        ] {
            assert_eq!(name.parse::<EventName>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn the_error_names_what_is_wrong_and_what_is_expected() {
        for (bad, problem) in [
            ("", "no ':job=' in the event ''"),
            ("civi_cxn.pol", "unknown name 'pol' in the event 'civi_cxn.pol'"),
            ("app:org.civicrm.myapp:poll", "no ':job=' in the event 'app:org.civicrm.myapp:poll'"),
            ("org.x:job=default:poll", "appId does not begin with 'app:' in the event 'org.x:job=default:poll'"),
            ("app:a:job=:poll", "job name is empty in the event 'app:a:job=:poll'"),
            ("app:a:job=x:polled", "unknown name 'polled' in the event 'app:a:job=x:polled'"),
        ] {
            let error = bad.parse::<EventName>().unwrap_err().to_string();
            assert_eq!(error.split_once("; expected ").map(|(problem, _)| problem), Some(problem));
        }
    }
}
