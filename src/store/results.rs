//! Kept results: what listeners keep of their polls, in a database of its own so that opening the store stays cheap.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Store;
use crate::error::{Error, Kind, Result};
use crate::model::{AppId, CxnId, Failure, FailureClass, JobName, UnixTime};

/// How many results are kept of each connection and job, and how large they may be. The numbers are those of cxnapp's
/// profile service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Limits {
    /// The newest failures.
    pub failures: usize,
    /// The newest of all; 0 keeps none.
    pub all: usize,
    /// A value that is larger (as JSON, in KiB) is left out, and its size is told.
    pub max_kib: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { failures: 20, all: 50, max_kib: 256 }
    }
}

/// What was kept of one poll.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// The connection.
    pub cxn_id: CxnId,
    /// Its app.
    pub app_id: AppId,
    /// The job.
    pub job: JobName,
    /// The poll's moment, UTC seconds.
    pub at: UnixTime,
    /// Why the poll failed, if it did.
    pub failure: Option<Failure>,
    /// What listeners kept; null where they kept nothing, or too much.
    pub value: Value,
    /// The size of the value as JSON, also of one that was left out.
    pub bytes: u64,
}

impl Kept {
    /// `ok`, or the class of the failure.
    #[must_use]
    pub fn class(&self) -> &'static str {
        self.failure.as_ref().map_or("ok", |failure| failure.class.name())
    }

    /// The object that scripts get. `omitted` and `message` are there only where they say something.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut json = json!({
            "cxnId": self.cxn_id,
            "appId": self.app_id,
            "jobName": self.job,
            "at": self.at,
            "class": self.class(),
            "bytes": self.bytes,
        });
        if let Some(failure) = &self.failure {
            json["message"] = json!(failure.message);
        }
        if self.value.is_null() && self.bytes > 4 {
            json["omitted"] = json!(true);
        }
        json["value"] = self.value.clone();
        json
    }

    /// `cxnId 0 job 0 at`: the oldest of a connection and job comes first.
    fn key(&self) -> Vec<u8> {
        [&prefix(Some(&self.cxn_id), Some(&self.job))[..], &self.at.max(0).cast_unsigned().to_be_bytes()].concat()
    }

    /// A version, the class (so that nothing need be unpacked to count failures), and compressed JSON.
    ///
    /// # Errors
    /// [`Kind::Internal`] where it can't be compressed.
    pub fn pack(&self, limits: &Limits) -> Result<Packed> {
        let text = self.value.to_string();
        let value = if text.len() > limits.max_kib.saturating_mul(1024) { &Value::Null } else { &self.value };
        let message = self.failure.as_ref().map(|failure| &failure.message);
        let record = json!({"app": self.app_id, "message": message, "bytes": text.len(), "value": value}).to_string();
        let class = self.failure.as_ref().map_or(0, |failure| failure.class as u8);
        let mut encoder = DeflateEncoder::new(vec![VERSION, class], Compression::fast());
        let packed = encoder.write_all(record.as_bytes()).and_then(|()| encoder.finish());
        let record = packed.map_err(|error| Error::new(Kind::Internal, format!("can't compress a result: {error}")))?;
        Ok(Packed { key: self.key(), record })
    }

    fn decode(key: &[u8], packed: &[u8]) -> Option<Self> {
        let (key, at) = key.split_last_chunk::<8>()?;
        let mut parts = key.split(|byte| *byte == 0).map(|part| std::str::from_utf8(part).ok());
        let (cxn_id, job) = (parts.next()??.parse().ok()?, parts.next()??.parse().ok()?);
        let (&[VERSION, class], packed) = packed.split_first_chunk::<2>()? else { return None };
        let mut text = String::new();
        DeflateDecoder::new(packed).read_to_string(&mut text).ok()?;
        let mut record: Map<String, Value> = serde_json::from_str(&text).ok()?;
        let failure = match class {
            0 => None,
            class => Some(Failure::new(FailureClass::from_number(class)?, record.get("message")?.as_str()?)),
        };
        Some(Self {
            cxn_id,
            app_id: record.get("app")?.as_str()?.parse().ok()?,
            job,
            at: i64::try_from(u64::from_be_bytes(*at)).ok()?,
            failure,
            bytes: record.get("bytes")?.as_u64()?,
            value: record.get_mut("value")?.take(),
        })
    }
}

