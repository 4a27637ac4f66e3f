//! What the digest has to know of sites.

use std::collections::{BTreeMap, HashMap};

use crate::model::{AppId, CxnId, JobName, UnixTime};

/// An app and one of its jobs.
pub(in crate::notify) type JobId = (AppId, JobName);

/// A connection that is polled, as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::notify) struct Site {
    pub(in crate::notify) cxn_id: CxnId,
    /// The URL of its API, without credentials and query.
    pub(in crate::notify) url: String,
    /// The name of its host, made safe to show.
    pub(in crate::notify) host: String,
    /// Whether its last poll failed.
    pub(in crate::notify) is_down: bool,
    /// When it was polled last.
    pub(in crate::notify) last_run: UnixTime,
}

/// The sites that [`Tracker::digest`] needs to know, by job. Those that are gone or disabled are missing.
#[derive(Debug, Clone, Default)]
pub(in crate::notify) struct Sites(pub(in crate::notify) BTreeMap<JobId, HashMap<u64, Site>>);

impl Sites {
    pub(super) fn get(&self, job: &JobId, cxn: u64) -> Option<&Site> {
        self.0.get(job)?.get(&cxn)
    }
}
