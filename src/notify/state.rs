//! What each channel has read, reported and still has to deliver, in files of the store.
//!
//! They are outside of `history/`, which a restore replaces. Positions there count in the history that a restore made: see
//! [`Restores`](crate::store::Restores).
//!
//! ```text
//! <store>/
//!   notify.json   the state, replaced as a whole
//!   notify.lock   held by the process that makes and sends messages
//!   notify.sent   the id of the message that was delivered last; not synced, so that the file is written at once
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::digest::Tracker;
use super::error::Error;
use super::message::Message;
use crate::model::UnixTime;
use crate::store::{History, Positions, Store};
use crate::util::file_error::{FileError, FileOp};
use crate::util::fs_atomic::{Durability, ReplacedFile, private_file};
use crate::util::lock::{Backoff, FileLock, Mode};

const STATE: &str = "notify.json";
const SENT: &str = "notify.sent";

/// What every channel has read, reported and still has to deliver, by the name of the channel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) channels: BTreeMap<String, ChannelState>,
    /// The restored history that the positions are in; `None` if it is none.
    pub(super) history: Option<String>,
}

/// What one channel has read, reported and still has to deliver.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChannelState {
    /// How far history was read.
    pub(super) positions: Positions,
    /// What was reported and is not over.
    pub(super) tracker: Tracker,
    /// The run that made or delivered a message last, UTC seconds; `None` if none has.
    pub(super) last_at: Option<UnixTime>,
    /// When the last failure was reported; `None` if the last message was delivered.
    pub(super) warned_at: Option<UnixTime>,
    /// The message that is to be delivered; `None` if all were.
    pub(super) pending: Option<Message>,
}

/// The files of the state.
pub(super) struct StateFiles {
    history: History,
    dir: PathBuf,
    state: ReplacedFile,
    sent: PathBuf,
}

impl StateFiles {
    pub(super) fn new(store: &Store) -> Self {
        let dir = store.path().to_owned();
        Self { history: store.history(), state: ReplacedFile::new(&dir, STATE), sent: dir.join(SENT), dir }
    }

    /// Acquires the lock of the files; `None` if another process still holds it at the end of the wait.
    ///
    /// Takes over the files of an earlier build.
    pub(super) fn lock(&self, wait: &mut Backoff) -> Result<Option<FileLock>, Error> {
        let mut acquire = |dir: &Path| {
            let path = dir.join("notify.lock");
            let mut lock = FileLock::open(&path).map_err(FileError::at(FileOp::Open, &path))?;
            let acquired = lock.acquire(Mode::Exclusive, wait).map_err(FileError::at(FileOp::Lock, &path))?;
            Ok::<_, FileError>(acquired.then_some(lock))
        };
        let Some(lock) = acquire(&self.dir)? else { return Ok(None) };
        let former = self.history.dir();
        if former.join(STATE).exists() {
            // A run of that build may still be sending.
            let Some(_former_lock) = acquire(former)? else { return Ok(None) };
            self.history.release_notifications()?;
        }
        Ok(Some(lock))
    }

    /// Reads the state. It is empty if there is none, or none that can be read: see [`super::Notifier::begin`].
    ///
    /// Positions are those in the present history.
    pub(super) fn load(&self) -> Result<State, FileError> {
        let read = |path: &Path| match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read.map_err(FileError::at(FileOp::Read, path)),
        };
        let mut bytes = read(&self.state.path)?;
        if bytes.is_empty() {
            // It is still where an earlier build had it.
            bytes = read(&self.history.dir().join(STATE))?;
        }
        let mut state: State = serde_json::from_slice(&bytes).unwrap_or_default();
        if state.channels.values().any(|channel| channel.pending.is_some()) {
            let sent = [read(&self.sent)?, read(&self.history.dir().join(SENT))?];
            for channel in state.channels.values_mut() {
                channel.pending =
                    channel.pending.take().filter(|message| sent.iter().all(|sent| message.id.as_bytes() != sent));
            }
        }
        let restores = self.history.restores();
        for channel in state.channels.values_mut() {
            channel.positions = restores.translate(state.history.as_deref(), &channel.positions);
        }
        state.history = restores.last_id().map(str::to_owned);
        Ok(state)
    }

    /// Whether the positions of a state that was loaded still count: no restore has ended since.
    pub(super) fn is_current(&self, state: &State) -> bool {
        self.history.restores().last_id() == state.history.as_deref()
    }

    /// Replaces the state durably.
    pub(super) fn save(&self, state: &State) -> Result<(), FileError> {
        let write = || {
            let mut file = self.state.stage()?;
            file.file().write_all(serde_json::json!(state).to_string().as_bytes())?;
            file.commit(Durability::Durable, || ())
        };
        write().map_err(FileError::at(FileOp::Write, &self.state.path))
    }

    /// Notes at once that a message is delivered, until the state is saved.
    pub(super) fn note_sent(&self, id: &str) -> Result<(), FileError> {
        let write = || {
            let mut file = private_file(&self.sent)?;
            file.set_len(0)?;
            file.write_all(id.as_bytes())
        };
        write().map_err(FileError::at(FileOp::Write, &self.sent))
    }
}
