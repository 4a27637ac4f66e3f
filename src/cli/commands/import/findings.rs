//! What is found in an input before any of it is applied.

use std::collections::HashSet;
use std::io::BufRead;

use super::spool::Spool;
use crate::cli::error::{Error, Result};
use crate::cli::ui::progress::Progress;
use crate::model::CxnId;
use crate::store::{self, InputIndex, ReadSession, Store, TX_BATCH};
use crate::transfer::{Format, Position, Problem, Record, RecordIds, Rejected, read_records};

/// How many bad records are reported in words.
const MAX_REPORTED: usize = 10;

/// What the check of a whole input found.
#[derive(Default)]
pub(super) struct Findings {
    /// All connections.
    pub(super) input: InputIndex,
    /// All records, good and bad.
    pub(super) records: usize,
    /// The good records with a connection.
    pub(super) cxns: u64,
    /// The good records with only poll statuses.
    pub(super) statuses: u64,
    /// The numbers of the bad records.
    pub(super) rejected: HashSet<usize>,
    /// The ids in the bad records, except in statuses without a connection, which could keep none.
    pub(super) rejected_ids: HashSet<RecordIds>,
    /// The first bad records.
    reported: Vec<(Position, Problem)>,
}

impl Findings {
    /// Checks all records of an input and spools the good ones.
    ///
    /// With `needs_line_end`, a last row of CSV without a line end is bad. With `lenient`, names and URLs are accepted
    /// that only former builds accepted. `store` is `None` if there is none yet. The spool may also have records that are
    /// rejected later.
    ///
    /// # Errors
    /// Fails if the input as a whole cannot be read, or the store or the spool fails.
    pub(super) fn of(
        input: impl BufRead,
        format: Format,
        needs_line_end: bool,
        lenient: bool,
        store: Option<&Store>,
        progress: &Progress,
    ) -> Result<(Self, Spool)> {
        let mut findings = Self::default();
        let mut spool = Spool::new()?;
        let mut elsewhere = Vec::new();
        read_records(format, needs_line_end, input, &mut |position, read| {
            progress.advance(1);
            findings.records += 1;
            let accepted = read.and_then(|(record, raw)| {
                let checked = if lenient { Ok(()) } else { record.check_new() };
                let accepted = checked.and_then(|()| findings.accept(record));
                let rejected = |problem| Rejected { problem, ids: RecordIds::of(&raw) };
                accepted.map_err(rejected).map(|unknown| (unknown, raw))
            });
            match accepted {
                Ok((unknown, raw)) => {
                    elsewhere.extend(unknown.map(|cxn_id| (findings.records, position, cxn_id)));
                    spool.add(findings.records, &raw)
                }
                Err(Rejected { problem, ids }) => {
                    findings.rejected_ids.insert(ids);
                    findings.reject(findings.records, position, problem);
                    Ok::<_, Error>(())
                }
            }
        })?;
        findings.find_elsewhere(&elsewhere, store)?;
        Ok((findings, spool))
    }

    /// Counts a good record. Returns the connection of a status that is not in the input before it.
    fn accept(&mut self, record: Record) -> Result<Option<CxnId>, Problem> {
        match record {
            Record::Cxn(patch) => {
                if !self.input.insert(&patch.cxn_id, &patch.app_id) {
                    return Err(Problem::DuplicateCxn(patch.cxn_id));
                }
                self.cxns += 1;
                Ok(None)
            }
            Record::Status(status) => {
                self.statuses += 1;
                Ok((!self.input.contains(&status.cxn_id)).then_some(status.cxn_id))
            }
        }
    }

    /// Rejects statuses whose connection is neither before them in the input nor in the store.
    ///
    /// So there is no connection that they could have kept.
    fn find_elsewhere(&mut self, elsewhere: &[(usize, Position, CxnId)], store: Option<&Store>) -> Result<()> {
        for batch in elsewhere.chunks(TX_BATCH) {
            let are_stored = |session: &ReadSession| {
                let are_stored = batch.iter().map(|(_, _, cxn_id)| Ok(session.find(cxn_id)?.is_some()));
                are_stored.collect::<store::Result<Vec<bool>>>()
            };
            let are_stored = match store {
                Some(store) => store.read(are_stored)?,
                None => vec![false; batch.len()],
            };
            for ((number, position, cxn_id), _) in batch.iter().zip(are_stored).filter(|(_, is_stored)| !is_stored) {
                self.statuses -= 1;
                self.reject(*number, position.clone(), Problem::UnknownCxn(cxn_id.clone()));
            }
        }
        Ok(())
    }

