//! Loading connections.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::time::Instant;

use super::due::DueEntry;
use crate::model::{Cxn, CxnId, PollStatus, UnixTime};
use crate::retry::Policy;
use crate::store::engine::TreeName;
use crate::store::error::{Error, Item, Result};
use crate::store::history::CxnHash;
use crate::store::schema::{
    AppNo, CxnKey, CxnLocator, DueBucket, HostHash, Job, ReadSession, Statuses, WriteSession, bucket_prefix,
    bucket_range, decode_cxn,
};
use crate::store::sessions::{SLICE, Sessions};

/// How often all connections are scanned at most, if some were added or moved to another app meanwhile.
///
/// Without a limit, the scans would not end while sites register.
const MAX_SCANS: u8 = 3;

/// A connection that is due, with everything that polling it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct PollTask {
    /// Which connection it is.
    pub locator: CxnLocator,
    /// The hash of its host, as the due index knows it.
    pub host: HostHash,
    /// Since when it is due; 0 if it is new.
    pub due: UnixTime,
    /// How late it is, in thousandths of its period.
    pub permille_late: u32,
    /// The connection.
    pub cxn: Cxn,
    /// Its status when it was loaded. An outcome is recorded only if it is still the same.
    pub status: PollStatus,
}

impl ReadSession {
    /// Loads connections that were selected, if they still can be polled at `now`.
    ///
    /// Those that are gone, disabled, no longer due or unreadable are left out. Without `now`, a connection need not be due.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn load(
        &self,
        job: &Job,
        policy: &Policy,
        now: Option<UnixTime>,
        selected: &[DueEntry],
    ) -> Result<Vec<PollTask>> {
        let mut tasks = Vec::with_capacity(selected.len());
        for entry in selected {
            if let Some(task) = self.task(job.app, Some(job), entry)?
                && !task.cxn.disabled
                && now.is_none_or(|now| policy.is_due(&task.status, now))
            {
                tasks.push(task);
            }
        }
        Ok(tasks)
    }

    /// A connection with its status for a job, new if it has none.
    ///
    /// `None` if the connection is gone, or if one of them cannot be read and is skipped.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn task(&self, app: AppNo, job: Option<&Job>, entry: &DueEntry) -> Result<Option<PollTask>> {
        let DueEntry { locator, host, due, permille_late } = *entry;
        let key = CxnKey { app, locator };
        let Some(cxn) = self.cxn(key)? else { return Ok(None) };
        let status = match job {
            Some(job) => self.readable_status(job.no, key)?,
            None => Some(None),
        };
        Ok(status.map(Option::unwrap_or_default).map(|status| {
            // See `Policy::when_due`.
            PollTask { locator, host, due: due.max(status.last_run), permille_late, cxn, status }
        }))
    }

    /// A connection with its statuses, without those of jobs that never polled it.
    ///
    /// `None` if it is gone, or if it cannot be read and is skipped.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn connection(&self, key: CxnKey) -> Result<Option<(Cxn, Statuses)>> {
        let Some(cxn) = self.cxn(key)? else { return Ok(None) };
        Ok(Some((cxn, self.statuses(key)?)))
    }

    /// Passes the connections at levels of a range to `emit`, with their statuses for a job.
    ///
    /// Deferred ones are among them. Those that are disabled are left out, and so are those whose entry cannot be read. Begins at
    /// `first`, or with the first of them, and works for about half a second. Returns where to continue; `None` if all were passed.
    ///
    /// # Errors
    /// [`Error::Database`](crate::store::Error::Database).
    pub fn at_levels(
        &self,
        job: &Job,
        levels: Range<u32>,
        first: Option<&[u8]>,
        mut emit: impl FnMut(&PollTask),
    ) -> Result<Option<Vec<u8>>> {
        let began = Instant::now();
        let at_level =
            [levels.start, levels.end].map(|level| bucket_prefix(job.no, DueBucket::Level(level), 0).to_vec());
        let deferred = bucket_range(job.no, DueBucket::Deferred, &(0..=UnixTime::MAX));
        for [start, end] in [at_level, deferred] {
            let start = first.unwrap_or_default().max(&start);
            if start >= &end[..] {
                continue;
            }
            for entry in self.trees.range(TreeName::Due, start, &end) {
                let (key, value) = entry?;
                if began.elapsed() > SLICE {
                    return Ok(Some(key.to_vec()));
                }
                let Some((key, record, _)) = self.due_entry(job.app, &key, &value)? else { continue };
                let entry = DueEntry { locator: key.locator, host: 0, due: 0, permille_late: 0 };
                if levels.contains(&record.level)
                    && let Some(task) = self.task(job.app, Some(job), &entry)?
                {
                    emit(&task);
                }
            }
        }
        Ok(None)
    }
}

/// The keys of the connections that history knows by these hashes. Those that are gone are missing.
///
/// This reads the ids of all connections, in batches.
///
/// # Errors
/// Those of [`Sessions::read`].
pub fn find_hashed(sessions: &Sessions, wanted: &BTreeSet<CxnHash>) -> Result<HashMap<CxnHash, CxnKey>> {
    let mut found = HashMap::new();
    let read = |session: &WriteSession, name: &[u8], _: &[u8]| {
        let cxn_id = str::from_utf8(name).ok().and_then(|name| name.parse::<CxnId>().ok());
        let hashed = cxn_id.map(|cxn_id| (CxnHash::from(&cxn_id), cxn_id));
        let Some((hash, cxn_id)) = hashed.filter(|(hash, _)| wanted.contains(hash)) else { return Ok(None) };
        Ok(session.find(&cxn_id)?.map(|key| (hash, key)))
    };
    sessions.scan_in_batches(TreeName::Id, &[], read, |(hash, key)| {
        found.insert(hash, key);
        Ok::<_, Error>(())
    })?;
    Ok(found)
}

