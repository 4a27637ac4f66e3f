//! The values of the store's trees. Each begins with the version of its form, so that a later program can tell.
//!
//! Every record is what bincode's standard configuration makes of the structures below. Who changes one adds a version here
//! and to the store (see `meta.rs`), keeps reading the old ones, and says in `CHANGELOG.md` what an older program does with it:
//! it refuses the store.

use std::borrow::Cow;

use bincode::{Decode, Encode};

use super::keys::{AppNo, CxnKey, Place};
use crate::model::{Attempt, Failure, FailureClass, PollStatus, UnixTime, host, host_hash};

/// A value that can't be read: damaged, or written by a newer program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a record of the tree {tree} can't be read")]
pub struct Unreadable {
    tree: &'static str,
}

impl Unreadable {
    /// For a key that is none.
    pub(super) fn key() -> Self {
        Self { tree: "of keys" }
    }
}

/// A structure that is stored in one tree.
pub trait Record: Encode + Decode<()> {
    /// The tree's name, for errors.
    const TREE: &'static str;
    /// The version that it is written in.
    const VERSION: u8 = 1;
    /// What an older version lacks at its end.
    const LACKS: &'static [u8] = &[];

    /// The bytes that are stored.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![Self::VERSION];
        // Encoding fails only where the writer does, and a vector doesn't.
        bincode::encode_into_std_write(self, &mut bytes, bincode::config::standard()).expect("a vector takes all");
        bytes
    }

    /// Reads what was stored.
    ///
    /// # Errors
    /// Where the bytes are not a record of a version that is known, whole and with nothing behind it.
    fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        let unreadable = Unreadable { tree: Self::TREE };
        let body = match bytes.split_first() {
            Some((version, body)) if *version == Self::VERSION => Cow::Borrowed(body),
            Some((version, body)) if (1..Self::VERSION).contains(version) => Cow::Owned([body, Self::LACKS].concat()),
            _ => return Err(unreadable),
        };
        match bincode::decode_from_slice(&body, bincode::config::standard().with_limit::<{ 16 << 20 }>()) {
            Ok((record, read)) if read == body.len() => Ok(record),
            _ => Err(unreadable),
        }
    }
}

/// Where a connection of the tree `id` is kept.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct IdRecord {
    app: AppNo,
    batch_code: u16,
    no: u64,
}

impl Record for IdRecord {
    const TREE: &'static str = "id";
}

impl From<CxnKey> for IdRecord {
    fn from(key: CxnKey) -> Self {
        Self { app: key.app, batch_code: key.place.batch_code.get(), no: key.place.no }
    }
}

impl TryFrom<IdRecord> for CxnKey {
    type Error = Unreadable;

    fn try_from(record: IdRecord) -> Result<Self, Unreadable> {
        let batch_code = record.batch_code.try_into().map_err(|_| Unreadable { tree: IdRecord::TREE })?;
        Ok(Self { app: record.app, place: Place { batch_code, no: record.no } })
    }
}

/// A connection, without what its key tells and what it shares with others.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct CxnRecord {
    /// The cxnId.
    pub cxn_id: String,
    /// The raw secret.
    pub secret: [u8; 32],
    /// The siteUrl.
    pub site_url: String,
    /// The viaPort, if there is one.
    pub via_port: Option<String>,
    /// Number of the [`SharedRecord`].
    pub shared: u32,
    /// Never due while it is set.
    pub disabled: bool,
}

impl Record for CxnRecord {
    const TREE: &'static str = "cxn";
}

impl CxnRecord {
    /// A hash of the host that is connected to.
    pub fn host(&self) -> u32 {
        let via_port = self.via_port.as_deref().and_then(|text| text.parse().ok());
        host_hash(&host(&self.site_url, via_port.as_ref()))
    }
}

/// What the connections of an app usually have in common, stored once.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SharedRecord {
    /// The appUrl.
    pub app_url: String,
    /// The perm, as JSON.
    pub perm: String,
}

impl Record for SharedRecord {
    const TREE: &'static str = "meta";
}

/// A poll status.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct StatusRecord {
    level: u32,
    count: u32,
    last_run: UnixTime,
    not_before: Option<UnixTime>,
    deferrals: u8,
    last_success: Option<UnixTime>,
    last_failure: Option<(UnixTime, u8, String)>,
    /// Class 0 is success.
    attempts: Vec<(UnixTime, u8)>,
    /// Since version 2.
    took_ms: u32,
}