    fn reject(&mut self, number: usize, position: Position, problem: Problem) {
        self.rejected.insert(number);
        if self.reported.len() < MAX_REPORTED {
            self.reported.push((position, problem));
        }
    }

    /// The number of bad records, and the first of them.
    pub(super) fn into_rejected(self) -> (usize, Vec<(Position, Problem)>) {
        (self.rejected.len(), self.reported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ui::progress::Display;
    use crate::model::Secret;
    use serde_json::json;
    use std::time::Duration;

    fn cxn(id: &str) -> String {
        let (secret, url) = (Secret::from_bytes([7; 32]).to_base64(), "https://a.example/");
        json!({"cxnId": id, "secret": secret, "appId": "app:a", "appUrl": url, "siteUrl": url}).to_string()
    }

    fn findings(text: &str, format: Format, store: Option<&Store>) -> (Findings, usize) {
        let progress = Progress::begin_of(0, "checked", Display::Hidden);
        let (findings, spool) = Findings::of(text.as_bytes(), format, true, false, store, &progress).unwrap();
        let records = spool.into_records(&findings.rejected).unwrap().count();
        (findings, records)
    }

    fn rejected(findings: Findings) -> Vec<String> {
        let (count, reported) = findings.into_rejected();
        assert_eq!(count, reported.len());
        reported.iter().map(|(position, problem)| format!("{}: {problem}", position.line)).collect()
    }

    #[test]
    fn a_connection_is_accepted_only_once() {
        let (findings, spooled) = findings(&[cxn("cxn:1"), cxn("cxn:2"), cxn("cxn:1")].join("\n"), Format::Jsonl, None);
        assert_eq!((findings.records, findings.cxns, spooled), (3, 2, 2));
        assert!(findings.input.contains(&"cxn:2".parse().unwrap()));
        assert!(!findings.input.contains(&"cxn:3".parse().unwrap()));
        assert_eq!(rejected(findings), ["3: cxn:1 occurs a second time"]);
    }

    #[test]
    fn only_the_first_bad_lines_are_reported() {
        let text = "{\n".repeat(MAX_REPORTED + 2);
        let (count, reported) = findings(&text, Format::Jsonl, None).0.into_rejected();
        assert_eq!((count, reported.len()), (MAX_REPORTED + 2, MAX_REPORTED));
        assert_eq!(reported[0].1, Problem::Incomplete);
    }

    #[test]
    fn a_status_needs_a_connection_before_it_or_in_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store"), Duration::from_secs(10)).unwrap();
        let stored = crate::transfer::parse(&cxn("cxn:stored")).unwrap();
        store.write(|session| session.upsert(&[stored], false)).unwrap();
        let secret = Secret::from_bytes([7; 32]).to_base64();
        let cxns = format!("cxnId\tsecret\tappId\tappUrl\tsiteUrl\ncxn:1\t{secret}\tapp:a\thttps://a/\thttps://b/\n");
        let status = |id: &str| format!("{id}\tdefault\t0\t0\t7\n");
        let header = "cxnId\tjobName\tpollLevel\tpollCount\tlastRun\n";
        let text = [&cxns, header, &status("cxn:1"), &status("cxn:stored"), &status("cxn:unknown")].concat();
        let (with_store, spooled) = findings(&text, Format::Tsv, Some(&store));
        assert_eq!((with_store.cxns, with_store.statuses, spooled), (1, 2, 3));
        assert_eq!(rejected(with_store), ["6: there is no connection cxn:unknown"]);
        let (without_store, spooled) = findings(&text, Format::Tsv, None);
        assert_eq!((without_store.statuses, without_store.rejected.len(), spooled), (1, 2, 2));
    }
}
