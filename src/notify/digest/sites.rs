//! What the digest has to know of sites.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::model::{AppId, Condition, CxnId, JobName, UnixTime};
use crate::store::{CxnHash, Entry, Frame};

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
    /// What its last counted poll showed.
    pub(in crate::notify) condition: Condition,
    /// When it was polled last.
    pub(in crate::notify) last_run: UnixTime,
}

/// The sites that a digest needs to know, by job. Those that are gone or disabled are missing.
#[derive(Debug, Clone, Default)]
pub(in crate::notify) struct Sites(pub(in crate::notify) BTreeMap<JobId, HashMap<u64, Site>>);

impl Sites {
    pub(super) fn get(&self, job: &JobId, cxn: u64) -> Option<&Site> {
        self.0.get(job)?.get(&cxn)
    }

    /// Takes the changes back that history has in a frame, so that the sites are as they were before it.
    ///
    /// The frames come in order. `done` has the sites whose first change was taken back: that has what the store knew before.
    pub(in crate::notify) fn take_back(&mut self, frame: &Frame, done: &mut HashSet<(JobId, CxnHash)>) {
        let Some((id, sites)) = frame.job.as_ref().and_then(|id| Some((id, self.0.get_mut(id)?))) else { return };
        for event in frame.entries.iter().filter_map(Entry::transition) {
            if let Some(site) = sites.get_mut(&event.cxn.0)
                && done.insert((id.clone(), event.cxn))
            {
                site.condition = event.transition.from;
            }
        }
    }
}
