//! Whether what the trees say of one another agrees, and mending what can be derived.

use sled::IVec;

use super::Store;
use super::judge::{self, Fault, Judge};
use super::session::{Session, TreeName};
use crate::error::Result;

/// What a check of the store found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Check {
    /// How much there is.
    pub counts: Counts,
    /// How many faults were found.
    pub faults: u64,
    /// How many of them were mended.
    pub mended: u64,
    /// The first of them, a sentence each.
    pub first_faults: Vec<String>,
    /// Bytes of all keys and values.
    pub live_bytes: u64,
    /// Bytes of the database's file.
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

/// A fault that was found, in words.
struct Found {
    what: String,
    mended: bool,
}

/// How many faults of one entry are mended.
const AT_MOST: usize = 8;
/// How many faults are told in words.
const TOLD: usize = 20;
/// A fresh database takes about so many bytes for each byte of keys and values…
const FRESH: u64 = 2;
/// …and never less than some segments.
const SMALLEST: u64 = 8 << 20;

impl Check {
    fn note(&mut self, found: Found) {
        self.faults += 1;
        self.mended += u64::from(found.mended);
        if self.first_faults.len() < TOLD {
            self.first_faults.push(found.what);
        }
    }

    /// Whether compacting would make the file half as large or less.
    #[must_use]
    pub fn compacting_pays(&self) -> bool {
        self.file_bytes > 2 * (self.live_bytes * FRESH).max(SMALLEST)
    }
}

impl Store {
    /// Checks that every cxnId leads to its connection and back, every connection has a status for each job that has
    /// reached it, every status has its connection and its one entry in the due index, every entry its status, that
    /// numbers and names agree, and that every record can be read. With `repair`, what can be derived from the rest is
    /// mended; what can't be read is copied to `kept/set-aside.jsonl` before it is removed.
    ///
    /// Goes in slices; each fault is found and mended within one session, and so safe from other commands.
    ///
    /// # Errors
    /// Those of [`Store::session`]; faults are no error.
    pub fn check(&self, repair: bool) -> Result<Check> {
        let mut check = Check::default();
        self.in_use(|| {
            let found = |session: &Session| {
                judge::meta(session)?.into_iter().map(|fault| self.mend(session, fault, repair)).collect()
            };
            let found: Vec<_> = self.session(found)?;
            for found in found {
                check.note(found);
            }
            for (tree, count, judge) in [
                (TreeName::Id, (|c| &mut c.ids) as fn(&mut Counts) -> &mut u64, judge::id as Judge),
                (TreeName::Cxn, |c| &mut c.cxns, judge::cxn),
                (TreeName::Status, |c| &mut c.statuses, judge::status),
                (TreeName::Due, |c| &mut c.due, judge::due),
            ] {
                let read = |session: &Session, key: &[u8], value: &[u8]| {
                    let bytes = (key.len() + value.len()) as u64;
                    let mut found = Vec::new();
                    let mut value = Some(value.into());
                    // What is mended may have been the first fault of several.
                    while let Some(fault) = value.map(|value: IVec| judge(session, key, &value)).transpose()?.flatten()
                    {
                        found.push(self.mend(session, fault, repair)?);
                        let again = found.last().is_some_and(|one| one.mended) && found.len() < AT_MOST;
                        value = if again { session.tree(tree).get(key)? } else { None };
                    }
                    Ok(Some((bytes, found)))
                };
                self.paged(tree, &[], read, |(bytes, found)| {
                    *count(&mut check.counts) += 1;
                    check.live_bytes += bytes;
                    for found in found {
                        check.note(found);
                    }
                    Ok(())
                })?;
            }
            check.file_bytes = self.file_size()?;
            Ok(())
        })?;
        Ok(check)
    }

    /// Mends a fault, if that is asked for and possible.
    fn mend(&self, session: &Session, fault: Fault, repair: bool) -> Result<Found> {
        if !repair || fault.writes.is_empty() {
            return Ok(Found { what: fault.what, mended: false });
        }
        if !fault.aside.is_empty() {
            self.folder.set_aside(&fault.aside)?;
        }
        session.write(&fault.writes)?;
        Ok(Found { what: format!("{} (mended: {})", fault.what, fault.done), mended: true })
    }
}
