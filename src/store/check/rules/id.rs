//! The rule of the tree `id`.

use crate::store::check::finding::Finding;
use crate::store::engine::{TreeName, Write};
use crate::store::error::Result;
use crate::store::schema::{CxnKey, IdRecord, ReadSession, Record};

use super::cxn::readable_cxn;

/// A cxnId leads to its connection.
///
/// A connection that is found by no cxnId gets its entry back when it is checked itself.
pub fn id(session: &ReadSession, key: &[u8], value: &[u8]) -> Result<Option<Finding>> {
    let name = String::from_utf8_lossy(key);
    let finding =
        |what: String, repair| Ok(Some(Finding::repairable(what, repair, vec![Write::remove(TreeName::Id, key)])));
    let Some(at) = IdRecord::from_bytes(value).ok().and_then(|record| CxnKey::try_from(record).ok()) else {
        return finding(format!("the number of {name} cannot be read"), "the entry is removed");
    };
    match readable_cxn(session, at)? {
        Some(cxn) if cxn.cxn_id.as_bytes() == key => Ok(None),
        Some(_) => finding(format!("{name} leads to another connection"), "the entry is removed"),
        None => finding(
            format!("{name} leads to no connection"),
            "the entry is removed; import the connection again, or restore a backup",
        ),
    }
}
