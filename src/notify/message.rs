//! A message, whose serialized form is the JSON that channels get.

use serde::{Deserialize, Serialize};

use crate::model::{AppId, CxnId, JobName, UnixTime};

/// How many hosts and how many sites a change lists at most.
pub(super) const MAX_LISTED: usize = 20;

/// What a channel delivers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Identifies the message. One that is sent again has the same.
    pub id: String,
    /// When the run began that made it, by the clock of the schedule, UTC seconds.
    pub at: UnixTime,
    /// The name of this machine.
    pub host: String,
    /// Whether it only shows that the channel works.
    pub test: bool,
    /// What changed since the last message.
    pub changes: Vec<Change>,
    /// The subject, for people.
    pub subject: String,
    /// The text, for people.
    pub text: String,
}

/// What a change is about. The order is that of the changes in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Runs ended for a fault of this machine, its network or its configuration.
    OwnOutage,
    /// A host does not answer, and its sites are left to later runs.
    HostDown,
    /// Sites are no longer polled, because they failed too often.
    GivenUp,
    /// Sites fail.
    Failing,
    /// Sites began to fail since the last message, and answer again.
    FailedMeanwhile,
    /// Sites that were failing at the last message answer again.
    Recovered,
    /// Runs followed sites to the targets of their permanent redirects.
    Moved,
    /// Runs cannot keep up.
    Late,
}

/// A change of sites or of the runs of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// What it is about.
    pub kind: Kind,
    /// The change in a few words, for people.
    pub headline: String,
    /// Whether an own outage or lateness has ended. `false` for all others.
    pub over: bool,
    /// The app.
    pub app_id: AppId,
    /// The job.
    pub job_name: JobName,
    /// How many sites it is about; 0 for an own outage and lateness.
    pub count: u64,
    /// The hosts of these sites, at most 20: addresses, or names without an address.
    pub hosts: Vec<String>,
    /// How many hosts these sites have. 0 in a message that a former build made.
    #[serde(default)]
    pub host_count: u64,
    /// The first of these sites, at most 20.
    pub sites: Vec<ChangedSite>,
    /// When the first of them changed, or the own outage or lateness began.
    pub since: UnixTime,
    /// The most frequent failure class, or the fault of an own outage; `None` if there is none.
    pub cause: Option<String>,
}

/// A site that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangedSite {
    /// The connection.
    pub cxn_id: CxnId,
    /// The URL of its API, without credentials and query.
    pub site_url: String,
    /// The URL that it had before it moved, without credentials and query; `None` if it did not.
    pub old_url: Option<String>,
    /// When a poll showed the change. Of a site that failed meanwhile, that is when it began to fail.
    pub at: UnixTime,
    /// The failure class; `None` if the site answers again, or if the class is not known.
    pub class: Option<String>,
}
