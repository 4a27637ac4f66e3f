//! The messages of sites that were answered with success, so that none of them has an effect twice.
//!
//! They are in some of [`BUCKETS`] entries of the tree `meta`. The store's key decides in which, so that no site can choose
//! messages that displace another one. An entry is rewritten without what has expired, so the memory is as small as the
//! number of registrations in the last hours, and never grows beyond its limit. It is not in backups.

use bincode::{Decode, Encode};

use super::host_key::HostKey;
use super::keys::meta_key;
use super::records::{Record, read};
use super::session::{ReadSession, WriteSession};
use crate::model::UnixTime;
use crate::store::engine::{Get, TreeName, Tx, TxResult, Write};
use crate::store::error::Result;
use crate::util::time::DAY_S;

/// The kind of the keys in the tree `meta`.
pub const MESSAGES: u8 = b'm';
/// How many entries there are at most.
const BUCKETS: u64 = 1024;
/// How many messages an entry holds; the oldest makes room for another. So there are 65,536.
const MAX_PER_BUCKET: usize = 64;
/// For how long a message is remembered at most.
const MAX_REMEMBERED_S: i64 = 7 * DAY_S;

/// A message that was answered with success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Message {
    /// The first bytes of its signature.
    signature: [u8; 16],
    /// Until when it counts, UTC seconds.
    until: UnixTime,
    /// The number of the request that brought it.
    pub request: u64,
}

/// The messages of one entry, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
struct MessagesRecord(Vec<Message>);

impl Record for MessagesRecord {
    const TREE: TreeName = TreeName::Meta;
}

impl Message {
    /// A message that is valid until `ttl` and was received at `now`.
    #[must_use]
    pub fn new(hmac: &[u8; 32], ttl: UnixTime, now: UnixTime, request: u64) -> Self {
        Self { signature: signature(hmac), until: ttl.min(now.saturating_add(MAX_REMEMBERED_S)), request }
    }

    fn key(&self, host_key: HostKey) -> Vec<u8> {
        key_of(host_key, &self.signature)
    }
}

fn signature(hmac: &[u8; 32]) -> [u8; 16] {
    *hmac.first_chunk().expect("32 bytes hold 16")
}

fn key_of(host_key: HostKey, signature: &[u8; 16]) -> Vec<u8> {
    let bucket = u16::try_from(host_key.hash_bytes(signature) % BUCKETS).unwrap_or_default();
    meta_key(MESSAGES, &bucket.to_be_bytes())
}

/// Finds a message that is remembered at `now`; `None` for any other.
///
/// # Errors
/// Those of the database, also if the entry cannot be read.
pub fn find_message<G: Get>(
    from: &G,
    host_key: HostKey,
    hmac: &[u8; 32],
    now: UnixTime,
) -> Result<Option<Message>, G::Error> {
    let signature = signature(hmac);
    let record: Option<MessagesRecord> = read(from, &key_of(host_key, &signature))?;
    let mut messages = record.unwrap_or_default().0.into_iter();
    Ok(messages.find(|message| message.signature == signature && message.until >= now))
}

/// Remembers a message within a transaction, and forgets those that have expired at `now`.
///
/// # Errors
/// Those of the database, also if the entry cannot be read.
pub fn remember_message(tx: &Tx, host_key: HostKey, message: Message, now: UnixTime) -> TxResult<()> {
    let key = message.key(host_key);
    let mut record: MessagesRecord = read(tx, &key)?.unwrap_or_default();
    record.0.retain(|known| known.until >= now && known.signature != message.signature);
    record.0.drain(..record.0.len().saturating_sub(MAX_PER_BUCKET - 1));
    record.0.push(message);
    tx.insert(TreeName::Meta, &key, record.to_bytes()?)
}

/// The write that makes an entry as it should be: one that cannot be read is removed. `None` if it is right.
///
/// # Errors
/// [`Error::RecordTooLarge`](crate::store::Error::RecordTooLarge).
pub fn repaired_messages(session: &ReadSession, key: &[u8], value: &[u8]) -> Result<Option<Write>> {
    let Ok(record) = MessagesRecord::from_bytes(value) else { return Ok(Some(Write::remove(TreeName::Meta, key))) };
    let mut kept: Vec<Message> = Vec::new();
    for message in &record.0 {
        if message.key(session.host_key()) == key && kept.iter().all(|other| other.signature != message.signature) {
            kept.push(*message);
        }
    }
    kept.drain(..kept.len().saturating_sub(MAX_PER_BUCKET));
    let kept = MessagesRecord(kept);
    if kept == record {
        return Ok(None);
    }
    Ok(Some(Write::put(TreeName::Meta, key, kept.to_bytes()?)))
}

impl ReadSession {
    /// All messages that are remembered, for a database that takes the place of this one. Those that cannot be read are left out.
    ///
    /// # Errors
    /// Those of the database.
    pub fn messages(&self) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        for entry in self.trees.entries(TreeName::Meta, &[MESSAGES], None) {
            messages.extend(MessagesRecord::from_bytes(&entry?.1).unwrap_or_default().0);
        }
        Ok(messages)
    }
}