/// Passes every connection to `emit`, with its statuses except those of jobs that never polled it.
///
/// What cannot be read is skipped. Works in batches. A connection that is added meanwhile may be passed too; one that is
/// moved to another app meanwhile may be passed twice, and one that is moved three times may be missing.
///
/// # Errors
/// Those of `emit` and of [`Sessions::read`].
pub fn for_each_cxn<E: From<Error>>(
    sessions: &Sessions,
    mut emit: impl FnMut(CxnKey, Cxn, Statuses) -> Result<(), E>,
) -> Result<(), E> {
    scan_cxns(
        sessions,
        |key, cxn, statuses| Some((key, cxn, statuses)),
        |(key, cxn, statuses)| emit(key, cxn, statuses),
    )
}

/// As [`for_each_cxn`], but calls `count` in the sessions, so that it takes little memory.
///
/// # Errors
/// Those of [`Sessions::read`].
pub fn count_cxns(sessions: &Sessions, mut count: impl FnMut(CxnKey, Cxn, Statuses) + Send) -> Result<()> {
    let read = |key, cxn, statuses| {
        count(key, cxn, statuses);
        None::<()>
    };
    scan_cxns(sessions, read, |()| Ok::<_, Error>(()))
}

fn scan_cxns<T: Send, E: From<Error>>(
    sessions: &Sessions,
    mut read: impl FnMut(CxnKey, Cxn, Statuses) -> Option<T> + Send,
    mut emit: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    sessions.locks.lock_shared(|| {
        let mut from = 0;
        for _ in 0..MAX_SCANS {
            // A connection that moves to another app gets a new number, and is found in the next scan.
            let to = sessions.read(ReadSession::cxn_count_upper_bound)?;
            if from == to {
                break;
            }
            let read = |session: &WriteSession, key: &[u8], value: &[u8]| {
                let parsed = CxnKey::parse(key).ok_or(Item::Key.into());
                let Some(key) = session.skip(parsed, || (TreeName::Cxn, key.to_vec(), None))? else { return Ok(None) };
                if !(from..to).contains(&key.locator.seq) {
                    return Ok(None);
                }
                let entry_id = || session.entry_id(TreeName::Cxn, &key.to_bytes(), key);
                let Some(cxn) = session.skip(decode_cxn(session, key, value), entry_id)? else { return Ok(None) };
                Ok(read(key, cxn, session.statuses(key)?))
            };
            sessions.scan_in_batches(TreeName::Cxn, &[], read, &mut emit)?;
            from = to;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{Failure, FailureClass, JobName};
    use crate::store::ops::upsert::CxnPatch;
    use crate::store::schema::DueKey;
    use crate::store::{StatusUpdate, Store};

    #[test]
    fn a_scan_ends_although_connections_are_added_all_the_time() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store"), Duration::from_secs(10)).unwrap();
        let add = |number| store.write(|session| session.upsert(&[CxnPatch::sample(number)], false)).map(drop);
        add(0).unwrap();
        let mut passed = 0;
        let emit = |_, _, _| {
            passed += 1;
            assert!(passed < 50, "no end");
            add(passed)
        };
        store.for_each_cxn(emit).unwrap();
        assert_eq!(passed, MAX_SCANS);
    }

    #[test]
    fn connections_at_levels_are_passed_from_any_of_them_on_with_deferred_ones() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store"), Duration::from_secs(10)).unwrap();
        let policy: Policy = "1 hour (x1); 1 day (x9)".parse().unwrap();
        let failed = |retry_after| Err(Failure { retry_after, ..Failure::new(FailureClass::Http, "status 503") });
        let passed = store.write(|session| {
            session.upsert(&(0..5).map(CxnPatch::sample).collect::<Vec<_>>(), false)?;
            let key = session.find(&"cxn:0".parse().unwrap())?.unwrap();
            let job = session.ensure_job(key.app, &JobName::default())?;
            assert!(session.backfill(&job)?);
            // The first succeeds, the others fail, and the last one is deferred afterwards.
            let mut keys = Vec::new();
            for number in 0..5_u8 {
                let key = session.find(&format!("cxn:{number}").parse().unwrap())?.unwrap();
                let expected = session.status(job.no, key.locator)?.unwrap_or_default();
                let mut next = expected.clone();
                policy.apply(&mut next, 1_000 + i64::from(number), &if number == 0 { Ok(()) } else { failed(None) });
                if number == 4 {
                    policy.apply(&mut next, 2_000, &failed(Some(600)));
                }
                keys.push(DueKey::of(job.no, key.locator, &next, false).to_bytes());
                let update = StatusUpdate { locator: key.locator, expected, next, transition: None, moved: None };
                assert_eq!(session.record_outcomes(&job, &[update])?, [true]);
            }
            let passed = |first: Option<&[u8]>| {
                let mut passed = Vec::new();
                let emit = |task: &PollTask| passed.push(task.cxn.cxn_id.to_string());
                assert_eq!(session.at_levels(&job, 1..9, first, emit).unwrap(), None);
                passed
            };
            Ok([passed(None), passed(Some(&keys[2])), passed(Some(&keys[4]))])
        });
        let expected = [&["cxn:1", "cxn:2", "cxn:3", "cxn:4"][..], &["cxn:2", "cxn:3", "cxn:4"], &["cxn:4"]];
        assert_eq!(passed.unwrap(), expected);
    }
}
