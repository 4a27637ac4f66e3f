//! What an import changes: patches of connections and statuses.

use serde_json::Value;

use crate::model::{AppId, BatchCode, CxnId, JobName, PollStatus, Secret, SiteUrl, ViaPort};
use crate::store::engine::TreeName;
use crate::store::error::Result;
use crate::store::schema::{EntryId, ReadSession};

/// What a patch does to an optional value of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum FieldPatch<T> {
    /// The stored value stays. A new connection gets the default.
    #[default]
    Keep,
    /// The default replaces the stored value.
    Clear,
    /// This replaces the stored value.
    Set(T),
}

impl<T> FieldPatch<T> {
    /// The value after the patch, where `stored` is the one before; `None` is the default.
    pub fn applied_to(self, stored: Option<T>) -> Option<T> {
        match self {
            Self::Keep => stored,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

/// A connection as an import defines it.
#[derive(Debug, Clone, PartialEq)]
pub struct CxnPatch {
    /// Which connection is added or updated.
    pub cxn_id: CxnId,
    /// Shared with the site.
    pub secret: Secret,
    /// Its app. Another app than the stored one makes it a new connection.
    pub app_id: AppId,
    /// Where the app takes registrations.
    pub app_url: String,
    /// Where the site takes API calls.
    pub site_url: SiteUrl,
    /// What the site allows; `null` by default.
    pub perm: FieldPatch<Value>,
    /// The proxy; none by default.
    pub via_port: FieldPatch<ViaPort>,
    /// Only for a new connection; random by default.
    pub batch_code: Option<BatchCode>,
    /// False by default.
    pub disabled: FieldPatch<bool>,
    /// Taken where it has a later poll than the stored one.
    pub poll_status: Vec<(JobName, PollStatus)>,
}

/// The poll statuses of a stored connection as an import defines them.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusPatch {
    /// Which connection.
    pub cxn_id: CxnId,
    /// Taken where it has a later poll than the stored one.
    pub poll_status: Vec<(JobName, PollStatus)>,
}

impl CxnPatch {
    /// The entry that leads to the connection.
    pub(super) fn entry_id(&self) -> EntryId {
        (TreeName::Id, self.cxn_id.as_str().into(), Some(self.cxn_id.clone()))
    }
}

impl ReadSession {
    /// The patch that changes nothing of a connection except its poll status; `None` if it is not stored.
    ///
    /// # Errors
    /// [`Error::Database`](crate::store::Error::Database).
    pub fn patch_of(&self, status: &StatusPatch) -> Result<Option<CxnPatch>> {
        let Some(key) = self.find(&status.cxn_id)? else { return Ok(None) };
        Ok(self.cxn(key)?.map(|cxn| CxnPatch {
            cxn_id: cxn.cxn_id,
            secret: cxn.secret,
            app_id: cxn.app_id,
            app_url: cxn.app_url.to_string(),
            site_url: cxn.site_url,
            perm: FieldPatch::Keep,
            via_port: FieldPatch::Keep,
            batch_code: None,
            disabled: FieldPatch::Keep,
            poll_status: status.poll_status.clone(),
        }))
    }
}

#[cfg(test)]
impl CxnPatch {
    /// The patch of the connection `cxn:NUMBER` of `app:org.example.one`, for tests.
    #[must_use]
    pub fn sample(number: u8) -> Self {
        Self {
            cxn_id: format!("cxn:{number}").parse().unwrap(),
            secret: Secret::from_bytes([7; 32]),
            app_id: "app:org.example.one".parse().unwrap(),
            app_url: "https://app.example/".to_owned(),
            site_url: "https://site.example/".into(),
            perm: FieldPatch::Keep,
            via_port: FieldPatch::Keep,
            batch_code: None,
            disabled: FieldPatch::Keep,
            poll_status: Vec::new(),
        }
    }
}