/// What was kept of one poll, as it is stored.
#[derive(Debug)]
pub struct Packed {
    key: Vec<u8>,
    record: Vec<u8>,
}

impl Packed {
    /// How many bytes it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.key.len() + self.record.len()
    }
}

/// The version of what stands in a value.
const VERSION: u8 = 1;
/// How many results are read in one visit.
const PAGE: usize = 256;

/// How the keys of a connection's results begin, or of all.
fn prefix(cxn_id: Option<&CxnId>, job: Option<&JobName>) -> Vec<u8> {
    let parts = [cxn_id.map(CxnId::as_str), cxn_id.and(job).map(JobName::as_str)];
    parts.into_iter().flatten().flat_map(|part| part.bytes().chain([0])).collect()
}

fn damaged() -> Error {
    Error::new(Kind::Store, "a kept result can't be read")
        .hint("`cxnpoll results --remove` removes those of a connection")
}

impl Store {
    /// Keeps results, and removes those that are beyond the limits.
    ///
    /// # Errors
    /// Those of the database.
    pub fn keep(&self, results: &[Packed], limits: &Limits) -> Result<()> {
        if results.is_empty() || limits.all == 0 {
            return Ok(());
        }
        let kept = self.results(true, |database| {
            for result in results {
                database.insert(&result.key, &result.record[..])?;
            }
            for result in results {
                let (mut all, mut failures) = (0, 0);
                let prefix = result.key.split_last_chunk::<8>().map_or(&[][..], |(prefix, _)| prefix);
                for entry in database.scan_prefix(prefix).rev() {
                    let (key, value) = entry?;
                    let failed = value.get(1).is_some_and(|class| *class != 0);
                    all += 1;
                    failures += usize::from(failed);
                    if all > limits.all || (failed && failures > limits.failures) {
                        database.remove(key)?;
                    }
                }
            }
            Ok(())
        });
        kept.map(|_| ())
    }

    /// Hands out results by connection and job, the oldest first: of one connection, of one job, or (`latest`) the newest of
    /// each alone. Goes in short visits.
    ///
    /// # Errors
    /// Those of the database and of `emit`.
    pub fn each_kept(
        &self,
        cxn_id: Option<&CxnId>,
        job: Option<&JobName>,
        latest: bool,
        mut emit: impl FnMut(Kept) -> Result<()>,
    ) -> Result<()> {
        let prefix = prefix(cxn_id, job);
        let mut after: Option<Vec<u8>> = None;
        // The newest so far of a connection and job: the next page may begin with a newer one.
        let mut newest: Option<Kept> = None;
        loop {
            let page = self.results(false, |database| {
                let from = after.as_ref().map_or(prefix.clone(), |after| [&after[..], &[0]].concat());
                let entries = database.range(from..).take(PAGE).map(|entry| entry.map_err(Error::from));
                entries
                    .filter(|entry| entry.as_ref().map_or(true, |(key, _)| key.starts_with(&prefix)))
                    .collect::<Result<Vec<_>>>()
            })?;
            let page = page.unwrap_or_default();
            let Some((last, _)) = page.last() else { break };
            after = Some(last.to_vec());
            for (key, value) in &page {
                let kept = Kept::decode(key, value).ok_or_else(damaged)?;
                if job.is_some_and(|job| *job != kept.job) {
                    continue;
                }
                if !latest {
                    emit(kept)?;
                } else if let Some(before) = newest.replace(kept)
                    && newest.as_ref().is_some_and(|now| (&now.cxn_id, &now.job) != (&before.cxn_id, &before.job))
                {
                    emit(before)?;
                }
            }
        }
        newest.map_or(Ok(()), emit)
    }

