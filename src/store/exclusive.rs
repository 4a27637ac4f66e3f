//! A store that no other process uses, so that what it holds can be replaced.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::warn;

use super::engine::{StoreLayout, TreeName};
use super::error::{Error, Result};
use super::face::Store;
use super::history::StagedHistory;
use super::ops::cxn_ids_of;
use super::schema::{CxnKey, WriteSession};
use super::sessions::Sessions;
use crate::util::time::unix_now;

/// How many connections are in memory while history gets what is known of them.
const LOSSES_BATCH: usize = 4096;

/// A store that no other process uses.
pub struct ExclusiveStore(Store);

impl Store {
    /// Runs `work` while no other process uses a store, whether or not it has a database yet.
    ///
    /// Waits for the processes that use it, up to `timeout`. Those that begin to use it meanwhile wait for this one.
    ///
    /// # Errors
    /// As [`Store::create`], those of `work`, and [`Error::InUse`] or [`Error::Busy`] after the timeout.
    pub fn lock_exclusively<T, E: From<Error>>(
        path: &Path,
        timeout: Duration,
        owner: &'static str,
        work: impl FnOnce(&ExclusiveStore) -> Result<T, E>,
    ) -> Result<T, E> {
        let store = Self::of(StoreLayout::prepared(path)?, timeout).with_owner(owner);
        store.sessions.locks.lock_exclusive(|locks| work(&ExclusiveStore(store.with_locks(locks))))
    }
}

impl ExclusiveStore {
    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0
    }

    /// Starts a history that [`ExclusiveStore::replace`] makes the current one.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn stage_history(&self) -> Result<StagedHistory> {
        StagedHistory::create(&self.0.sessions.layout)
    }

    /// Adds to history that all connections go away, before a database replaces theirs.
    ///
    /// That is for a database without a history. Those that it has too are polled with their former condition. That contradicts
    /// this, so that it does not count. If the store cannot be read, there is a warning.
    pub fn note_losses(&self) {
        if !matches!(self.0.sessions.layout.database(), Ok(Some(_))) {
            return;
        }
        let (history, now) = (self.0.history(), unix_now());
        let noted = self.0.sessions.write(|session| {
            let mut keys = session.trees.entries(TreeName::Cxn, &[], None);
            loop {
                let batch = keys.by_ref().take(LOSSES_BATCH).collect::<Result<Vec<_>, _>>()?;
                if batch.is_empty() {
                    return Ok(());
                }
                let batch: Vec<_> = batch.iter().filter_map(|(key, _)| CxnKey::parse(key)).collect();
                let losses = session.losses(&cxn_ids_of(session, &batch)?, now)?;
                history.append_all(session, history.frames_of(losses)?)?;
            }
        });
        if let Err(error) = noted {
            warn!(%error, "history does not have until when connections of the replaced store were known");
        }
    }

    /// Fills a new database and makes it the current one. Returns what `fill` returns, and where others were moved to.
    ///
    /// The swap is one rename: a process that is killed leaves one of the two databases, whole. The previous database
    /// is moved to `kept/`, or removed if `keep` is false. The same holds for the history, unless `history` is `None`.
    ///
    /// # Errors
    /// Those of `fill`; [`Error::File`] and [`Error::Database`] where the store cannot be written.
    pub fn replace<T: Send, E: From<Error> + Send>(
        &self,
        keep: bool,
        history: Option<StagedHistory>,
        fill: impl FnOnce(&WriteSession, Option<&StagedHistory>) -> Result<T, E> + Send,
    ) -> Result<(T, Vec<PathBuf>), E> {
        let Sessions { layout, locks, .. } = &self.0.sessions;
        let (staging, filled) = self.0.sessions.create_database(|session| fill(session, history.as_ref()))?;
        let activate = || {
            history.as_ref().map_or(Ok(()), StagedHistory::sync)?;
            let previous = layout.database().ok().flatten();
            let archived = layout.activate(&staging, keep)?;
            if let Some(history) = history {
                let database = previous.as_deref().or(archived.last().map(PathBuf::as_path));
                history.activate(keep.then(|| layout.archived_history(database)).transpose()?.as_deref())?;
            }
            Ok::<_, Error>(archived)
        };
        let archived = locks.lock_session(activate).inspect_err(|_| layout.discard(&staging))?;
        Ok((filled, archived))
    }
}
