//! Deleting a connection.

use crate::model::CxnId;
use crate::store::engine::{TreeName, Tx, TxResult, Write};
use crate::store::error::Result;
use crate::store::schema::{
    CxnKey, CxnRecord, DueKey, IdRecord, JobNo, ReadSession, Record, WriteSession, delete_status, parse_status_key,
    read_status,
};

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

fn leads_to(value: &[u8], key: CxnKey) -> bool {
    IdRecord::from_bytes(value).and_then(CxnKey::try_from) == Ok(key)
}

/// The cxnId of a stored connection, also if its record cannot be read; `None` if nothing leads to it.
///
/// # Errors
/// Those of the database.
pub fn cxn_id_of(session: &ReadSession, key: CxnKey) -> Result<Option<CxnId>> {
    let known = session.known_cxn_id(key);
    if known.is_some() || !session.trees.contains(TreeName::Cxn, &key.to_bytes())? {
        return Ok(known);
    }
    for entry in session.trees.entries(TreeName::Id, &[], None) {
        let (name, value) = entry?;
        if leads_to(&value, key) {
            return Ok(std::str::from_utf8(&name).ok().and_then(|name| name.parse().ok()));
        }
    }
    Ok(None)
}

/// Deletes a connection of which something cannot be read; returns whether it was there.
///
/// All entries are searched for those that belong to it.
///
/// # Errors
/// Those of the database.
pub fn delete_damaged(session: &WriteSession, key: CxnKey) -> Result<bool> {
    if !session.trees.contains(TreeName::Cxn, &key.to_bytes())? {
        return Ok(false);
    }
    let mut writes = vec![Write::remove(TreeName::Cxn, key.to_bytes())];
    // Its own entry may be unreadable, too.
    writes.extend(session.known_cxn_id(key).map(|cxn_id| Write::remove(TreeName::Id, cxn_id.as_str())));
    for tree in [TreeName::Id, TreeName::Status, TreeName::Due] {
        for entry in session.trees.entries(tree, &[], None) {
            let (name, value) = entry?;
            let belongs = match tree {
                TreeName::Id => leads_to(&value, key),
                TreeName::Due => DueKey::parse(&name).is_some_and(|due| due.locator == key.locator),
                _ => parse_status_key(&name).is_some_and(|(_, locator)| locator == key.locator),
            };
            if belongs {
                writes.push(Write::remove(tree, &*name));
            }
        }
    }
    session.trees.apply(&writes)?;
    Ok(true)
}
