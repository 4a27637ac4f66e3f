//! The keys of the store's trees. Numbers are big-endian, so that the order of bytes is the order of meaning, and what
//! belongs together is one range of keys.
//!
//! | tree | key | value |
//! | --- | --- | --- |
//! | `id` | cxnId | [`CxnKey`] |
//! | `cxn` | app, batchCode, seq | the connection |
//! | `status` | job, batchCode, seq | the poll status |
//! | `due` | job, bucket, from, batchCode, seq | what selecting and counting need of the status |
//! | `meta` | see below | version, counters, apps, jobs, what connections share, messages of sites |
//!
//! | key of `meta` | value |
//! | --- | --- |
//! | `version` | the version of the store, u32 |
//! | `counters` | the next numbers |
//! | `a` appId, `A` number | number, appId |
//! | `j` app, name; `J` number | number, the job |
//! | `s` hash, `S` number | number, appUrl and perm; a longer value continues under `T` number, piece |
//! | `m` bucket, u16 | messages of sites that were answered with success |

use std::ops::RangeInclusive;

use crate::model::{BatchCode, JobName, PollStatus, UnixTime};
use crate::store::error::Item;

/// The number of an app within one store.
pub type AppNo = u32;
/// The number of a job within one store. Jobs of two apps have two numbers, even if they have the same name.
pub type JobNo = u32;

/// Identifies a connection within its app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CxnLocator {
    /// Its batch code.
    pub batch_code: BatchCode,
    /// Its sequence number, which no other connection of the store gets, not even after it is removed.
    pub seq: u64,
}

/// Identifies a connection in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CxnKey {
    /// The app that it belongs to.
    pub app: AppNo,
    /// Which connection of the app it is.
    pub locator: CxnLocator,
}

/// The part of the due index that an entry is in.
///
/// There is one for each level of the retry expression, and two others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DueBucket {
    /// Due by its level; `from` is [`PollStatus::period_start`].
    Level(u32),
    /// Never due; `from` is as in [`DueBucket::Level`].
    Disabled,
    /// Not due before `from`, because the site asked to be deferred.
    Deferred,
}

impl DueBucket {
    /// The highest level that has a bucket of its own; higher levels share it.
    const MAX_LEVEL: u32 = u32::MAX - 2;

    fn number(self) -> u32 {
        match self {
            Self::Level(level) => level.min(Self::MAX_LEVEL),
            Self::Disabled => u32::MAX - 1,
            Self::Deferred => u32::MAX,
        }
    }

    fn from_number(number: u32) -> Self {
        match number {
            u32::MAX => Self::Deferred,
            n if n > Self::MAX_LEVEL => Self::Disabled,
            level => Self::Level(level),
        }
    }
}

/// A key of the due index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueKey {
    /// The job.
    pub job: JobNo,
    /// The bucket, which decides the meaning of `from`.
    pub bucket: DueBucket,
    /// See [`DueBucket`]; at least 0.
    pub from: UnixTime,
    /// The connection.
    pub locator: CxnLocator,
}

/// Bytes of a [`CxnLocator`].
const LOCATOR_BYTES: usize = 2 + 8;

impl CxnLocator {
    fn to_bytes(self) -> [u8; LOCATOR_BYTES] {
        let mut bytes = [0; LOCATOR_BYTES];
        bytes[..2].copy_from_slice(&self.batch_code.get().to_be_bytes());
        bytes[2..].copy_from_slice(&self.seq.to_be_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (batch_code, seq) = bytes.split_first_chunk()?;
        let batch_code = u16::from_be_bytes(*batch_code).try_into().ok()?;
        Some(Self { batch_code, seq: u64::from_be_bytes(seq.try_into().ok()?) })
    }
}

impl CxnKey {
    /// The key in the tree `cxn`.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 4 + LOCATOR_BYTES] {
        numbered(self.app, self.locator)
    }

    /// Reads a key of the tree `cxn`; `None` for any other bytes.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (app, locator) = bytes.split_first_chunk()?;
        Some(Self { app: u32::from_be_bytes(*app), locator: CxnLocator::parse(locator)? })
    }
}

/// The key in the tree `status`.
#[must_use]
pub fn status_key(job: JobNo, locator: CxnLocator) -> [u8; 4 + LOCATOR_BYTES] {
    numbered(job, locator)
}

/// Reads a key of the tree `status`; `None` for any other bytes.
#[must_use]
pub fn parse_status_key(bytes: &[u8]) -> Option<(JobNo, CxnLocator)> {
    // It has the format of a connection's key, with the job in place of the app.
    CxnKey::parse(bytes).map(|key| (key.app, key.locator))
}

fn numbered(number: u32, locator: CxnLocator) -> [u8; 4 + LOCATOR_BYTES] {
    let mut bytes = [0; 4 + LOCATOR_BYTES];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes[4..].copy_from_slice(&locator.to_bytes());
    bytes
}

impl DueKey {
    /// The key of the entry of a status. Every status has exactly one entry.
    #[must_use]
    pub fn of(job: JobNo, locator: CxnLocator, status: &PollStatus, disabled: bool) -> Self {
        let (bucket, from) = match status.not_before {
            _ if disabled => (DueBucket::Disabled, status.period_start()),
            Some(not_before) => (DueBucket::Deferred, not_before),
            None => (DueBucket::Level(status.level), status.period_start()),
        };
        Self { job, bucket, from: from.max(0), locator }
    }

