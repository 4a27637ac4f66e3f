//! Poll statuses, and their entries in the due index. Both always change together.

use super::host_key::{HostHash, HostKey, is_keyed};
use super::keys::{AppNo, CxnKey, CxnLocator, DueBucket, DueKey, JobNo, status_key};
use super::records::{CxnRecord, DueRecord, Record, StatusRecord, read};
use super::session::ReadSession;
use crate::model::{JobName, PollStatus};
use crate::store::engine::{Get, TreeName, Tx, TxResult, Write};
use crate::store::error::{Error, Item, Result};

/// The statuses of a connection by job.
pub type Statuses = Vec<(JobName, PollStatus)>;

/// What the due index contains about a connection in addition to its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueFacts {
    /// Whether the connection is disabled.
    pub disabled: bool,
    /// The hash of its host.
    pub host: HostHash,
}

impl DueFacts {
    /// What the due index of a store with this key contains about a connection.
    pub fn new(host_key: HostKey, record: &CxnRecord) -> Self {
        Self { disabled: record.disabled, host: host_key.hash(&record.host()) }
    }
}

/// The hash of a connection's host, for which the due index holds `stored`.
///
/// It is another one only where a former build wrote the entry.
///
/// # Errors
/// Those of the database.
pub fn host_of<G: Get>(from: &G, host_key: HostKey, cxn: CxnKey, stored: HostHash) -> Result<HostHash, G::Error> {
    if is_keyed(stored) {
        return Ok(stored);
    }
    let record = read::<CxnRecord, _>(from, &cxn.to_bytes())?;
    Ok(record.map_or(stored, |record| host_key.hash(&record.host())))
}

/// Reads a connection's status for a job; `None` if it has none.
///
/// # Errors
/// Those of the database.
pub fn read_status<G: Get>(from: &G, job: JobNo, locator: CxnLocator) -> Result<Option<PollStatus>, G::Error> {
    let record = read::<StatusRecord, _>(from, &status_key(job, locator))?;
    Ok(record.map(PollStatus::try_from).transpose().map_err(Error::from)?)
}

/// Writes a status, and replaces the entry of the old one in the due index.
///
/// `old` is the status that is stored, with the disabled flag that its entry was made with.
///
/// # Errors
/// Those of the database.
pub fn write_status(
    tx: &Tx,
    job: JobNo,
    locator: CxnLocator,
    old: Option<(&PollStatus, bool)>,
    (status, facts): (&PollStatus, DueFacts),
) -> TxResult<()> {
    if let Some((old, disabled)) = old {
        tx.remove(TreeName::Due, &DueKey::of(job, locator, old, disabled).to_bytes())?;
    }
    for Write { tree, key, value } in status_writes(job, locator, status, facts)? {
        tx.insert(tree, &key, value.unwrap_or_default())?;
    }
    Ok(())
}

/// Removes a status with its entry in the due index.
///
/// # Errors
/// Those of the database.
pub fn delete_status(tx: &Tx, job: JobNo, locator: CxnLocator, status: &PollStatus, disabled: bool) -> TxResult<()> {
    tx.remove(TreeName::Due, &DueKey::of(job, locator, status, disabled).to_bytes())?;
    tx.remove(TreeName::Status, &status_key(job, locator))
}

/// The writes of a status and of its entry in the due index.
///
/// # Errors
/// [`Error::RecordTooLarge`].
pub fn status_writes(job: JobNo, locator: CxnLocator, status: &PollStatus, facts: DueFacts) -> Result<[Write; 2]> {
    let record = StatusRecord::from(status).to_bytes()?;
    Ok([due_write(job, locator, status, facts)?, Write::put(TreeName::Status, status_key(job, locator), record)])
}

/// The write of a status's entry in the due index.
///
/// # Errors
/// [`Error::RecordTooLarge`].
pub fn due_write(job: JobNo, locator: CxnLocator, status: &PollStatus, facts: DueFacts) -> Result<Write> {
    let due = DueRecord { host: facts.host, level: status.level, count: status.count };
    Ok(Write::put(TreeName::Due, DueKey::of(job, locator, status, facts.disabled).to_bytes(), due.to_bytes()?))
}

impl ReadSession {
    /// A connection's status for a job; `None` if it has none yet.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn status(&self, job: JobNo, locator: CxnLocator) -> Result<Option<PollStatus>> {
        read_status(&self.trees, job, locator)
    }

    /// An entry of the due index, with its status as far as states and due times depend on it.
    ///
    /// `None` if it cannot be read and is skipped. `app` is that of its job.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub(in crate::store) fn due_entry(
        &self,
        app: AppNo,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<(DueKey, DueRecord, PollStatus)>> {
        let parsed = DueKey::parse(key);
        let entry = parsed.ok_or(Item::Key).and_then(|key| Ok((key, DueRecord::from_bytes(value)?)));
        let entry = entry.map_err(Error::from).and_then(|(key, record)| {
            let status = self.indexed_status(&key, &record)?;
            Ok((key, record, status))
        });
        self.skip(entry, || match parsed {
            Some(parsed) => self.entry_id(TreeName::Due, key, CxnKey { app, locator: parsed.locator }),
            None => (TreeName::Due, key.to_vec(), None),
        })
    }

    fn indexed_status(&self, key: &DueKey, record: &DueRecord) -> Result<PollStatus> {
        match key.bucket {
            // Its key holds the end of the deferral in place of lastRun.
            DueBucket::Deferred => Ok(self.status(key.job, key.locator)?.unwrap_or_default()),
            // Without lastRun it is as if no poll had been brought forward.
            _ => {
                Ok(PollStatus { level: record.level, count: record.count, last_run: key.from, ..PollStatus::default() })
            }
        }
    }

    /// The statuses of a connection by job, without those of jobs that never polled it.
    ///
    /// Those that cannot be read are skipped.
    ///
    /// # Errors
    /// Those of the database.
    pub(in crate::store) fn statuses(&self, key: CxnKey) -> Result<Statuses> {
        let mut statuses = Vec::new();
        for (job, name) in self.job_names(key.app)?.iter() {
            let status = self.readable_status(*job, key)?.flatten().filter(|status| *status != PollStatus::default());
            statuses.extend(status.map(|status| (name.clone(), status)));
        }
        Ok(statuses)
    }

    /// As [`ReadSession::status`]; `None` if the status cannot be read and is skipped.
    ///
    /// # Errors
    /// [`Error::Database`].
    #[expect(clippy::option_option, reason = "unreadable, missing, or a status")]
    pub(in crate::store) fn readable_status(&self, job: JobNo, key: CxnKey) -> Result<Option<Option<PollStatus>>> {
        let entry_id = || self.entry_id(TreeName::Status, &status_key(job, key.locator), key);
        self.skip(self.status(job, key.locator), entry_id)
    }
}
