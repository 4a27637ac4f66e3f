//! Deleting a connection.

use std::collections::HashSet;

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

fn leads_to(value: &[u8]) -> Option<CxnKey> {
    IdRecord::from_bytes(value).and_then(CxnKey::try_from).ok()
}

/// The cxnIds of stored connections, also if their records cannot be read. Those to which nothing leads are left out.
///
/// # Errors
/// Those of the database.
pub fn cxn_ids_of(session: &ReadSession, keys: &[CxnKey]) -> Result<Vec<CxnId>> {
    let (mut ids, mut unknown) = (Vec::new(), HashSet::new());
    for key in keys {
        match session.known_cxn_id(*key) {
            Some(cxn_id) => ids.push(cxn_id),
            None if session.trees.contains(TreeName::Cxn, &key.to_bytes())? => _ = unknown.insert(*key),
            None => {}
        }
    }
    if !unknown.is_empty() {
        for entry in session.trees.entries(TreeName::Id, &[], None) {
            let (name, value) = entry?;
            if leads_to(&value).is_some_and(|key| unknown.contains(&key)) {
                ids.extend(std::str::from_utf8(&name).ok().and_then(|name| name.parse().ok()));
            }
        }
    }
    Ok(ids)
}

/// Deletes connections of which something cannot be read.
///
/// All entries are searched once for those that belong to them.
///
/// # Errors
/// Those of the database.
pub fn delete_damaged(session: &WriteSession, keys: &HashSet<CxnKey>) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let locators: HashSet<_> = keys.iter().map(|key| key.locator).collect();
    let mut writes = Vec::new();
    for key in keys {
        writes.push(Write::remove(TreeName::Cxn, key.to_bytes()));
        // Its own entry may be unreadable, too.
        writes.extend(session.known_cxn_id(*key).map(|cxn_id| Write::remove(TreeName::Id, cxn_id.as_str())));
    }
    for tree in [TreeName::Id, TreeName::Status, TreeName::Due] {
        for entry in session.trees.entries(tree, &[], None) {
            let (name, value) = entry?;
            let belongs = match tree {
                TreeName::Id => leads_to(&value).is_some_and(|key| keys.contains(&key)),
                TreeName::Due => DueKey::parse(&name).is_some_and(|due| locators.contains(&due.locator)),
                _ => parse_status_key(&name).is_some_and(|(_, locator)| locators.contains(&locator)),
            };
            if belongs {
                writes.push(Write::remove(tree, &*name));
            }
        }
    }
    session.trees.apply(&writes)
}
