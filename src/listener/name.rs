//! The names of events.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::model::{AppId, JobName};

/// When an event is fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before the first poll of a run.
    PrePoll,
    /// At each visit to a site.
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
}

/// An event by its name: that of one job by the formula of the specification, `app:org.example.myapp:job=default:poll`,
/// or the general one, `civi_cxn.poll`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct EventName {
    /// The job; `None` is every job of every app.
    pub(crate) job: Option<(AppId, JobName)>,
    pub(crate) phase: Phase,
}

const GENERAL: &str = "civi_cxn.";

impl FromStr for EventName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: String| {
            format!(
                "{why} in the event '{text}'; expected app:org.example.myapp:job=default:poll or civi_cxn.poll, or one \
                     of these with pre-poll or post-poll"
            )
        };
        let phase_of = |name: &str| Phase::ALL.into_iter().find(|phase| phase.name() == name);
        if let Some(name) = text.strip_prefix(GENERAL) {
            let phase = phase_of(name).ok_or_else(|| wrong(format!("unknown name '{name}'")))?;
            return Ok(Self { job: None, phase });
        }
        let parts = text.rsplit_once(':').and_then(|(job, name)| Some((job.split_once(":job=")?, name)));
        let ((app, job), name) = parts.ok_or_else(|| wrong("no ':job='".to_owned()))?;
        let phase = phase_of(name).ok_or_else(|| wrong(format!("unknown name '{name}'")))?;
        let app = app.parse().map_err(|error| wrong(format!("{error}")))?;
        let job = job.parse().map_err(|error| wrong(format!("{error}")))?;
        Ok(Self { job: Some((app, job)), phase })
    }
}

impl TryFrom<String> for EventName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.job {
            Some((app, job)) => write!(f, "{app}:job={job}:{}", self.phase.name()),
            None => write!(f, "{GENERAL}{}", self.phase.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for name in [
            "app:org.civicrm.myapp:job=default:poll",
            "app:org.civicrm.myapp:job=sync-x:pre-poll",
            "civi_cxn.poll",
            "civi_cxn.pre-poll",
            "civi_cxn.post-poll",
        ] {
            assert_eq!(name.parse::<EventName>().unwrap().to_string(), name);
        }
        for bad in ["", "civi_cxn.pol", "app:org.civicrm.myapp:poll", "org.x:job=default:poll", "app:a:job=x:polled"] {
            assert!(bad.parse::<EventName>().unwrap_err().contains("expected"), "{bad}");
        }
    }
}
