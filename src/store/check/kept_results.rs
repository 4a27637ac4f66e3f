//! The rule of the database of kept results.

use std::collections::BTreeMap;

use sled::IVec;

use super::finding::{Reported, entry_json};
use crate::store::engine::TreeName;
use crate::store::error::{Error, Result};
use crate::store::results::{self, cxn_of};
use crate::store::sessions::Sessions;

/// Checks that every kept result can be read, and returns how many have no connection.
///
/// `repair` removes both. Those that cannot be read are copied to quarantine. Goes in parts: one session reads results, one
/// of the store looks for their connections, and one removes results. None holds the locks of both databases. A result
/// that a run keeps meanwhile has another key, and stays.
///
/// # Errors
/// Those of the sessions. A database of results that does not work is a fault, because the store works without it.
pub(super) fn check(sessions: &Sessions, repair: bool, mut emit: impl FnMut(Reported)) -> Result<u64> {
    match check_parts(sessions, repair, &mut emit) {
        Err(Error::Results { .. } | Error::ResultsFile { .. }) => {
            emit(Reported { what: "the database of kept results cannot be used".to_owned(), repaired: false });
            Ok(0)
        }
        checked => checked,
    }
}

fn check_parts(sessions: &Sessions, repair: bool, emit: &mut impl FnMut(Reported)) -> Result<u64> {
    let mut orphans = 0;
    let mut after: Option<IVec> = None;
    loop {
        let part = results::read_part(sessions, after.as_deref())?;
        let mut removed: Vec<IVec> = Vec::new();
        let mut of_cxn: BTreeMap<_, Vec<IVec>> = BTreeMap::new();
        for key in &part.keys {
            // A key without a cxnId belongs to an entry that cannot be read.
            if let Some(cxn_id) = cxn_of(key) {
                of_cxn.entry(cxn_id.to_string()).or_default().push(key.clone());
            }
        }
        let stored = sessions.read(|session| {
            let exists = |cxn_id: &String| session.trees.contains(TreeName::Id, cxn_id.as_bytes());
            let quarantine: Vec<_> =
                part.unreadable.iter().map(|(key, value)| entry_json("Results", key, value)).collect();
            if repair && !quarantine.is_empty() {
                sessions.layout.quarantine(&quarantine)?;
            }
            of_cxn.keys().map(exists).collect::<Result<Vec<bool>>>()
        })?;
        for (key, _) in &part.unreadable {
            let owner = cxn_of(key).map_or_else(|| "an unknown connection".to_owned(), |cxn_id| cxn_id.to_string());
            let repaired = if repair { " (repaired: moved to quarantine)" } else { "" };
            emit(Reported { what: format!("a kept result of {owner} cannot be read{repaired}"), repaired: repair });
            removed.push(key.clone());
        }
        for ((_, keys), _) in of_cxn.into_iter().zip(stored).filter(|(_, is_stored)| !is_stored) {
            orphans += keys.len() as u64;
            removed.extend(keys);
        }
        if repair {
            results::delete_entries(sessions, &removed)?;
        }
        if part.is_last {
            return Ok(orphans);
        }
        after = part.keys.last().cloned();
    }
}
