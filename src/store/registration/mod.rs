//! Registrations: sites that connect and disconnect by themselves.
//!
//! Look-up, comparison of secrets and change are one session, so that of any number of simultaneous claims of one new cxnId
//! exactly one succeeds.
//!
//! # Requests in a group
//! To open the database and to sync it takes long. So the process that gets the session applies the requests of all that wait:
//!
//! 1. Each process writes its request into a file in `registration/`, holds a kernel lock on it, and then gives it its name.
//! 2. It waits for its answer, or for the session, whichever comes first.
//! 3. The process that gets the session takes its own request back. It *claims* those of others, if their locks are held, by
//!    removing their names. It applies all of them, makes that durable, and writes an answer into each file, which it has still
//!    open. Only then does it release the session.
//!
//! What can happen in between:
//!
//! - *A process is killed while it waits.* Its lock is gone, so its request is removed and never applied. If it was claimed
//!   before, it is as if the process were killed after the change.
//! - *The process with the session is killed.* The session is free. Each owner goes on to wait for it, and applies its own
//!   request. If that was durable already, its message is remembered with the number of the request, which is success.
//! - *A wait is over.* The process takes its request back by removing the name. Only one can remove it: if the name is gone,
//!   the request is claimed. Then the process waits, without a limit, for the answer or for the session, which it gets when
//!   the process that claimed the request is killed.
//! - *An answer comes at the end of the wait.* It is written before the session is released, so a process that gets the
//!   session looks for it once more.
//! - *One request fails*, because something of its connection cannot be read. It gets no answer, and its owner finds the error
//!   itself. If the whole session fails, so do all owners.
//! - *A file cannot be read*, because another version wrote it. It keeps its name, and its owner applies it.
//! - *A file is found before it is locked.* Then it is removed, and its owner writes another.
//! - *The database is replaced.* Not in between, since each owner holds the store shared.

mod request;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::slice;

use super::error::{Error, Result};
use super::face::Store;
use super::failpoint::{self, Failpoint};
use super::history::History;
use super::ops::{Registered, Registration, RegistrationOutcome, Request};
use super::results;
use super::schema::WriteSession;
use super::sessions::Sessions;
use crate::model::{AppId, CxnId, Secret, UnixTime};
use crate::util::file_error::{FileError, FileOp};
use crate::util::fs_atomic::private_dir;
use crate::util::lock::FileLock;
use request::{Claimed, OwnRequest, claim_all};

/// The lock of the process that waits for the session on behalf of all.
const LOCK: &str = "lock";

impl Store {
    /// Does what a site asks for. Once this returns without an error, it is durable.
    ///
    /// # Errors
    /// Those of [`Store::write`]; then nothing is changed later. That something of the connection cannot be read is an error.
    pub fn register(&self, registration: &Registration, now: UnixTime) -> Result<RegistrationOutcome> {
        let sessions = self.writable()?;
        sessions.locks.lock_shared(|| {
            let Registered { outcome, is_removed } = submit(sessions, registration, now)?;
            if is_removed {
                results::delete(sessions, slice::from_ref(registration.change.cxn_id()))?;
            }
            Ok(outcome)
        })
    }

    /// The directory of what belongs to registrations, created where it is missing.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::NotWritable`].
    pub fn registration_dir(&self) -> Result<PathBuf> {
        prepared_dir(self.writable()?)
    }

    /// What [`Store::register`] would return now, without a change.
    ///
    /// # Errors
    /// Those of [`Store::read`]. That something of the connection cannot be read is an error.
    pub fn preview_registration(&self, registration: &Registration, now: UnixTime) -> Result<RegistrationOutcome> {
        self.read(|session| session.preview_registration(registration, now))
    }

    /// Whether a connection is stored with this secret and this app. Secrets are compared in constant time.
    ///
    /// # Errors
    /// Those of [`Store::read`]. That something of the connection cannot be read is an error.
    pub fn is_registered(&self, cxn_id: &CxnId, secret: &Secret, app_id: &AppId) -> Result<bool> {
        self.read(|session| session.is_registered(cxn_id, secret, app_id))
    }
}

fn prepared_dir(sessions: &Sessions) -> Result<PathBuf> {
    let dir = sessions.layout.registration();
    private_dir(&dir).map_err(FileError::at(FileOp::Create, &dir))?;
    Ok(dir)
}

/// Has a request applied, by this process or by another one.
fn submit(sessions: &Sessions, registration: &Registration, now: UnixTime) -> Result<Registered> {
    let dir = prepared_dir(sessions)?;
    let own = OwnRequest::publish(&dir, registration, now)?;
    failpoint::hit(Failpoint::RegistrationRequested);
    let own_request = Request { registration, number: own.number, now };
    match wait_or_lead(sessions, &own, &own_request) {
        Err((error, false)) if own.withdraw() => Err(error),
        Err((_, false)) => {
            let sessions = Sessions { locks: sessions.locks.without_limit(), ..sessions.clone() };
            wait_or_lead(&sessions, &own, &own_request).map_err(|(error, _)| error)
        }
        done => done.map_err(|(error, _)| error),
    }
}

/// Waits for the answer, or gets the session and applies all requests that wait.
///
/// # Errors
/// Those of [`Sessions::write`], and whether this process had the session.
fn wait_or_lead(sessions: &Sessions, own: &OwnRequest, request: &Request) -> Result<Registered, (Error, bool)> {
    let dir = sessions.layout.registration();
    let path = dir.join(LOCK);
    let first = FileLock::open(&path).map_err(|error| (FileError::at(FileOp::Open, &path)(error).into(), false))?;
    let mut leads = false;
    let work = |session: &WriteSession| {
        leads = true;
        own.withdraw();
        let claimed = claim_all(&dir, own);
        let others = claimed.iter().map(|claimed| Request {
            registration: &claimed.registration,
            number: claimed.number,
            now: claimed.now,
        });
        let requests: Vec<_> = [Request { ..*request }].into_iter().chain(others).collect();
        let history = History::new(sessions.source.history());
        let mut done = session.register(&history, &requests, request.now)?;
        drop(requests);
        // There is one for each request.
        let of_own = done.remove(0);
        Ok((of_own, claimed.into_iter().zip(done).collect::<Vec<_>>()))
    };
    let publish = |(of_own, others): (Result<Registered>, Vec<(Claimed, Result<Registered>)>)| {
        for (claimed, registered) in others {
            if let Ok(registered) = registered {
                claimed.answer(registered);
            }
        }
        failpoint::hit(Failpoint::RegistrationsAnswered);
        of_own
    };
    let done = sessions.write_unless(first, || own.answer().map(Ok), work, publish);
    done.flatten().map_err(|error| (error, leads))
}
