//! Deleting a connection.

use crate::store::engine::{TreeName, Tx, TxResult};
use crate::store::schema::{CxnKey, CxnRecord, JobNo, delete_status, read_status};

/// Deletes a connection with its statuses for `jobs`, which are all jobs of its app.
///
/// # Errors
/// Those of the database.
pub fn delete_cxn(tx: &Tx, jobs: &[JobNo], key: CxnKey, record: &CxnRecord) -> TxResult<()> {
    tx.remove(TreeName::Id, record.cxn_id.as_bytes())?;
    tx.remove(TreeName::Cxn, &key.to_bytes())?;
    for job in jobs {
        if let Some(status) = read_status(tx, *job, key.locator)? {
            delete_status(tx, *job, key.locator, &status, record.disabled)?;
        }
    }
    Ok(())
}
