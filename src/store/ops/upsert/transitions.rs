//! What an import changes in history.

use std::collections::BTreeMap;

use super::diff::{Diff, StatusDiff, Stored, diff, is_taken};
use super::patch::CxnPatch;
use super::resolve::{Resolved, jobs_of, resolve};
use crate::model::{AppId, Condition, JobName, PollStatus, Transition, UnixTime};
use crate::retry::Policy;
use crate::store::engine::TX_BATCH;
use crate::store::error::{Result, if_readable};
use crate::store::history::{CxnHash, Entry, Frame, History, SiteTransition};
use crate::store::schema::{Job, ReadSession, RunOutage, WriteSession};

impl WriteSession {
    /// Adds to history which conditions an [`upsert`](WriteSession::upsert) of the same patches changes.
    ///
    /// A status that an import brings is the outcome of a poll at its lastRun, or that of no poll. `now` is the time of the
    /// import.
    ///
    /// # Errors
    /// [`Error::File`](crate::store::Error::File), [`Error::Database`](crate::store::Error::Database). A connection of which
    /// something cannot be read is left out.
    pub fn note_upsert(&self, history: &History, patches: &[CxnPatch], force: bool, now: UnixTime) -> Result<()> {
        let mut of_jobs: BTreeMap<(AppId, JobName), Vec<Entry>> = BTreeMap::new();
        let mut losses = Vec::new();
        for batch in patches.chunks(TX_BATCH) {
            let session: &ReadSession = self;
            let jobs = jobs_of(session, batch)?;
            for patch in batch.iter().filter(|patch| !patch.poll_status.is_empty()) {
                let read = || {
                    let incoming = resolve(session, patch, &jobs)?;
                    let stored = Stored::read(&session.trees, &incoming)?;
                    Ok(changes(&diff(stored, &incoming, force), &incoming, force, now))
                };
                for (job, transition) in if_readable(read())?.unwrap_or_default() {
                    let entry = SiteTransition { cxn: CxnHash::from(&patch.cxn_id), host: None, transition };
                    let job = (patch.app_id.clone(), job);
                    if transition.to == Condition::New {
                        losses.push((job, entry));
                    } else {
                        of_jobs.entry(job).or_default().push(Entry::Transition(entry));
                    }
                }
            }
        }
        let frame = |(job, entries)| Frame { at: now, job: Some(job), entries };
        history.append_all(self, history.frames_of(losses)?.into_iter().chain(of_jobs.into_iter().map(frame)))
    }
}

/// The transitions of the statuses that a patch adds or replaces.
fn changes(diff: &Diff, incoming: &Resolved, force: bool, now: UnixTime) -> Vec<(JobName, Transition)> {
    let of_job = |job: &Job| {
        let incoming = incoming.status(job)?;
        let policy = job.last_policy().unwrap_or_default();
        let transition = match diff {
            Diff::Keep => return None,
            Diff::Add { .. } => change(&policy, &PollStatus::default(), incoming, &[])?,
            Diff::Update { locator, statuses, .. } => {
                let StatusDiff { old, new, .. } = statuses.iter().find(|status| status.job == job.no)?;
                let before = is_taken(old.as_ref(), incoming, force).then(|| old.clone().unwrap_or_default())?;
                if policy.condition(incoming) == Condition::New {
                    job.loss(locator.batch_code, &before, now)?
                } else {
                    let outages: Vec<_> = RunOutage::times_for(&job.outages, locator.batch_code).collect();
                    change(&policy, &before, new, &outages)?
                }
            }
        };
        Some((job.name.clone(), transition))
    };
    incoming.jobs.iter().filter_map(of_job).collect()
}

/// The transition from a status to one that an import brought; `None` if nothing changed.
fn change(policy: &Policy, before: &PollStatus, after: &PollStatus, outages: &[UnixTime]) -> Option<Transition> {
    let to = policy.condition(after);
    // The site may have asked to wait since.
    let counted = after.attempts.len().saturating_sub(after.deferrals.into());
    let after = PollStatus { deferrals: 0, attempts: after.attempts[..counted].to_vec(), ..after.clone() };
    Some(Transition { to, ..policy.change(before, &after, outages) }).filter(Transition::is_news)
}
