//! What an import changes in history.

use std::collections::BTreeMap;

use super::diff::{Diff, StatusDiff, Stored, diff, is_taken};
use super::patch::CxnPatch;
use super::resolve::{Resolved, jobs_of, resolve};
use crate::model::{AppId, Condition, JobName, PollStatus, Transition, UnixTime};
use crate::retry::{Policy, last_polled};
use crate::store::engine::TX_BATCH;
use crate::store::error::{Result, if_readable};
use crate::store::history::{CxnHash, Entry, Frame, History, SiteTransition};
use crate::store::schema::{Job, ReadSession, WriteSession};

impl WriteSession {
    /// Adds to history which conditions an [`upsert`](WriteSession::upsert) of the same patches changes.
    ///
    /// A status that an import brings is the outcome of a poll at its lastRun. `now` is the time of the import.
    ///
    /// # Errors
    /// [`Error::File`](crate::store::Error::File), [`Error::Database`](crate::store::Error::Database). A connection of which
    /// something cannot be read is left out.
    pub fn note_upsert(&self, history: &History, patches: &[CxnPatch], force: bool, now: UnixTime) -> Result<()> {
        let mut of_jobs: BTreeMap<(AppId, JobName), Vec<Entry>> = BTreeMap::new();
        for batch in patches.chunks(TX_BATCH) {
            let session: &ReadSession = self;
            let jobs = jobs_of(session, batch)?;
            for patch in batch.iter().filter(|patch| !patch.poll_status.is_empty()) {
                let read = || {
                    let incoming = resolve(session, patch, &jobs)?;
                    let stored = Stored::read(&session.trees, &incoming)?;
                    Ok(changes(&diff(stored, &incoming, force), &incoming, force))
                };
                for (job, transition) in if_readable(read())?.unwrap_or_default() {
                    let entry = SiteTransition { cxn: CxnHash::from(&patch.cxn_id), host: None, transition };
                    of_jobs.entry((patch.app_id.clone(), job)).or_default().push(Entry::Transition(entry));
                }
            }
        }
        of_jobs
            .into_iter()
            .try_for_each(|(job, entries)| history.append(self, Frame { at: now, job: Some(job), entries }))
    }
}

/// The transitions of the statuses that a patch adds or replaces.
fn changes(diff: &Diff, incoming: &Resolved, force: bool) -> Vec<(JobName, Transition)> {
    let of_job = |job: &Job| {
        let after = incoming.status(job)?;
        let (before, outages) = match diff {
            Diff::Keep => return None,
            Diff::Add { .. } => (PollStatus::default(), Vec::new()),
            Diff::Update { locator, statuses, .. } => {
                let StatusDiff { old, .. } = statuses.iter().find(|status| status.job == job.no)?;
                let outages = job.outages.iter().filter(|outage| outage.covers(locator.batch_code));
                let before = is_taken(old.as_ref(), after, force).then(|| old.clone().unwrap_or_default())?;
                (before, outages.map(|outage| outage.at).collect())
            }
        };
        let policy = job.last_policy().unwrap_or_default();
        Some((job.name.clone(), change(&policy, &before, after, &outages)?))
    };
    incoming.jobs.iter().filter_map(of_job).collect()
}

/// The transition from a status to an imported one; `None` if nothing changed.
fn change(policy: &Policy, before: &PollStatus, after: &PollStatus, outages: &[UnixTime]) -> Option<Transition> {
    if policy.condition(after) == Condition::New {
        return None;
    }
    // The site may have asked to wait since.
    let counted = after.attempts.len().saturating_sub(after.deferrals.into());
    let after = PollStatus { deferrals: 0, attempts: after.attempts[..counted].to_vec(), ..after.clone() };
    let transition = policy.transition(before, &after, outages)?;
    // With `--force`, an older status replaces a newer one. What was known until then stays.
    Some(Transition { at: last_polled(before).map_or(transition.at, |polled| transition.at.max(polled)), ..transition })
}
