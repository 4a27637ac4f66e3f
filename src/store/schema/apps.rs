//! Apps and their numbers.

use super::counters::{bump_counters, take_next};
use super::keys::{AppNo, meta_key, parse_number};
use super::session::{ReadSession, WriteSession};
use crate::model::AppId;
use crate::store::engine::TreeName;
use crate::store::error::{Error, Item, Result};

impl ReadSession {
    /// The number of an app that has (or had) connections; `None` for any other.
    ///
    /// # Errors
    /// [`Error::Database`](crate::store::Error::Database).
    pub fn app_no(&self, app_id: &AppId) -> Result<Option<AppNo>> {
        let bytes = self.get(TreeName::Meta, meta_key(b'a', app_id.as_str().as_bytes()))?;
        Ok(bytes.map(|bytes| parse_number(&bytes)).transpose()?)
    }

    /// All apps that have (or had) connections. Those that cannot be read are skipped.
    ///
    /// # Errors
    /// [`Error::Database`](crate::store::Error::Database).
    pub fn apps(&self) -> Result<Vec<(AppNo, AppId)>> {
        let mut apps = Vec::new();
        for entry in self.trees.entries(TreeName::Meta, b"A", None) {
            let (key, _) = entry?;
            let app = parse_number(&key[1..]).map_err(Error::from).and_then(|no| Ok((no, self.app_id(no)?)));
            apps.extend(self.skip(app, || (TreeName::Meta, key.to_vec(), None))?);
        }
        Ok(apps)
    }

    /// The appId of a number.
    ///
    /// # Errors
    /// [`Item::AppId`] where there is none.
    pub(in crate::store) fn app_id(&self, no: AppNo) -> Result<AppId> {
        if let Some(app_id) = self.names.borrow().apps.get(&no) {
            return Ok(app_id.clone());
        }
        let bytes = self.get(TreeName::Meta, meta_key(b'A', &no.to_be_bytes()))?.ok_or(Item::AppId)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| Item::AppId)?;
        let app_id: AppId = text.parse().map_err(|_| Item::AppId)?;
        self.names.borrow_mut().apps.insert(no, app_id.clone());
        Ok(app_id)
    }
}

impl WriteSession {
    /// The number of an app, assigned now if it has none.
    ///
    /// # Errors
    /// [`Error::Database`](crate::store::Error::Database).
    pub(in crate::store) fn intern_app(&self, app_id: &AppId) -> Result<AppNo> {
        if let Some(no) = self.app_no(app_id)? {
            return Ok(no);
        }
        self.trees.transact(|tx| {
            let no = bump_counters(tx, |counters| take_next(&mut counters.app))?;
            tx.insert(TreeName::Meta, &meta_key(b'a', app_id.as_str().as_bytes()), &no.to_be_bytes())?;
            tx.insert(TreeName::Meta, &meta_key(b'A', &no.to_be_bytes()), app_id.as_str().as_bytes())?;
            Ok(no)
        })
    }
}
