//! Checking a whole store, and repairing what can be derived.

use super::finding::{Finding, Reported, Rule};
use super::{history, kept_results, rules};
use crate::model::CxnId;
use crate::store::engine::{TreeName, Write};
use crate::store::error::{Error, Result};
use crate::store::history::History;
use crate::store::schema::{CxnKey, WriteSession};
use crate::store::sessions::Sessions;
use crate::util::time::unix_now;

/// The result of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Check {
    /// How many entries there are.
    pub counts: Counts,
    /// How many faults were found.
    pub faults: u64,
    /// How many of them were repaired.
    pub repaired: u64,
    /// The first of them, one sentence each.
    pub first_faults: Vec<String>,
    /// How many kept results belong to no connection. Removals leave them now and then, so they are no faults.
    pub orphaned_results: u64,
    /// The size of all keys and values in bytes.
    pub live_bytes: u64,
    /// The size of the database's file in bytes.
    pub file_bytes: u64,
}

/// How many entries the trees hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Connections by their cxnId.
    pub ids: u64,
    /// Connections.
    pub cxns: u64,
    /// Poll statuses.
    pub statuses: u64,
    /// Entries of the due index.
    pub due: u64,
}

/// How many faults of one entry are repaired.
const MAX_REPAIRS_PER_ENTRY: usize = 8;
/// How many faults are described.
const MAX_REPORTED: usize = 20;
/// A new database takes about this many bytes for each byte of keys and values…
const FRESH_FACTOR: u64 = 2;
/// …and never less than some segments of sled's log.
const MIN_FILE_BYTES: u64 = 8 << 20;

/// The number that counts a tree's entries.
type Counter = fn(&mut Counts) -> &mut u64;

/// The trees whose entries are checked one by one, with their rules.
const RULES: [(TreeName, Counter, Rule); 4] = [
    (TreeName::Id, |counts| &mut counts.ids, rules::id),
    (TreeName::Cxn, |counts| &mut counts.cxns, rules::cxn),
    (TreeName::Status, |counts| &mut counts.statuses, rules::status),
    (TreeName::Due, |counts| &mut counts.due, rules::due),
];

impl Check {
    fn add(&mut self, finding: Reported) {
        self.faults += 1;
        self.repaired += u64::from(finding.repaired);
        if self.first_faults.len() < MAX_REPORTED {
            self.first_faults.push(finding.what);
        }
    }

    /// Whether compacting would make the file half as large or less.
    #[must_use]
    pub fn compacting_pays(&self) -> bool {
        self.file_bytes > 2 * (self.live_bytes * FRESH_FACTOR).max(MIN_FILE_BYTES)
    }
}

/// Checks a store, and with `repair` repairs what can be derived from the rest.
///
/// Every cxnId must lead to its connection and back. Every connection must have a status for each job whose backfill has
/// passed it, every status its connection and its one entry in the due index, and every entry its status. Numbers and
/// names must agree, and every record, kept result and entry of history must be readable. Kept results of no connection are
/// counted. What cannot be read is copied to quarantine before it is removed.
///
/// Works in batches. Each fault is found and repaired within one session, so that other commands do not interfere.
///
/// # Errors
/// Those of [`Sessions::write`]; a fault is not an error.
pub fn check(sessions: &Sessions, repair: bool) -> Result<Check> {
    let mut check = Check::default();
    sessions.locks.lock_shared(|| {
        let meta = |session: &WriteSession| {
            rules::meta(session, |finding| {
                check.add(report(sessions, session, finding, repair)?);
                Ok(())
            })
        };
        sessions.write(meta)?;
        for (tree, counter, rule) in RULES {
            let read = |session: &WriteSession, key: &[u8], value: &[u8]| {
                let findings = check_entry(sessions, session, (tree, rule), (key, value), repair)?;
                Ok(Some(((key.len() + value.len()) as u64, findings)))
            };
            sessions.scan_in_batches(tree, &[], read, |(bytes, findings)| {
                *counter(&mut check.counts) += 1;
                check.live_bytes += bytes;
                for finding in findings {
                    check.add(finding);
                }
                Ok::<_, Error>(())
            })?;
        }
        check.orphaned_results = kept_results::check(sessions, repair, |finding| check.add(finding))?;
        history::check(sessions, repair, |finding| check.add(finding))?;
        check.file_bytes = sessions.layout.file_size()?;
        Ok::<_, Error>(())
    })?;
    Ok(check)
}

/// Checks one entry. After a repair it is checked again, since a rule reports the first fault only.
fn check_entry(
    sessions: &Sessions,
    session: &WriteSession,
    (tree, rule): (TreeName, Rule),
    (key, value): (&[u8], &[u8]),
    repair: bool,
) -> Result<Vec<Reported>> {
    let mut findings = Vec::new();
    let mut found = rule(session, key, value)?;
    while let Some(finding) = found {
        let reported = report(sessions, session, finding, repair)?;
        let again = reported.repaired && findings.len() + 1 < MAX_REPAIRS_PER_ENTRY;
        findings.push(reported);
        found = match session.get(tree, key)? {
            Some(value) if again => rule(session, key, &value)?,
            _ => None,
        };
    }
    Ok(findings)
}

/// Repairs a finding, if that is asked for and possible.
fn report(sessions: &Sessions, session: &WriteSession, finding: Finding, repair: bool) -> Result<Reported> {
    let Finding { what, repair: done, writes, quarantine } = finding;
    if !repair || writes.is_empty() {
        return Ok(Reported { what, repaired: false });
    }
    if !quarantine.is_empty() {
        sessions.layout.quarantine(&quarantine)?;
    }
    let losses = session.losses(&lost_cxns(session, &writes)?, unix_now())?;
    let history = History::new(sessions.source.history());
    history.append_all(session, history.frames_of(losses)?)?;
    session.trees.apply(&writes)?;
    Ok(Reported { what: format!("{what} (repaired: {done})"), repaired: true })
}

/// The connections that cannot be read and lose their cxnIds by these writes. Later ones remove the rest of them.
fn lost_cxns(session: &WriteSession, writes: &[Write]) -> Result<Vec<(CxnKey, CxnId)>> {
    let mut lost = Vec::new();
    for name in
        writes.iter().filter(|write| write.tree == TreeName::Id && write.value.is_none()).map(|write| &write.key)
    {
        let Some(key) = rules::key_of(session, name)? else { continue };
        if rules::readable_cxn(session, key)?.is_none() {
            let cxn_id = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
            lost.extend(cxn_id.map(|cxn_id| (key, cxn_id)));
        }
    }
    Ok(lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compacting_pays_where_it_halves_the_file() {
        let check = |live_bytes, file_bytes| Check { live_bytes, file_bytes, ..Check::default() };
        assert!(!check(0, 16 << 20).compacting_pays() && check(0, (16 << 20) + 1).compacting_pays());
        assert!(!check(10 << 20, 40 << 20).compacting_pays() && check(10 << 20, (40 << 20) + 1).compacting_pays());
    }
}
