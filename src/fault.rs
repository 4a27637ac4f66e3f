//! Named steps at which a test can have the process killed.
//!
//! They cost nothing and do nothing unless the feature `fault-points` is on, which only this project's own tests turn on.
//! There, `CXNPOLL_DIE_AT=step` or `CXNPOLL_DIE_AT=step:3` makes the process kill itself (SIGKILL, so that nothing gets
//! a chance to tidy up) when it comes to that step the first or the third time.

/// A step of the store's work after which a process may die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A session holds the store's lock.
    Locked,
    /// The database is open.
    Opened,
    /// The session's work is done, and not written out yet.
    Worked,
    /// sled has pushed everything out to its file.
    Flushed,
    /// The file is synced.
    Synced,
    /// The database is closed.
    Closed,
    /// What a session before said of what is due is removed.
    OutlookRemoved,
    /// What is due next is written and synced, under a provisional name.
    OutlookWritten,
    /// What is due next has its name.
    OutlookNamed,
    /// A backup is written, under its provisional name.
    BackupWritten,
    /// A backup is synced and has its name.
    BackupNamed,
    /// A fresh database is complete and synced, under its provisional name.
    Built,
    /// The fresh database has its name.
    Named,
    /// The new `CURRENT` is written and synced, under its provisional name.
    CurrentWritten,
    /// `CURRENT` names the fresh database.
    Swapped,
    /// What was replaced is put away.
    PutAway,
}

impl Step {
    /// All steps, in the order in which they come.
    pub const ALL: [Self; 16] = [
        Self::Locked,
        Self::Opened,
        Self::Worked,
        Self::Flushed,
        Self::Synced,
        Self::Closed,
        Self::OutlookRemoved,
        Self::OutlookWritten,
        Self::OutlookNamed,
        Self::BackupWritten,
        Self::BackupNamed,
        Self::Built,
        Self::Named,
        Self::CurrentWritten,
        Self::Swapped,
        Self::PutAway,
    ];
}

/// Says that a step is done.
#[cfg(not(feature = "fault-points"))]
pub(crate) fn reached(_: Step) {}

/// Says that a step is done, and dies if a test wants it here.
#[cfg(feature = "fault-points")]
pub(crate) fn reached(step: Step) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static PASSED: AtomicU32 = AtomicU32::new(0);

    let Ok(wanted) = std::env::var("CXNPOLL_DIE_AT") else { return };
    let (name, times) = wanted.split_once(':').unwrap_or((&wanted, "1"));
    if format!("{step:?}") == name && (PASSED.fetch_add(1, Ordering::Relaxed) + 1).to_string() == times {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
