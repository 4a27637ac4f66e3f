//! Named steps at which a test can kill the process.
//!
//! They do nothing unless the feature `fault-points` is on, which only this project's own tests turn on. With it,
//! `CXNPOLL_DIE_AT=Step` or `CXNPOLL_DIE_AT=Step:3` makes the process kill itself (SIGKILL, so that nothing is cleaned
//! up) when it reaches that step for the first or the third time. `CXNPOLL_DIE_AT=` only lists the steps on standard error.

/// A step of the store's work after which the process may die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failpoint {
    /// The directory of the store is prepared.
    StorePrepared,
    /// A session holds the store's lock.
    LockAcquired,
    /// The database is open.
    DatabaseOpened,
    /// The session's work is done, and not yet flushed.
    WorkDone,
    /// sled has written everything to its file.
    Flushed,
    /// The file is synced.
    Synced,
    /// The database is closed.
    Closed,
    /// The due hint of the previous session is removed.
    HintRemoved,
    /// The due hint is written and synced under its staging name.
    HintWritten,
    /// The due hint has its name.
    HintRenamed,
    /// The staging file of a backup exists.
    BackupStarted,
    /// A backup is written under its staging name.
    BackupWritten,
    /// A backup is synced and has its name.
    BackupRenamed,
    /// A backup that is beyond the limit is removed.
    OldBackupRemoved,
    /// A backup is restored to a temporary store, which agrees with it.
    BackupRehearsed,
    /// It is recorded whether a backup can be restored.
    RehearsalRecorded,
    /// The staging directory of a new database exists.
    StagingCreated,
    /// A new database is filled and closed.
    DatabaseFilled,
    /// A new database is complete and synced under its staging name.
    DatabaseBuilt,
    /// The new database has its name.
    DatabaseRenamed,
    /// The new `CURRENT` is written and synced under its staging name.
    CurrentWritten,
    /// `CURRENT` names the new database.
    CurrentSwapped,
    /// The databases that were replaced are archived.
    Archived,
    /// Entries that a repair removes are copied to quarantine.
    Quarantined,
    /// The database of kept results is complete and synced under its staging name.
    ResultsBuilt,
    /// sled has written what changed of the kept results to its file.
    ResultsWritten,
    /// The file of the kept results is synced.
    ResultsSynced,
    /// An export is written and synced under its temporary name.
    ExportWritten,
    /// Metrics are written under their temporary name.
    MetricsWritten,
    /// Changes are appended to history and synced, before the store records what they are about.
    HistoryWritten,
    /// The history of a backup is complete and synced under its staging name.
    HistoryStaged,
    /// The history of a backup has taken the place of the former one, which is not archived yet.
    HistorySwapped,
    /// A notification is noted and synced, and not sent yet.
    NotificationNoted,
    /// A channel accepted a notification, which is not noted yet.
    NotificationSent,
    /// A file of notifications is moved out of the directory of history.
    NotificationsMoved,
    /// A request of a site has its name, and waits to be applied.
    RegistrationRequested,
    /// The requests of sites are applied and durable, and their owners have their answers.
    RegistrationsAnswered,
}

#[cfg(feature = "fault-points")]
impl Failpoint {
    /// All steps, in the order in which they come.
    pub const ALL: [Self; 37] = [
        Self::StorePrepared,
        Self::LockAcquired,
        Self::DatabaseOpened,
        Self::WorkDone,
        Self::Flushed,
        Self::Synced,
        Self::Closed,
        Self::HintRemoved,
        Self::HintWritten,
        Self::HintRenamed,
        Self::BackupStarted,
        Self::BackupWritten,
        Self::BackupRenamed,
        Self::OldBackupRemoved,
        Self::BackupRehearsed,
        Self::RehearsalRecorded,
        Self::StagingCreated,
        Self::DatabaseFilled,
        Self::DatabaseBuilt,
        Self::DatabaseRenamed,
        Self::CurrentWritten,
        Self::CurrentSwapped,
        Self::Archived,
        Self::Quarantined,
        Self::ResultsBuilt,
        Self::ResultsWritten,
        Self::ResultsSynced,
        Self::ExportWritten,
        Self::MetricsWritten,
        Self::HistoryWritten,
        Self::HistoryStaged,
        Self::HistorySwapped,
        Self::NotificationNoted,
        Self::NotificationSent,
        Self::NotificationsMoved,
        Self::RegistrationRequested,
        Self::RegistrationsAnswered,
    ];
}

/// Marks a step as done.
#[cfg(not(feature = "fault-points"))]
pub(crate) fn hit(_: Failpoint) {}

/// Marks a step as done, and kills the process if a test requires that here.
#[cfg(feature = "fault-points")]
pub(crate) fn hit(step: Failpoint) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static HITS: AtomicU32 = AtomicU32::new(0);

    let Ok(wanted) = std::env::var("CXNPOLL_DIE_AT") else { return };
    if wanted.is_empty() {
        eprintln!("{step:?}");
    }
    let (name, times) = wanted.split_once(':').unwrap_or((&wanted, "1"));
    if format!("{step:?}") == name && (HITS.fetch_add(1, Ordering::Relaxed) + 1).to_string() == times {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
