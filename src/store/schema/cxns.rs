//! Connections.

use super::keys::CxnKey;
use super::records::{CxnRecord, IdRecord, Record, read};
use super::session::ReadSession;
use crate::model::{Cxn, CxnId, Secret};
use crate::store::engine::Get;
use crate::store::error::{Error, Item, Problem, Result};

/// Finds a connection's key and record by its cxnId; `None` if there is no such connection.
///
/// # Errors
/// [`Problem::MissingCxn`] where the cxnId leads to no connection; those of the database.
pub fn find_record<G: Get>(from: &G, cxn_id: &CxnId) -> Result<Option<(CxnKey, CxnRecord)>, G::Error> {
    let Some(id) = read::<IdRecord, _>(from, cxn_id.as_str().as_bytes())? else { return Ok(None) };
    let key = CxnKey::try_from(id).map_err(Error::from)?;
    let record = read::<CxnRecord, _>(from, &key.to_bytes())?;
    let record = record.ok_or_else(|| Error::from(Problem::MissingCxn(cxn_id.clone())))?;
    Ok(Some((key, record)))
}

/// Makes a connection of its key, its record, and what the record refers to.
///
/// # Errors
/// [`Problem::Unreadable`].
pub fn decode_cxn(session: &ReadSession, key: CxnKey, bytes: &[u8]) -> Result<Cxn> {
    let record = CxnRecord::from_bytes(bytes)?;
    let shared = session.shared(record.shared)?;
    Ok(Cxn {
        cxn_id: record.cxn_id.parse().map_err(|_| Item::CxnId)?,
        secret: Secret::from_bytes(record.secret),
        app_id: session.app_id(key.app)?,
        app_url: shared.app_url,
        site_url: record.site_url,
        perm: shared.perm,
        via_port: record.via_port.map(|text| text.parse()).transpose().map_err(|_| Item::ViaPort)?,
        batch_code: key.locator.batch_code,
        disabled: record.disabled,
    })
}

impl ReadSession {
    /// The key of a connection; `None` if there is no such connection.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn find(&self, cxn_id: &CxnId) -> Result<Option<CxnKey>> {
        let id = read::<IdRecord, _>(&self.trees, cxn_id.as_str().as_bytes())?;
        Ok(id.map(CxnKey::try_from).transpose()?)
    }

    /// The connection of a key; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn cxn(&self, key: CxnKey) -> Result<Option<Cxn>> {
        let bytes = self.get(CxnRecord::TREE, key.to_bytes())?;
        bytes.map(|bytes| decode_cxn(self, key, &bytes)).transpose()
    }
}
