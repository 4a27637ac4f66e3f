//! Connections.

use super::keys::CxnKey;
use super::records::{CxnRecord, IdRecord, Record, first_text, read};
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
        site_url: record.site_url.into(),
        perm: shared.perm,
        via_port: record.via_port.map(|text| text.parse()).transpose().map_err(|_| Item::ViaPort)?,
        batch_code: key.locator.batch_code,
        disabled: record.disabled,
    })
}

impl ReadSession {
    /// The key of a connection; `None` if there is no such connection.
    ///
    /// An entry that cannot be read is skipped. Then the connection is searched for among all.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn find(&self, cxn_id: &CxnId) -> Result<Option<CxnKey>> {
        let name = cxn_id.as_str().as_bytes();
        let id = read::<IdRecord, _>(&self.trees, name).and_then(|id| Ok(id.map(CxnKey::try_from).transpose()?));
        match self.skip(id, || (IdRecord::TREE, name.to_vec(), Some(cxn_id.clone())))? {
            Some(found) => Ok(found),
            None => self.search(cxn_id),
        }
    }

    /// Connections whose ids begin with `prefix`, in the order of these, at most `max`. Those that cannot be read are left out.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn cxns_by_prefix(&self, prefix: &str, max: usize) -> Result<Vec<Cxn>> {
        let mut cxns = Vec::new();
        for entry in self.trees.entries(IdRecord::TREE, prefix.as_bytes(), None).take(max) {
            let key = IdRecord::from_bytes(&entry?.1).and_then(CxnKey::try_from);
            cxns.extend(key.ok().map(|key| self.cxn(key)).transpose()?.flatten());
        }
        Ok(cxns)
    }

    fn search(&self, cxn_id: &CxnId) -> Result<Option<CxnKey>> {
        for entry in self.trees.entries(CxnRecord::TREE, &[], None) {
            let (key, value) = entry?;
            if first_text::<CxnRecord>(&value).as_deref() == Some(cxn_id.as_str())
                && let Some(key) = CxnKey::parse(&key)
            {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    /// The connection of a key; `None` if there is none, or if it cannot be read and is skipped.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn cxn(&self, key: CxnKey) -> Result<Option<Cxn>> {
        let Some(bytes) = self.get(CxnRecord::TREE, key.to_bytes())? else { return Ok(None) };
        self.skip(decode_cxn(self, key, &bytes), || self.entry_id(CxnRecord::TREE, &key.to_bytes(), key))
    }
}