impl Record for StatusRecord {
    const TREE: &'static str = "status";
    const VERSION: u8 = 2;
    const LACKS: &'static [u8] = &[0];
}

impl From<&PollStatus> for StatusRecord {
    fn from(status: &PollStatus) -> Self {
        Self {
            level: status.level,
            count: status.count,
            last_run: status.last_run,
            not_before: status.not_before,
            deferrals: status.deferrals,
            last_success: status.last_success,
            last_failure: status.last_failure.as_ref().map(|(at, f)| (*at, f.class as u8, f.message.clone())),
            attempts: status.attempts.iter().map(|a| (a.at, a.class.map_or(0, |class| class as u8))).collect(),
            took_ms: status.took_ms,
        }
    }
}

impl TryFrom<StatusRecord> for PollStatus {
    type Error = Unreadable;

    fn try_from(record: StatusRecord) -> Result<Self, Unreadable> {
        let class = |number| FailureClass::from_number(number).ok_or(Unreadable { tree: StatusRecord::TREE });
        let attempt = |(at, number)| Ok(Attempt { at, class: if number == 0 { None } else { Some(class(number)?) } });
        Ok(Self {
            level: record.level,
            count: record.count,
            last_run: record.last_run,
            not_before: record.not_before,
            deferrals: record.deferrals,
            last_success: record.last_success,
            last_failure: match record.last_failure {
                Some((at, number, message)) => Some((at, Failure::new(class(number)?, message))),
                None => None,
            },
            attempts: record.attempts.into_iter().map(attempt).collect::<Result<_, _>>()?,
            took_ms: record.took_ms,
        })
    }
}

/// What the due index tells beside its key, so that selecting and counting need no other tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct DueRecord {
    /// A hash of the host that is connected to, for interleaving.
    pub host: u32,
    /// The status's level, also where the shelf is none.
    pub level: u32,
    /// The status's count.
    pub count: u32,
}

impl Record for DueRecord {
    const TREE: &'static str = "due";
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_status_reads_back() {
        let mut status = PollStatus { level: 2, count: 7, not_before: Some(9), took_ms: 800, ..PollStatus::default() };
        for now in 1..=12 {
            let failed = Err(Failure::new(FailureClass::Timeout, "connecting"));
            status.remember(now, &if now % 2 == 0 { Ok(()) } else { failed });
        }
        assert_eq!(status.attempts.len(), PollStatus::ATTEMPTS);
        let bytes = StatusRecord::from(&status).to_bytes();
        assert_eq!(PollStatus::try_from(StatusRecord::from_bytes(&bytes).unwrap()), Ok(status));
    }

    #[test]
    fn another_version_is_refused() {
        let mut bytes = DueRecord { host: 1, level: 2, count: 3 }.to_bytes();
        for version in [0, 2] {
            bytes[0] = version;
            assert!(DueRecord::from_bytes(&bytes).is_err());
        }
    }

    #[test]
    fn a_status_of_version_1_does_not_know_how_long_its_poll_took() {
        let status = PollStatus { level: 1, last_run: 9, took_ms: 7, ..PollStatus::default() };
        let bytes = StatusRecord::from(&status).to_bytes();
        let old = [&[1], &bytes[1..bytes.len() - 1]].concat();
        let read = StatusRecord::from_bytes(&old).and_then(PollStatus::try_from);
        assert_eq!(read, Ok(PollStatus { took_ms: 0, ..status }));
    }

    proptest! {
        #[test]
        fn junk_is_an_error_and_no_panic(bytes: Vec<u8>) {
            let _ = CxnRecord::from_bytes(&bytes);
            let _ = StatusRecord::from_bytes(&bytes).map(PollStatus::try_from);
            for version in 1..3 {
                let versioned = [&[version], bytes.as_slice()].concat();
                let _ = CxnRecord::from_bytes(&versioned);
                let _ = StatusRecord::from_bytes(&versioned).map(PollStatus::try_from);
            }
        }

        #[test]
        fn a_record_with_something_behind_it_is_refused(tail in proptest::collection::vec(any::<u8>(), 1..9)) {
            let bytes = [DueRecord { host: 1, level: 2, count: 3 }.to_bytes(), tail].concat();
            prop_assert!(DueRecord::from_bytes(&bytes).is_err());
        }
    }
}
