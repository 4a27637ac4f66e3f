//! Applying checked records to the store, or comparing them with it.

use std::time::Instant;

use crate::cli::error::{Error, Result};
use crate::cli::ui::progress::Progress;
use crate::store::{self, Audit, Change, CxnPatch, ReadSession, SLICE, Store, TX_BATCH, WriteSession};
use crate::transfer::Record;

/// How many connections an import changes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) added: u64,
    pub(super) updated: u64,
    pub(super) unchanged: u64,
    pub(super) removed: u64,
}

impl Counts {
    fn add(&mut self, change: Change) {
        *match change {
            Change::Added => &mut self.added,
            Change::Updated | Change::Moved => &mut self.updated,
            Change::Unchanged => &mut self.unchanged,
        } += 1;
    }
}

/// Adds and updates connections, in slices so that other processes get the store in between.
///
/// With `force`, poll statuses are written even if the stored one is newer. History gets the changes, with `audit`.
pub(super) fn apply(
    store: &Store,
    mut records: impl Iterator<Item = Result<Record>> + Send,
    force: bool,
    audit: &Audit,
    progress: &Progress,
) -> Result<Counts> {
    let (history, mut counts) = (store.history(), Counts::default());
    loop {
        let mut slice = |session: &WriteSession| {
            let upsert = |patches: &[CxnPatch]| session.import(&history, patches, force, audit);
            // A connection that is gone since the check has no status to update.
            apply_slice(session, &mut records, upsert, Change::Unchanged, &mut counts, progress)
        };
        if store.write(|session| Ok(slice(session)))?? {
            return Ok(counts);
        }
    }
}

/// Counts what [`apply`] would change, without changing anything.
pub(super) fn compare(
    store: &Store,
    mut records: impl Iterator<Item = Result<Record>> + Send,
    force: bool,
    progress: &Progress,
) -> Result<Counts> {
    let mut counts = Counts::default();
    loop {
        let mut slice = |session: &ReadSession| {
            let diff = |patches: &[CxnPatch]| session.diff(patches, force);
            // A status of a connection that is not stored belongs to one that would be added.
            apply_slice(session, &mut records, diff, Change::Updated, &mut counts, progress)
        };
        if store.read(|session| Ok(slice(session)))?? {
            return Ok(counts);
        }
    }
}

/// Handles records for the length of a slice. Returns whether there are no more.
fn apply_slice(
    session: &ReadSession,
    records: &mut impl Iterator<Item = Result<Record>>,
    mut put: impl FnMut(&[CxnPatch]) -> store::Result<Vec<Change>>,
    status_without_cxn: Change,
    counts: &mut Counts,
    progress: &Progress,
) -> Result<bool> {
    let started = Instant::now();
    while started.elapsed() < SLICE {
        let batch = records.take(TX_BATCH).collect::<Result<Vec<_>>>()?;
        let is_last = batch.len() < TX_BATCH;
        progress.advance(batch.len());
        apply_batch(session, batch, &mut put, status_without_cxn, counts)?;
        if is_last {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Handles records in their order, since a status may belong to a connection just before it.
fn apply_batch(
    session: &ReadSession,
    batch: Vec<Record>,
    mut put: impl FnMut(&[CxnPatch]) -> store::Result<Vec<Change>>,
    status_without_cxn: Change,
    counts: &mut Counts,
) -> Result<(), Error> {
    let mut patches = Vec::with_capacity(batch.len());
    let mut are_statuses = false;
    for record in batch {
        if are_statuses != matches!(record, Record::Status(_)) {
            put(&patches)?.into_iter().for_each(|change| counts.add(change));
            patches.clear();
            are_statuses = !are_statuses;
        }
        match record {
            Record::Cxn(patch) => patches.push(*patch),
            Record::Status(status) => match session.patch_of(&status)? {
                Some(patch) => patches.push(patch),
                None => counts.add(status_without_cxn),
            },
        }
    }
    put(&patches)?.into_iter().for_each(|change| counts.add(change));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ui::progress::Display;
    use crate::model::{PollStatus, Secret};
    use crate::store::StatusPatch;
    use std::time::Duration;

    fn cxn(number: usize) -> Record {
        let secret = Secret::from_bytes([7; 32]).to_base64();
        let url = "https://a.example/";
        let object = serde_json::json!({
            "cxnId": format!("cxn:{number}"), "secret": secret, "appId": "app:a", "appUrl": url, "siteUrl": url,
        });
        Record::Cxn(Box::new(crate::transfer::parse(&object.to_string()).unwrap()))
    }

    fn status(number: usize, last_run: i64) -> Record {
        let status = PollStatus { last_run, ..PollStatus::default() };
        let poll_status = vec![("default".parse().unwrap(), status)];
        Record::Status(StatusPatch { cxn_id: format!("cxn:{number}").parse().unwrap(), poll_status })
    }

    #[test]
    fn a_comparison_counts_what_an_import_changes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store"), Duration::from_secs(10)).unwrap();
        let audit = Audit { user: "root".into(), detail: "jsonl".into() };
        let progress = Progress::begin_of(0, "imported", Display::Hidden);
        let last = TX_BATCH + 1;
        let input = |last_run: i64| {
            let records = (0..=last).map(cxn).chain([status(0, last_run), cxn(last + 1), status(last, 5)]);
            records.map(Ok)
        };
        let counts = |added, updated, unchanged| Counts { added, updated, unchanged, removed: 0 };
        let all = last as u64 + 2;
        for (last_run, expected) in
            [(7, counts(all, 2, 0)), (7, counts(0, 0, all + 2)), (8, counts(0, 1, all + 1)), (6, counts(0, 0, all + 2))]
        {
            assert_eq!(compare(&store, input(last_run), false, &progress).unwrap(), expected, "{last_run}");
            assert_eq!(apply(&store, input(last_run), false, &audit, &progress).unwrap(), expected, "{last_run}");
        }
        assert_eq!(compare(&store, input(6), true, &progress).unwrap(), counts(0, 1, all + 1));
        assert_eq!(apply(&store, input(6), true, &audit, &progress).unwrap(), counts(0, 1, all + 1));
    }
}
