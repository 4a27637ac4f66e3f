//! The values of the store's trees. Each begins with the version of its format, so that a later program can read it.
//!
//! Every record is what bincode's standard configuration makes of the structures below. A change of one adds a version
//! here and to the store (see `version.rs`), keeps the old ones readable, and is noted in `CHANGELOG.md`: an older program
//! refuses the store.

use std::borrow::Cow;

use bincode::{Decode, Encode};

use super::host_key::HostHash;
use super::keys::{AppNo, CxnKey, CxnLocator};
use crate::model::{Attempt, Failure, FailureClass, PollStatus, Schedule, SeenRedirect, UnixTime, host};
use crate::store::engine::{Get, TreeName};
use crate::store::error::{Error, Item, Result};

/// The limit of a record, in bytes as the decoder counts them: up to 16 for each that is stored.
const MAX_RECORD_BYTES: usize = 16 << 20;

/// A structure that is the value of an entry.
pub trait Record: Encode + Decode<()> {
    /// The tree that it is stored in.
    const TREE: TreeName;
    /// The version that it is written in.
    const VERSION: u8 = 1;
    /// The bytes that each older version lacks at its end, those of version 1 first.
    const DEFAULT_TAILS: &'static [&'static [u8]] = &[];

    /// The bytes that are stored.
    ///
    /// # Errors
    /// [`Error::RecordTooLarge`] if [`Record::from_bytes`] would refuse them.
    fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![Self::VERSION];
        // Encoding fails only if the writer does, and a vector never does.
        bincode::encode_into_std_write(self, &mut bytes, bincode::config::standard())
            .expect("a vector can be written to");
        // Shorter records are below the limit, so most are not decoded.
        if bytes.len() > MAX_RECORD_BYTES / 16 && Self::from_bytes(&bytes).is_err() {
            return Err(Error::RecordTooLarge(Item::Record(Self::TREE.name())));
        }
        Ok(bytes)
    }

    /// Reads what was stored.
    ///
    /// # Errors
    /// [`Item::Record`] unless the bytes are exactly one record, of a known version.
    fn from_bytes(bytes: &[u8]) -> Result<Self, Item> {
        let unreadable = Item::Record(Self::TREE.name());
        let body = match bytes.split_first() {
            Some((version, body)) if *version == Self::VERSION => Cow::Borrowed(body),
            Some((version, body)) => {
                let tail = version.checked_sub(1).and_then(|older| Self::DEFAULT_TAILS.get(usize::from(older)));
                Cow::Owned([body, tail.ok_or(unreadable)?].concat())
            }
            None => return Err(unreadable),
        };
        match bincode::decode_from_slice(&body, bincode::config::standard().with_limit::<MAX_RECORD_BYTES>()) {
            Ok((record, read)) if read == body.len() => Ok(record),
            _ => Err(unreadable),
        }
    }
}

/// The first field of a record, a text, also if the rest cannot be decoded; `None` if there is none.
pub fn first_text<R: Record>(bytes: &[u8]) -> Option<String> {
    let body = bytes.strip_prefix(&[R::VERSION])?;
    let config = bincode::config::standard().with_limit::<MAX_RECORD_BYTES>();
    bincode::decode_from_slice(body, config).ok().map(|(text, _)| text)
}

/// Reads the record of a key; `None` if there is none.
///
/// # Errors
/// Those of reading, and [`Item::Record`] where it cannot be decoded.
pub fn read<R: Record, G: Get>(from: &G, key: &[u8]) -> Result<Option<R>, G::Error> {
    let bytes = from.get(R::TREE, key)?;
    Ok(bytes.map(|bytes| R::from_bytes(&bytes)).transpose().map_err(Error::from)?)
}

/// The key of a connection, stored by its cxnId.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct IdRecord {
    app: AppNo,
    batch_code: u16,
    seq: u64,
}

impl Record for IdRecord {
    const TREE: TreeName = TreeName::Id;
}

impl From<CxnKey> for IdRecord {
    fn from(key: CxnKey) -> Self {
        Self { app: key.app, batch_code: key.locator.batch_code.get(), seq: key.locator.seq }
    }
}

impl TryFrom<IdRecord> for CxnKey {
    type Error = Item;

    fn try_from(record: IdRecord) -> Result<Self, Item> {
        let batch_code = record.batch_code.try_into().map_err(|_| Item::Record(IdRecord::TREE.name()))?;
        Ok(Self { app: record.app, locator: CxnLocator { batch_code, seq: record.seq } })
    }
}

