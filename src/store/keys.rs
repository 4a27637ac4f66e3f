//! The keys of the store's trees. Numbers are big-endian, so that the order of bytes is the order of meaning and a
//! question is one range of keys.
//!
//! | tree | key | value |
//! | --- | --- | --- |
//! | `id` | cxnId | [`CxnKey`] |
//! | `cxn` | app, batchCode, no | the connection |
//! | `status` | job, batchCode, no | the poll status |
//! | `due` | job, shelf, from, batchCode, no | what selection and counting need of the status |
//! | `meta` | see `meta.rs` | version, counters, apps, jobs, what connections share |

use crate::model::{BatchCode, PollStatus, UnixTime};

/// Number of an app within one store.
pub type AppNo = u32;
/// Number of a job within one store; jobs of two apps have two numbers, whatever their names.
pub type JobNo = u32;

/// Where a connection stands within its app: its batch code and a number that is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Tells the batch.
    pub batch_code: BatchCode,
    /// Unique in the store, for ever.
    pub no: u64,
}

/// Where a connection is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CxnKey {
    /// The app that it belongs to.
    pub app: AppNo,
    /// Its place within the app.
    pub place: Place,
}

/// The shelf of the due index that an entry stands on: a level of the retry expression, or one of two that are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shelf {
    /// Due by its level; `from` is lastRun.
    Level(u32),
    /// Never due; `from` is lastRun.
    Disabled,
    /// Not due before `from`, because the site asked for it.
    Deferred,
}

impl Shelf {
    /// The highest level that has a shelf of its own; what is beyond shares it.
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
    /// The shelf, and with it the meaning of `from`.
    pub shelf: Shelf,
    /// See [`Shelf`]; at least 0.
    pub from: UnixTime,
    /// The connection.
    pub place: Place,
}

/// Bytes of a [`Place`].
const PLACE: usize = 2 + 8;

impl Place {
    fn to_bytes(self) -> [u8; PLACE] {
        let mut bytes = [0; PLACE];
        bytes[..2].copy_from_slice(&self.batch_code.get().to_be_bytes());
        bytes[2..].copy_from_slice(&self.no.to_be_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (batch_code, no) = bytes.split_first_chunk()?;
        let batch_code = u16::from_be_bytes(*batch_code).try_into().ok()?;
        Some(Self { batch_code, no: u64::from_be_bytes(no.try_into().ok()?) })
    }
}

impl CxnKey {
    /// The key in the tree `cxn`.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 4 + PLACE] {
        numbered(self.app, self.place)
    }

    /// Reads a key of the tree `cxn`; `None` where it is none.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (app, place) = bytes.split_first_chunk()?;
        Some(Self { app: u32::from_be_bytes(*app), place: Place::parse(place)? })
    }
}

/// The key of the tree `status`: job and place.
#[must_use]
pub fn status_key(job: JobNo, place: Place) -> [u8; 4 + PLACE] {
    numbered(job, place)
}

/// Reads a key of the tree `status`; `None` where it is none.
#[must_use]
pub fn parse_status_key(bytes: &[u8]) -> Option<(JobNo, Place)> {
    // The same shape as a connection's key, with the job in the app's stead.
    CxnKey::parse(bytes).map(|key| (key.app, key.place))
}

fn numbered(number: u32, place: Place) -> [u8; 4 + PLACE] {
    let mut bytes = [0; 4 + PLACE];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes[4..].copy_from_slice(&place.to_bytes());
    bytes
}

impl DueKey {
    /// The entry that a status stands under. Every status has exactly one.
    #[must_use]
    pub fn of(job: JobNo, place: Place, status: &PollStatus, disabled: bool) -> Self {
        let (shelf, from) = match status.not_before {
            _ if disabled => (Shelf::Disabled, status.last_run),
            Some(not_before) => (Shelf::Deferred, not_before),
            None => (Shelf::Level(status.level), status.last_run),
        };
        Self { job, shelf, from: from.max(0), place }
    }

    /// The key in the tree `due`.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16 + PLACE] {
        let mut bytes = [0; 16 + PLACE];
        bytes[..16].copy_from_slice(&shelf_prefix(self.job, self.shelf, self.from));
        bytes[16..].copy_from_slice(&self.place.to_bytes());
        bytes
    }

    /// Reads a key of the tree `due`; `None` where it is none.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (job, rest) = bytes.split_first_chunk()?;
        let (shelf, rest) = rest.split_first_chunk()?;
        let (from, place) = rest.split_first_chunk()?;
        Some(Self {
            job: u32::from_be_bytes(*job),
            shelf: Shelf::from_number(u32::from_be_bytes(*shelf)),
            from: UnixTime::try_from(u64::from_be_bytes(*from)).ok()?,
            place: Place::parse(place)?,
        })
    }
}

/// The beginning of all entries of a job's shelf at one `from`.
#[must_use]
pub fn shelf_prefix(job: JobNo, shelf: Shelf, from: UnixTime) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&job.to_be_bytes());
    bytes[4..8].copy_from_slice(&shelf.number().to_be_bytes());
    // What lies before 1970 is 0, as in `DueKey::of`.
    bytes[8..].copy_from_slice(&from.max(0).cast_unsigned().to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place() -> impl Strategy<Value = Place> {
        (0..=10_000u16, any::<u64>()).prop_map(|(code, no)| Place { batch_code: code.try_into().unwrap(), no })
    }

    fn shelf() -> impl Strategy<Value = Shelf> {
        prop_oneof![
            (0..=Shelf::MAX_LEVEL).prop_map(Shelf::Level),
            (0..5u32).prop_map(Shelf::Level),
            Just(Shelf::Disabled),
            Just(Shelf::Deferred)
        ]
    }

    fn due_key() -> impl Strategy<Value = DueKey> {
        (0..4u32, shelf(), prop_oneof![0..10i64, 0..i64::MAX], place()).prop_map(|(job, shelf, from, place)| DueKey {
            job,
            shelf,
            from,
            place,
        })
    }

    proptest! {
        #[test]
        fn keys_read_back(app: u32, place in place(), due in due_key()) {
            let key = CxnKey { app, place };
            prop_assert_eq!(CxnKey::parse(&key.to_bytes()), Some(key));
            prop_assert_eq!(parse_status_key(&status_key(app, place)), Some((app, place)));
            prop_assert_eq!(DueKey::parse(&due.to_bytes()), Some(due));
        }

        #[test]
        fn order_of_bytes_is_order_of_meaning(a in due_key(), b in due_key()) {
            let meaning = |key: DueKey| (key.job, key.shelf, key.from, key.place);
            prop_assert_eq!(a.to_bytes().cmp(&b.to_bytes()), meaning(a).cmp(&meaning(b)));
        }

        #[test]
        fn junk_is_no_key(bytes: Vec<u8>) {
            if let Some(key) = DueKey::parse(&bytes) {
                prop_assert_eq!(key.to_bytes().to_vec(), bytes.clone());
            }
            if let Some(key) = CxnKey::parse(&bytes) {
                prop_assert_eq!(key.to_bytes().to_vec(), bytes);
            }
        }
    }
}
