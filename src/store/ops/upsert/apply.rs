//! Writing what a patch changes.

use super::diff::{Change, Diff, StatusDiff, Stored, diff};
use super::patch::CxnPatch;
use super::resolve::{Resolved, jobs_of, resolve};
use crate::model::BatchCode;
use crate::store::engine::{TX_BATCH, TreeName, Tx, TxResult};
use crate::store::error::{Error, Result};
use crate::store::history::{Audit, History};
use crate::store::ops::delete::delete_cxn;
use crate::store::schema::{
    Counters, CxnKey, CxnLocator, DueFacts, HostKey, IdRecord, Record, WriteSession, bump_counters, write_status,
};
use crate::util::time::unix_now;

impl WriteSession {
    /// Adds or updates connections, and returns for each what changed. A patch is applied whole or not at all.
    ///
    /// With `force`, a patch's poll status is taken even if it is not newer. A connection of which something cannot be
    /// read is skipped, and counts as unchanged.
    ///
    /// # Errors
    /// [`Error::Database`]. Then the batches of [`TX_BATCH`] patches before are applied.
    pub fn upsert(&self, patches: &[CxnPatch], force: bool) -> Result<Vec<Change>> {
        let mut changes = Vec::with_capacity(patches.len());
        for batch in patches.chunks(TX_BATCH) {
            let jobs = jobs_of(self, batch)?;
            let resolve = |patch| Ok((patch, self.skip(resolve(self, patch, &jobs), || CxnPatch::entry_id(patch))?));
            let resolved = batch.iter().map(resolve).collect::<Result<Vec<_>>>()?;
            let upsert_one = |tx: &Tx, (_, incoming): &(&CxnPatch, Option<Resolved>)| {
                let Some(incoming) = incoming else { return Ok(Change::Unchanged) };
                let diff = diff(Stored::read(tx, incoming)?, incoming, force);
                apply(tx, self.host_key, incoming, &diff)?;
                Ok(diff.change())
            };
            let done = self.transact_each(&resolved, |(patch, _)| patch.entry_id(), upsert_one)?;
            changes.extend(done.into_iter().map(|change| change.unwrap_or(Change::Unchanged)));
        }
        Ok(changes)
    }

    /// Adds or updates a connection that registers, and does `more` in the same transaction. One that is given up is revived.
    ///
    /// # Errors
    /// [`Error::Database`], also if something of the connection cannot be read.
    pub(in crate::store::ops) fn register_one(
        &self,
        patch: &CxnPatch,
        more: impl Fn(&Tx) -> TxResult<()>,
    ) -> Result<()> {
        let jobs = jobs_of(self, std::slice::from_ref(patch))?;
        let incoming = Resolved { revives: true, ..resolve(self, patch, &jobs)? };
        self.trees.transact(|tx| {
            let diff = diff(Stored::read(tx, &incoming)?, &incoming, false);
            apply(tx, self.host_key, &incoming, &diff)?;
            more(tx)
        })
    }

    /// Adds or updates connections as [`WriteSession::upsert`] does, and adds that to history before.
    ///
    /// A connection that moves to another app is removed there, and added.
    ///
    /// # Errors
    /// Those of [`WriteSession::upsert`]; [`Error::File`].
    pub fn import(&self, history: &History, patches: &[CxnPatch], force: bool, audit: &Audit) -> Result<Vec<Change>> {
        let changes = self.diff(patches, force)?;
        if changes.iter().all(|change| *change == Change::Unchanged) {
            return Ok(changes);
        }
        let of_change = |of: &[Change]| -> Vec<&CxnPatch> {
            patches.iter().zip(&changes).filter(|(_, change)| of.contains(change)).map(|(patch, _)| patch).collect()
        };
        let now = unix_now();
        let mut moved = Vec::new();
        for patch in of_change(&[Change::Moved]) {
            moved.extend(self.find(&patch.cxn_id)?.map(|key| (key, patch.cxn_id.clone())));
        }
        let mut frames = history.frames_of(self.losses(&moved, now)?)?;
        for (action, of) in [
            ("remove", &[Change::Moved][..]),
            ("import-add", &[Change::Added, Change::Moved]),
            ("import-update", &[Change::Updated]),
        ] {
            let cxns = of_change(of).into_iter().map(|patch| patch.cxn_id.to_string());
            frames.extend(audit.frame(action, cxns.collect()));
        }
        history.append_all(self, frames)?;
        self.note_upsert(history, patches, force, now)?;
        self.upsert(patches, force)
    }
}

fn apply(tx: &Tx, host_key: HostKey, incoming: &Resolved, diff: &Diff) -> TxResult<()> {
    match diff {
        Diff::Keep => Ok(()),
        Diff::Add { record, statuses, replaces } => {
            let seq = bump_counters(tx, Counters::take_cxn)?;
            let batch_code = match (replaces, incoming.patch.batch_code) {
                (Some((key, _)), _) => key.locator.batch_code,
                (None, Some(batch_code)) => batch_code,
                (None, None) => random_batch_code()?,
            };
            if let Some((key, record)) = replaces {
                delete_cxn(tx, &incoming.left_jobs, *key, record)?;
            }
            let locator = CxnLocator { batch_code, seq };
            let key = CxnKey { app: incoming.app, locator };
            tx.insert(TreeName::Id, record.cxn_id.as_bytes(), IdRecord::from(key).to_bytes()?)?;
            tx.insert(TreeName::Cxn, &key.to_bytes(), record.to_bytes()?)?;
            let facts = DueFacts::new(host_key, record);
            statuses.iter().try_for_each(|(job, status)| write_status(tx, *job, locator, None, (status, facts)))
        }
        Diff::Update { locator, old, new, statuses } => {
            if old != new {
                let key = CxnKey { app: incoming.app, locator: *locator };
                tx.insert(TreeName::Cxn, &key.to_bytes(), new.to_bytes()?)?;
            }
            if statuses.is_empty() {
                return Ok(());
            }
            let facts = DueFacts::new(host_key, new);
            statuses.iter().try_for_each(|StatusDiff { job, old: before, new }| {
                let before = before.as_ref().map(|before| (before, old.disabled));
                write_status(tx, *job, *locator, before, (new, facts))
            })
        }
    }
}

fn random_batch_code() -> Result<BatchCode> {
    let random = getrandom::u32().map_err(Error::Random)?;
    // The remainder of 32 random bits by 10001 prefers no code by more than three in a million.
    let code = u16::try_from(random % (u32::from(BatchCode::MAX.get()) + 1)).unwrap_or_default();
    Ok(code.try_into().unwrap_or(BatchCode::MIN))
}