/// A connection, without what its key holds and what it shares with others.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct CxnRecord {
    /// The cxnId.
    pub cxn_id: String,
    /// The raw secret.
    pub secret: [u8; 32],
    /// The siteUrl.
    pub site_url: String,
    /// The viaPort; `None` for a direct connection.
    pub via_port: Option<String>,
    /// The number of its [`SharedRecord`].
    pub shared: u32,
    /// A disabled connection is never due.
    pub disabled: bool,
}

impl Record for CxnRecord {
    const TREE: TreeName = TreeName::Cxn;
}

impl CxnRecord {
    /// The host that is connected to.
    pub fn host(&self) -> String {
        let via_port = self.via_port.as_deref().and_then(|text| text.parse().ok());
        host(&self.site_url, via_port.as_ref())
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
    const TREE: TreeName = TreeName::Meta;
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
    /// That of the last attempt in milliseconds. Since version 2.
    last_duration_ms: u32,
    /// Those of the attempts before, in milliseconds. Since version 3.
    former_durations_ms: Vec<u32>,
    /// Since version 4.
    network: Option<u32>,
    /// Since version 5.
    early_s: u32,
    /// Fingerprint, days, last day. Since version 6.
    redirect: Option<(u64, u8, i64)>,
    /// Level, count, lastRun. Since version 7.
    last_poll: Option<(u32, u32, UnixTime)>,
}

impl Record for StatusRecord {
    const TREE: TreeName = TreeName::Status;
    const VERSION: u8 = 7;
    const DEFAULT_TAILS: &'static [&'static [u8]] = &[&[0; 6], &[0; 5], &[0; 4], &[0; 3], &[0; 2], &[0]];
}

impl From<&PollStatus> for StatusRecord {
    fn from(status: &PollStatus) -> Self {
        let former = status.attempts.split_last().map_or(&[][..], |(_, former)| former);
        Self {
            level: status.level,
            count: status.count,
            last_run: status.last_run,
            not_before: status.not_before,
            deferrals: status.deferrals,
            last_success: status.last_success,
            last_failure: status.last_failure.as_ref().map(|(at, f)| (*at, f.class as u8, f.message.clone())),
            attempts: status.attempts.iter().map(|a| (a.at, a.class.map_or(0, |class| class as u8))).collect(),
            last_duration_ms: status.last_duration_ms(),
            former_durations_ms: former.iter().map(|attempt| attempt.duration_ms).collect(),
            network: status.network,
            early_s: status.early_s,
            redirect: status.redirect.map(|seen| (seen.fingerprint, seen.days, seen.last_day)),
            last_poll: status.last_poll.map(|polled| (polled.level, polled.count, polled.last_run)),
        }
    }
}

impl TryFrom<StatusRecord> for PollStatus {
    type Error = Item;

    fn try_from(record: StatusRecord) -> Result<Self, Item> {
        let class = |number| FailureClass::from_number(number).ok_or(Item::Record(StatusRecord::TREE.name()));
        let mut durations = record.former_durations_ms;
        // An older version knows only the last.
        durations.resize(record.attempts.len().saturating_sub(1), 0);
        durations.push(record.last_duration_ms);
        let attempt = |((at, number), duration_ms)| {
            Ok(Attempt { at, class: if number == 0 { None } else { Some(class(number)?) }, duration_ms })
        };
        Ok(Self {
            level: record.level,
            count: record.count,
            last_run: record.last_run,
            early_s: record.early_s,
            not_before: record.not_before,
            deferrals: record.deferrals,
            last_success: record.last_success,
            last_failure: match record.last_failure {
                Some((at, number, message)) => Some((at, Failure::new(class(number)?, message))),
                None => None,
            },
            network: record.network,
            attempts: record.attempts.into_iter().zip(durations).map(attempt).collect::<Result<_, _>>()?,
            redirect: record.redirect.map(|(fingerprint, days, last_day)| SeenRedirect { fingerprint, days, last_day }),
            last_poll: record.last_poll.map(|(level, count, last_run)| Schedule { level, count, last_run }),
        })
    }
}

/// The value of an entry of the due index, so that selecting and counting need no other tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct DueRecord {
    /// The hash of the host that is connected to, for interleaving.
    ///
    /// In version 1 it is a hash of 32 bits that is the same in all stores.
    pub host: HostHash,
    /// The status's level, also in a bucket that is not of a level.
    pub level: u32,
    /// The status's count.
    pub count: u32,
}