impl WriteSession {
    /// Remembers messages of another database, as far as they have not expired at `now`.
    ///
    /// # Errors
    /// Those of the database.
    pub fn remember_messages(&self, messages: &[Message], now: UnixTime) -> Result<()> {
        let current = messages.iter().filter(|message| message.until >= now);
        current
            .copied()
            .try_for_each(|message| self.trees.transact(|tx| remember_message(tx, self.host_key(), message, now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use std::time::Duration;

    const NOW: UnixTime = 1_800_000_000;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store"), Duration::from_secs(10)).unwrap();
        (dir, store)
    }

    fn hmac(number: u32) -> [u8; 32] {
        let mut hmac = [7; 32];
        hmac[..4].copy_from_slice(&number.to_be_bytes());
        hmac
    }

    fn remember(session: &WriteSession, number: u32, ttl: UnixTime, now: UnixTime) {
        let message = Message::new(&hmac(number), ttl, now, number.into());
        session.trees.transact(|tx| remember_message(tx, session.host_key(), message, now)).unwrap();
    }

    fn is_known(session: &WriteSession, number: u32, now: UnixTime) -> bool {
        let found = find_message(&session.trees, session.host_key(), &hmac(number), now).unwrap();
        assert!(found.is_none_or(|message| message.request == u64::from(number)));
        found.is_some()
    }

    #[test]
    fn a_message_is_remembered_until_its_ttl_and_a_week_at_most() {
        let (_dir, store) = store();
        store
            .write(|session| {
                remember(session, 1, NOW + 7200, NOW);
                remember(session, 2, UnixTime::MAX, NOW);
                let known = |number, at| is_known(session, number, at);
                assert!(known(1, NOW) && known(1, NOW + 7200) && !known(1, NOW + 7201));
                assert!(known(2, NOW + 7 * DAY_S) && !known(2, NOW + 7 * DAY_S + 1));
                assert!(!known(3, NOW));
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn the_memory_is_bounded_and_holds_the_newest() {
        let (_dir, store) = store();
        let all = u32::try_from(BUCKETS).unwrap() * 80;
        store
            .write(|session| {
                for number in (0..all).step_by(1000) {
                    remember(session, number, NOW + 7200, NOW);
                }
                // A thousand more for one entry, as if someone knew the key.
                let key = key_of(session.host_key(), &signature(&hmac(0)));
                let same = |number: &u32| key_of(session.host_key(), &signature(&hmac(*number))) == key;
                let same: Vec<u32> = (1..).filter(same).take(MAX_PER_BUCKET).collect();
                for number in &same {
                    remember(session, *number, NOW + 7200, NOW);
                }
                assert!(!is_known(session, 0, NOW) && same.iter().all(|number| is_known(session, *number, NOW)));
                let value = session.get(TreeName::Meta, &key)?.unwrap();
                assert!(value.len() < super::super::MAX_VALUE_BYTES, "{}", value.len());
                // What has expired makes room.
                remember(session, same[0], NOW + 9000, NOW + 7201);
                assert!(session.get(TreeName::Meta, &key)?.unwrap().len() < 40);
                Ok(())
            })
            .unwrap();
        assert_eq!(store.check(false).unwrap().faults, 0);
    }

    #[test]
    fn a_check_finds_what_is_not_as_it_should_be_and_repairs_it() {
        let (_dir, store) = store();
        let damaged = |value: &(dyn Fn(&WriteSession, Vec<u8>) -> Vec<u8> + Sync)| {
            let damage = |session: &WriteSession| {
                remember(session, 1, NOW + 7200, NOW);
                let key = key_of(session.host_key(), &signature(&hmac(1)));
                let value = value(session, session.get(TreeName::Meta, &key)?.unwrap().to_vec());
                session.trees.apply(&[Write::put(TreeName::Meta, key, value)])
            };
            store.write(damage).unwrap();
            let found = store.check(true).unwrap();
            assert_eq!((found.faults, found.repaired), (1, 1), "{found:?}");
            assert_eq!(store.check(false).unwrap().faults, 0);
            store.write(|session| Ok(is_known(session, 1, NOW))).unwrap()
        };
        let record = |change: fn(&mut Vec<Message>)| {
            move |_: &WriteSession, value: Vec<u8>| {
                let mut record = MessagesRecord::from_bytes(&value).unwrap();
                change(&mut record.0);
                record.to_bytes().unwrap()
            }
        };
        let other = Message { signature: [9; 16], until: NOW, request: 0 };
        assert!(!damaged(&|_, _| vec![9, 9, 9]), "it is removed");
        assert!(damaged(&record(|messages| messages.push(messages[0]))), "twice");
        assert!(damaged(&|session: &WriteSession, value: Vec<u8>| {
            let mut other = other;
            while other.key(session.host_key()) == key_of(session.host_key(), &signature(&hmac(1))) {
                other.signature[0] += 1;
            }
            let mut record = MessagesRecord::from_bytes(&value).unwrap();
            record.0.push(other);
            record.to_bytes().unwrap()
        }));
    }

    #[test]
    fn another_database_takes_the_messages_over() {
        let (_dir, from) = store();
        let (_dir, to) = store();
        let messages = from
            .write(|session| {
                remember(session, 1, NOW + 7200, NOW);
                remember(session, 2, NOW + 1, NOW);
                session.messages()
            })
            .unwrap();
        to.write(|session| {
            session.remember_messages(&messages, NOW + 60)?;
            assert!(is_known(session, 1, NOW + 60) && !is_known(session, 2, NOW));
            Ok(())
        })
        .unwrap();
        assert_eq!(to.check(false).unwrap().faults, 0);
    }
}
