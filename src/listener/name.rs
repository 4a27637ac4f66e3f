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
    /// Before a site is connected, or gets new details.
    Register,
    /// After a site was disconnected by itself.
    Unregister,
}

impl Phase {
    const ALL: [Self; 5] = [Self::PrePoll, Self::Poll, Self::PostPoll, Self::Register, Self::Unregister];

    /// Whether the event is one of an app, and of no job.
    #[must_use]
    pub fn is_registration(self) -> bool {
        matches!(self, Self::Register | Self::Unregister)
    }

    fn name(self) -> &'static str {
        match self {
            Self::PrePoll => "pre-poll",
            Self::Poll => "poll",
            Self::PostPoll => "post-poll",
            Self::Register => "register",
            Self::Unregister => "unregister",
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
/// `civi_cxn.poll`. A registration has no job: `app:org.example.myapp:register`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct EventName {
    /// The app; `None` is every job of every app.
    pub app: Option<AppId>,
    /// The job; `None` without an app, and for a registration.
    pub job: Option<JobName>,
    /// When the event is emitted.
    pub phase: Phase,
}

/// Text that is not the name of an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{problem} in the event '{text}'; expected app:org.example.myapp:job=default:poll or civi_cxn.poll, one of these with \
     pre-poll or post-poll, or app:org.example.myapp:register or civi_cxn.register, also with unregister"
)]
pub struct InvalidEventName {
    text: String,
    problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("no ':job='")]
    NoJob,
    #[error("a registration has no job: ':job='")]
    UnneededJob,
    #[error("unknown name '{0}'")]
    UnknownPhase(String),
    #[error("{0}")]
    Id(#[from] InvalidId),
}

const GENERAL_PREFIX: &str = "civi_cxn.";

impl EventName {
    fn parse(text: &str) -> Result<Self, Problem> {
        if let Some(name) = text.strip_prefix(GENERAL_PREFIX) {
            return Ok(Self { app: None, job: None, phase: Phase::from_name(name)? });
        }
        let (of, name) = text.rsplit_once(':').ok_or(Problem::NoJob)?;
        let phase = Phase::from_name(name)?;
        let (app, job) = match (of.split_once(":job="), phase.is_registration()) {
            (Some((app, job)), false) => (app, Some(job.parse()?)),
            (None, true) => (of, None),
            (None, false) => return Err(Problem::NoJob),
            (Some(_), true) => return Err(Problem::UnneededJob),
        };
        Ok(Self { app: Some(app.parse()?), job, phase })
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
        let name = self.phase.name();
        match (&self.app, &self.job) {
            (Some(app), Some(job)) => write!(f, "{app}:job={}:{name}", job.as_str()),
            (Some(app), None) => write!(f, "{app}:{name}"),
            (None, _) => write!(f, "{GENERAL_PREFIX}{name}"),
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
            "app:org.civicrm.myapp:register",
            "civi_cxn.unregister",
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
            ("app:a:job=x:register", "a registration has no job: ':job=' in the event 'app:a:job=x:register'"),
            ("a:register", "appId does not begin with 'app:' in the event 'a:register'"),
            ("org.x:job=default:poll", "appId does not begin with 'app:' in the event 'org.x:job=default:poll'"),
            ("app:a:job=:poll", "job name is empty in the event 'app:a:job=:poll'"),
            ("app:a:job=x:polled", "unknown name 'polled' in the event 'app:a:job=x:polled'"),
        ] {
            let error = bad.parse::<EventName>().unwrap_err().to_string();
            assert_eq!(error.split_once("; expected ").map(|(problem, _)| problem), Some(problem));
        }
    }
}