    /// Removes the results of connections that are gone.
    ///
    /// # Errors
    /// Those of the database.
    pub(super) fn forget_gone(&self, gone: &[CxnId]) -> Result<()> {
        if gone.is_empty() {
            return Ok(());
        }
        let removed = self.results(false, |database| {
            for cxn_id in gone {
                for key in database.scan_prefix(prefix(Some(cxn_id), None)).keys() {
                    database.remove(key?)?;
                }
            }
            Ok(())
        });
        removed.map(|_| ())
    }

    /// Removes results, and tells how many: of one connection, of one job, or all.
    ///
    /// # Errors
    /// Those of the database.
    pub fn forget(&self, cxn_id: Option<&CxnId>, job: Option<&JobName>) -> Result<u64> {
        let removed = self.results(false, |database| {
            let mut removed = 0;
            for key in database.scan_prefix(prefix(cxn_id, job)).keys() {
                let key = key?;
                let of_job = key.split(|byte| *byte == 0).nth(1);
                if job.is_none_or(|job| of_job == Some(job.as_str().as_bytes())) {
                    database.remove(key)?;
                    removed += 1;
                }
            }
            Ok(removed)
        });
        removed.map(Option::unwrap_or_default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn kept(cxn: &str, job: &str, at: i64, failed: bool) -> Kept {
        Kept {
            cxn_id: format!("cxn:{cxn}").parse().unwrap(),
            app_id: "app:org.example.myapp".parse().unwrap(),
            job: job.parse().unwrap(),
            at,
            failure: failed.then(|| Failure::new(FailureClass::Api, "no")),
            value: json!({"at": at}),
            bytes: json!({"at": at}).to_string().len() as u64,
        }
    }

    fn all(store: &Store, latest: bool) -> Vec<Kept> {
        let mut all = Vec::new();
        store
            .each_kept(None, None, latest, |kept| {
                all.push(kept);
                Ok(())
            })
            .unwrap();
        all
    }

    #[test]
    fn the_newest_are_kept_and_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::create(&folder.path().join("store"), Duration::from_secs(5)).unwrap();
        assert_eq!(store.forget(None, None).unwrap(), 0);
        assert!(all(&store, false).is_empty() && !store.path().join("results").exists());

        let limits = Limits { failures: 2, all: 3, max_kib: 1 };
        store.keep(&[kept("a", "j", 1, false).pack(&limits).unwrap()], &Limits { all: 0, ..limits }).unwrap();
        assert!(all(&store, false).is_empty());
        for at in 1..=5 {
            store
                .keep(
                    &[kept("a", "j", at, at > 2), kept("a", "k", at, false), kept("b", "j", at, false)]
                        .map(|kept| kept.pack(&limits).unwrap()),
                    &limits,
                )
                .unwrap();
        }
        let at = |cxn: &str, job: &str| {
            let all = all(&store, false).into_iter();
            all.filter(|kept| kept.cxn_id.as_str() == format!("cxn:{cxn}") && kept.job.as_str() == job)
                .map(|kept| kept.at)
                .collect::<Vec<_>>()
        };
        // The oldest of three failures went first, and then the first success.
        assert_eq!(at("a", "j"), [4, 5]);
        assert_eq!((at("a", "k"), at("b", "j")), (vec![3, 4, 5], vec![3, 4, 5]));
        let latest = all(&store, true);
        assert_eq!(latest.iter().map(|kept| kept.at).collect::<Vec<_>>(), [5, 5, 5]);
        assert_eq!(latest[0], kept("a", "j", 5, true));

        let large = Kept { value: json!("x".repeat(2000)), bytes: 2002, ..kept("c", "j", 1, false) };
        store.keep(&[large.pack(&limits).unwrap()], &limits).unwrap();
        let found = all(&store, true).pop().unwrap();
        assert_eq!((found.value.is_null(), found.bytes, &found.to_json()["omitted"]), (true, 2002, &json!(true)));

        assert_eq!(store.forget(Some(&"cxn:a".parse().unwrap()), Some(&"j".parse().unwrap())).unwrap(), 2);
        assert_eq!(store.forget(None, Some(&"j".parse().unwrap())).unwrap(), 4);
        assert_eq!(store.forget(None, None).unwrap(), 3);
    }
}