    /// The key in the tree `due`.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16 + LOCATOR_BYTES] {
        let mut bytes = [0; 16 + LOCATOR_BYTES];
        bytes[..16].copy_from_slice(&bucket_prefix(self.job, self.bucket, self.from));
        bytes[16..].copy_from_slice(&self.locator.to_bytes());
        bytes
    }

    /// Reads a key of the tree `due`; `None` for any other bytes.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (job, rest) = bytes.split_first_chunk()?;
        let (bucket, rest) = rest.split_first_chunk()?;
        let (from, locator) = rest.split_first_chunk()?;
        Some(Self {
            job: u32::from_be_bytes(*job),
            bucket: DueBucket::from_number(u32::from_be_bytes(*bucket)),
            from: UnixTime::try_from(u64::from_be_bytes(*from)).ok()?,
            locator: CxnLocator::parse(locator)?,
        })
    }
}

/// The beginning of the keys of a job's bucket at one `from`.
#[must_use]
pub fn bucket_prefix(job: JobNo, bucket: DueBucket, from: UnixTime) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&job.to_be_bytes());
    bytes[4..8].copy_from_slice(&bucket.number().to_be_bytes());
    // A time before 1970 is 0, as in `DueKey::of`.
    bytes[8..].copy_from_slice(&from.max(0).cast_unsigned().to_be_bytes());
    bytes
}

/// The first key of a job's bucket with a `from` in a range, and one behind the last.
#[must_use]
pub fn bucket_range(job: JobNo, bucket: DueBucket, from: &RangeInclusive<UnixTime>) -> [Vec<u8>; 2] {
    let first = bucket_prefix(job, bucket, *from.start()).to_vec();
    // Every key of the last `from` begins with its prefix, and none follows this many bytes of 0xff.
    let behind = [&bucket_prefix(job, bucket, *from.end())[..], &[0xff; 16]].concat();
    [first, behind]
}

/// A key of the tree `meta`: its kind, and what it identifies.
pub fn meta_key(kind: u8, rest: &[u8]) -> Vec<u8> {
    [&[kind], rest].concat()
}

/// The key of the tree `meta` that leads from a job's name to its number.
pub fn job_name_key(app: AppNo, name: &JobName) -> Vec<u8> {
    [b"j".as_slice(), &app.to_be_bytes(), name.as_str().as_bytes()].concat()
}

/// Reads a number of the tree `meta`.
///
/// # Errors
/// [`Item::Number`] for anything but four bytes.
pub fn parse_number(bytes: &[u8]) -> Result<u32, Item> {
    bytes.try_into().map(u32::from_be_bytes).map_err(|_| Item::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn locator() -> impl Strategy<Value = CxnLocator> {
        (0..=10_000u16, any::<u64>()).prop_map(|(code, seq)| CxnLocator { batch_code: code.try_into().unwrap(), seq })
    }

    fn bucket() -> impl Strategy<Value = DueBucket> {
        prop_oneof![
            (0..=DueBucket::MAX_LEVEL).prop_map(DueBucket::Level),
            (0..5u32).prop_map(DueBucket::Level),
            Just(DueBucket::Disabled),
            Just(DueBucket::Deferred)
        ]
    }

    fn due_key() -> impl Strategy<Value = DueKey> {
        (0..4u32, bucket(), prop_oneof![0..10i64, 0..i64::MAX], locator())
            .prop_map(|(job, bucket, from, locator)| DueKey { job, bucket, from, locator })
    }

    proptest! {
        #[test]
        fn keys_read_back(app: u32, locator in locator(), due in due_key()) {
            let key = CxnKey { app, locator };
            prop_assert_eq!(CxnKey::parse(&key.to_bytes()), Some(key));
            prop_assert_eq!(parse_status_key(&status_key(app, locator)), Some((app, locator)));
            prop_assert_eq!(DueKey::parse(&due.to_bytes()), Some(due));
        }

        #[test]
        fn order_of_bytes_is_order_of_meaning(a in due_key(), b in due_key()) {
            let meaning = |key: DueKey| (key.job, key.bucket, key.from, key.locator);
            prop_assert_eq!(a.to_bytes().cmp(&b.to_bytes()), meaning(a).cmp(&meaning(b)));
        }

        #[test]
        fn range_of_a_bucket_has_its_keys_only(key in due_key(), other in due_key(), from in 0..20_i64) {
            let [first, behind] = bucket_range(key.job, key.bucket, &(from..=i64::MAX));
            for tested in [key, other] {
                let is_inside = (first.as_slice()..behind.as_slice()).contains(&&tested.to_bytes()[..]);
                let belongs = (tested.job, tested.bucket) == (key.job, key.bucket) && tested.from >= from;
                prop_assert_eq!(is_inside, belongs);
            }
        }

        #[test]
        fn other_bytes_are_no_key_or_the_key_that_they_make(bytes: Vec<u8>) {
            if let Some(key) = DueKey::parse(&bytes) {
                prop_assert_eq!(key.to_bytes().to_vec(), bytes.clone());
            }
            if let Some(key) = CxnKey::parse(&bytes) {
                prop_assert_eq!(key.to_bytes().to_vec(), bytes);
            }
        }
    }
}
