//! What listeners keep of one poll, and how it is stored.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::model::{AppId, CxnId, Failure, FailureClass, JobName, UnixTime};
use crate::protocol::json::{can_be_kept, read_kept};
use crate::store::error::{Error, Result};

/// The version of the format of a value.
const VERSION: u8 = 1;

/// How many results are kept of each connection and job, and how large they may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Limits {
    /// How many of the newest failures.
    pub failures: usize,
    /// How many of the newest results; 0 keeps none.
    pub all: usize,
    /// A value that is larger (as JSON, in KiB) is left out; its size is kept.
    pub max_kib: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { failures: 20, all: 50, max_kib: 256 }
    }
}

/// What was kept of one poll.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredResult {
    /// The connection.
    pub cxn_id: CxnId,
    /// Its app.
    pub app_id: AppId,
    /// The job.
    pub job: JobName,
    /// The time of the poll, UTC seconds.
    pub at: UnixTime,
    /// Why the poll failed; `None` for a success.
    pub failure: Option<Failure>,
    /// What listeners kept; null if they kept nothing, too much, or something that is nested too deeply.
    pub value: Value,
    /// The size of the value as JSON, also if it was left out.
    pub bytes: u64,
}

impl StoredResult {
    /// `ok`, or the class of the failure.
    #[must_use]
    pub fn class(&self) -> &'static str {
        self.failure.as_ref().map_or("ok", |failure| failure.class.name())
    }

    /// The object for scripts. It has `omitted` only for a value that was left out, and `message` only for a failure.
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

    /// `cxnId 0 job 0 at`, so that the oldest of a connection and job comes first.
    fn key(&self) -> Vec<u8> {
        [&key_prefix(Some(&self.cxn_id), Some(&self.job))[..], &self.at.max(0).cast_unsigned().to_be_bytes()].concat()
    }

    /// Encodes the result as a version, the class, and compressed JSON.
    ///
    /// With the class outside of the JSON, failures can be counted without decoding.
    ///
    /// # Errors
    /// [`Error::Compress`].
    pub fn encode(&self, limits: &Limits) -> Result<EncodedResult> {
        let text = self.value.to_string();
        let value = if text.len() > limits.max_kib.saturating_mul(1024) { &Value::Null } else { &self.value };
        let message = self.failure.as_ref().map(|failure| &failure.message);
        let record = |value: &Value| {
            json!({"app": self.app_id, "message": message, "bytes": text.len(), "value": value}).to_string()
        };
        // What is nested too deeply could not be read again.
        let record =
            Some(record(value)).filter(|text| can_be_kept(text.as_bytes())).unwrap_or_else(|| record(&Value::Null));
        let class = self.failure.as_ref().map_or(0, |failure| failure.class as u8);
        let mut encoder = DeflateEncoder::new(vec![VERSION, class], Compression::fast());
        let encoded = encoder.write_all(record.as_bytes()).and_then(|()| encoder.finish());
        let record = encoded.map_err(Error::Compress)?;
        Ok(EncodedResult { key: self.key(), record })
    }

    /// Decodes a stored result; `None` if it cannot be read.
    pub(super) fn decode(key: &[u8], encoded: &[u8]) -> Option<Self> {
        let (key, at) = key.split_last_chunk::<8>()?;
        let mut parts = key.split(|byte| *byte == 0).map(|part| std::str::from_utf8(part).ok());
        let (cxn_id, job) = (parts.next()??.parse().ok()?, parts.next()??.parse().ok()?);
        let (&[VERSION, class], compressed) = encoded.split_first_chunk::<2>()? else { return None };
        let mut text = String::new();
        DeflateDecoder::new(compressed).read_to_string(&mut text).ok()?;
        let mut record: Map<String, Value> = read_kept(text.as_bytes()).ok()?;
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
pub struct EncodedResult {
    pub(super) key: Vec<u8>,
    pub(super) record: Vec<u8>,
}

impl EncodedResult {
    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.key.len() + self.record.len()
    }
}

/// The beginning of the keys of a connection's results, of those of one of its jobs, or of all results.
pub(super) fn key_prefix(cxn_id: Option<&CxnId>, job: Option<&JobName>) -> Vec<u8> {
    let parts = [cxn_id.map(CxnId::as_str), cxn_id.and(job).map(JobName::as_str)];
    parts.into_iter().flatten().flat_map(|part| part.bytes().chain([0])).collect()
}

/// The cxnId in a key; `None` if it has none.
pub fn cxn_of(key: &[u8]) -> Option<CxnId> {
    std::str::from_utf8(key.split(|byte| *byte == 0).next()?).ok()?.parse().ok()
}

/// The job's name in a key.
pub(super) fn job_of(key: &[u8]) -> Option<&[u8]> {
    key.split(|byte| *byte == 0).nth(1)
}

/// Whether a stored value is that of a failure.
pub(super) fn is_failure(value: &[u8]) -> bool {
    value.get(1).is_some_and(|class| *class != 0)
}