impl Record for DueRecord {
    const TREE: TreeName = TreeName::Due;
    const VERSION: u8 = 2;
    const DEFAULT_TAILS: &'static [&'static [u8]] = &[&[]];
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_status_reads_back() {
        let redirect = Some(SeenRedirect { fingerprint: u64::MAX, days: 2, last_day: 20_000 });
        let last_poll = Some(Schedule { level: 1, count: 300, last_run: 1_767_225_600 });
        let mut status = PollStatus { level: 2, count: 7, not_before: Some(9), early_s: 600, ..PollStatus::default() };
        (status.redirect, status.last_poll) = (redirect, last_poll);
        for now in 1..=12 {
            let failed = Err(Failure::new(FailureClass::Timeout, "connecting"));
            status.remember(now, &if now % 2 == 0 { Ok(()) } else { failed });
            status.attempts.last_mut().unwrap().duration_ms = 100 * u32::try_from(now).unwrap();
        }
        assert_eq!(status.attempts.len(), PollStatus::ATTEMPTS);
        let bytes = StatusRecord::from(&status).to_bytes().unwrap();
        assert_eq!(PollStatus::try_from(StatusRecord::from_bytes(&bytes).unwrap()), Ok(status));
    }

    #[test]
    fn an_unknown_version_is_refused() {
        let mut bytes = DueRecord { host: 1, level: 2, count: 3 }.to_bytes().unwrap();
        for version in [0, 3] {
            bytes[0] = version;
            assert!(DueRecord::from_bytes(&bytes).is_err());
        }
    }

    #[test]
    fn an_older_status_lacks_durations() {
        let attempt = |at, duration_ms| Attempt { at, class: None, duration_ms };
        let status =
            PollStatus { level: 1, last_run: 9, attempts: vec![attempt(8, 0), attempt(9, 7)], ..PollStatus::default() };
        let bytes = StatusRecord::from(&status).to_bytes().unwrap();
        let read = |version, missing| {
            let old = [&[version], &bytes[1..bytes.len() - missing]].concat();
            StatusRecord::from_bytes(&old).and_then(PollStatus::try_from)
        };
        for (version, missing) in [(6, 1), (5, 2), (4, 3), (3, 4)] {
            assert_eq!(read(version, missing), Ok(status.clone()));
        }
        assert_eq!(read(2, 6), Ok(status.clone()), "the last duration is known");
        assert_eq!(read(1, 7), Ok(PollStatus { attempts: vec![attempt(8, 0), attempt(9, 0)], ..status }));
    }

    #[test]
    fn what_is_encoded_can_be_decoded() {
        let shared = |length| SharedRecord { app_url: String::new(), perm: "x".repeat(length) };
        let status = |length, attempts| StatusRecord {
            last_failure: Some((1, 1, "x".repeat(length))),
            attempts: vec![(1, 0); attempts],
            ..StatusRecord::from(&PollStatus::default())
        };
        assert!(SharedRecord::from_bytes(&shared(MAX_RECORD_BYTES - 64).to_bytes().unwrap()).is_ok());
        for error in [
            shared(MAX_RECORD_BYTES).to_bytes(),
            status(MAX_RECORD_BYTES, 0).to_bytes(),
            // A short element counts as many bytes as a long one.
            status(0, MAX_RECORD_BYTES / 16 + 1).to_bytes(),
        ] {
            assert!(matches!(error, Err(Error::RecordTooLarge(Item::Record(_)))), "{error:?}");
        }
    }

    proptest! {
        #[test]
        fn other_bytes_are_an_error_and_no_panic(bytes: Vec<u8>) {
            let _ = CxnRecord::from_bytes(&bytes);
            let _ = StatusRecord::from_bytes(&bytes).map(PollStatus::try_from);
            for version in 1..=StatusRecord::VERSION {
                let versioned = [&[version], bytes.as_slice()].concat();
                let _ = CxnRecord::from_bytes(&versioned);
                let _ = StatusRecord::from_bytes(&versioned).map(PollStatus::try_from);
            }
        }

        #[test]
        fn a_record_with_bytes_behind_it_is_refused(tail in proptest::collection::vec(any::<u8>(), 1..9)) {
            let bytes = [DueRecord { host: 1, level: 2, count: 3 }.to_bytes().unwrap(), tail].concat();
            prop_assert!(DueRecord::from_bytes(&bytes).is_err());
        }
    }
}
