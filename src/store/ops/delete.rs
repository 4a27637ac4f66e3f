//! Deleting a connection.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::model::{CxnId, UnixTime};
use crate::store::engine::{TreeName, Tx, TxResult, Write};
use crate::store::error::{Result, if_readable};
use crate::store::history::{CxnHash, JobTransition, SiteTransition};
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

/// Stored connections with their cxnIds, also if their records cannot be read. Those to which nothing leads are left out.
///
/// # Errors
/// Those of the database.
pub fn cxn_ids_of(session: &ReadSession, keys: &[CxnKey]) -> Result<Vec<(CxnKey, CxnId)>> {
    let (mut ids, mut unknown) = (Vec::new(), HashSet::new());
    for key in keys {
        match session.known_cxn_id(*key) {
            Some(cxn_id) => ids.push((*key, cxn_id)),
            None if session.trees.contains(TreeName::Cxn, &key.to_bytes())? => _ = unknown.insert(*key),
            None => {}
        }
    }
    if !unknown.is_empty() {
        for entry in session.trees.entries(TreeName::Id, &[], None) {
            let (name, value) = entry?;
            if let Some(key) = leads_to(&value).filter(|key| unknown.contains(key)) {
                let cxn_id = std::str::from_utf8(&name).ok().and_then(|name| name.parse().ok());
                ids.extend(cxn_id.map(|cxn_id| (key, cxn_id)));
            }
        }
    }
    Ok(ids)
}

impl ReadSession {
    /// The transitions of connections that go away at `now`, for each job that has polled them.
    ///
    /// What cannot be read is left out.
    ///
    /// # Errors
    /// Those of the database.
    pub fn losses(&self, cxns: &[(CxnKey, CxnId)], now: UnixTime) -> Result<Vec<JobTransition>> {
        let (mut apps, mut losses) = (HashMap::new(), Vec::new());
        for (key, cxn_id) in cxns {
            let of_app = match apps.entry(key.app) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let app_id = if_readable(self.app_id(key.app))?;
                    entry.insert((app_id, self.jobs(Some(key.app))?))
                }
            };
            let (Some(app_id), jobs) = &*of_app else { continue };
            for job in jobs {
                let status = if_readable(self.status(job.no, key.locator))?.flatten();
                let transition = status.and_then(|status| job.loss(key.locator.batch_code, &status, now));
                losses.extend(transition.map(|transition| {
                    let cxn = CxnHash::from(cxn_id);
                    ((app_id.clone(), job.name.clone()), SiteTransition { cxn, host: None, transition })
                }));
            }
        }
        Ok(losses)
    }
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
