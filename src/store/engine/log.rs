//! The format of sled's log, as far as it shows what an opening must not lose.
//!
//! The log is one file of segments. A segment begins with a head, which has its position in the log: its lsn, in bytes
//! since the beginning of the log. Messages follow. Each is a state of a page, or a change of one.

use std::collections::{BTreeSet, HashMap};
use std::iter;

/// The size of a segment, which is the default of sled.
pub(super) const SEGMENT_BYTES: usize = 512 * 1024;
/// The size of the head of a segment.
pub(super) const HEAD_BYTES: usize = 20;
/// sled begins no message closer to the end of a segment.
const MAX_MESSAGE_HEAD_BYTES: usize = 32;

/// The head of a segment.
pub(super) type Head = [u8; HEAD_BYTES];

// The kinds of messages.
const CANCELED: u8 = 1;
const CAP: u8 = 2;
const BATCH: u8 = 3;
const INLINE_LINK: u8 = 10;
const BLOB_LINK: u8 = 11;

/// The lsn in the head of a segment; `None` for a segment that is not in use.
pub(super) fn segment_lsn(head: &Head) -> Option<u64> {
    let (crc, rest) = head.split_first_chunk::<4>()?;
    let (lsn, _) = rest.split_first_chunk::<8>()?;
    let is_whole = !crc32fast::hash(rest) == u32::from_le_bytes(*crc);
    is_whole.then(|| u64::from_le_bytes(*lsn) ^ i64::MAX.cast_unsigned())
}

/// A message about a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Message {
    page: u64,
    /// Whether the earlier messages of the page are no longer needed.
    replaces: bool,
    /// The lsn behind the message.
    end: u64,
}

/// The messages about pages in a segment, up to the first one that is not whole.
fn messages(segment: &[u8], lsn: u64) -> impl Iterator<Item = Message> {
    let mut at = HEAD_BYTES;
    iter::from_fn(move || {
        loop {
            let (kind, page, len) = message(segment.get(at..)?, lsn / SEGMENT_BYTES as u64)?;
            if kind == CAP || at + MAX_MESSAGE_HEAD_BYTES > SEGMENT_BYTES {
                return None;
            }
            at += len;
            if kind != CANCELED && kind != BATCH {
                let replaces = kind != INLINE_LINK && kind != BLOB_LINK;
                return Some(Message { page, replaces, end: lsn + at as u64 });
            }
        }
    })
}

/// The kind, page and length of the message at the beginning of `bytes`; `None` if it is not whole.
fn message(bytes: &[u8], segment: u64) -> Option<(u8, u64, usize)> {
    let (crc, head) = bytes.split_first_chunk::<4>()?;
    let (&kind, mut rest) = head.split_first()?;
    let body_len = usize::try_from(number(&mut rest)?).ok()?;
    let of_segment = number(&mut rest)?;
    let page = number(&mut rest)?;
    let body = rest.get(..body_len)?;
    let head = &head[..head.len() - rest.len()];
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(body);
    hasher.update(head);
    let is_whole = !hasher.finalize() == u32::from_le_bytes(*crc);
    (is_whole && of_segment == segment && (CANCELED..=BLOB_LINK).contains(&kind)).then_some((
        kind,
        page,
        crc.len() + head.len() + body_len,
    ))
}

/// Takes a number, in sled's encoding of variable length, from the beginning of `bytes`.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = bytes.split_first()?;
    let len = match first {
        0..=240 => 0,
        241..=248 => 1,
        249 => 2,
        _ => usize::from(first - 247),
    };
    let (rest, after) = rest.split_at_checked(len)?;
    let (first, byte) = (u64::from(first), |at: usize| u64::from(rest[at]));
    *bytes = after;
    Some(match len {
        0 => first,
        1 => 240 + 256 * (first - 241) + byte(0),
        2 => 2288 + 256 * byte(0) + byte(1),
        _ => rest.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)),
    })
}

/// What the pages need of segments that follow each other in the log.
#[derive(Default)]
pub(super) struct Usage {
    /// The lsn behind the last message.
    pub end: u64,
    /// Page and segment of each message.
    messages: Vec<(u64, usize)>,
    /// The last message of each page that replaces its earlier ones.
    replaced_by: HashMap<u64, usize>,
}

impl Usage {
    /// Adds the segment of this number, which is behind those added so far.
    pub fn add(&mut self, number: usize, segment: &[u8], lsn: u64) {
        for Message { page, replaces, end } in messages(segment, lsn) {
            if replaces {
                self.replaced_by.insert(page, self.messages.len());
            }
            self.messages.push((page, number));
            self.end = end;
        }
    }

    /// The numbers of the segments that hold a message which no later one replaces.
    pub fn segments_in_use(&self) -> BTreeSet<usize> {
        let replaced_by = |page: &u64| self.replaced_by.get(page).copied().unwrap_or_default();
        let messages = self.messages.iter().enumerate();
        messages.filter(|(at, (page, _))| *at >= replaced_by(page)).map(|(_, (_, number))| *number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_encoding_of_sled() {
        for (bytes, expected) in [
            (&[240][..], 240),
            (&[241, 0], 240),
            (&[248, 255], 2287),
            (&[249, 0, 0], 2288),
            (&[249, 255, 255], 67_823),
            (&[250, 1, 2, 3], 0x03_02_01),
            (&[255, 1, 2, 3, 4, 5, 6, 7, 8], 0x0807_0605_0403_0201),
        ] {
            let followed = [bytes, &[9]].concat();
            let mut rest = &followed[..];
            assert_eq!((number(&mut rest), rest), (Some(expected), &[9][..]), "{bytes:?}");
            assert_eq!(number(&mut &bytes[..bytes.len() - 1]), None, "{bytes:?}");
        }
    }

    /// A message of a page without a body.
    fn message_of(kind: u8, page: u8, segment: u8) -> Vec<u8> {
        let head = [kind, 0, segment, page];
        [&(!crc32fast::hash(&head)).to_le_bytes()[..], &head].concat()
    }

    /// A segment with these messages.
    fn segment_of(messages: &[Vec<u8>]) -> Vec<u8> {
        [vec![0; HEAD_BYTES], messages.concat()].concat()
    }

    #[test]
    fn a_segment_is_in_use_until_its_pages_are_replaced() {
        const NODE: u8 = 8;
        let link = |page, segment| message_of(INLINE_LINK, page, segment);
        let node = |page, segment| message_of(NODE, page, segment);
        let segments = [
            segment_of(&[node(1, 0), link(2, 0)]),
            segment_of(&[message_of(CANCELED, 7, 1), node(1, 1), link(1, 1)]),
            segment_of(&[node(2, 2), message_of(CAP, 0, 2), node(1, 2)]),
            segment_of(&[link(2, 3), node(3, 9), node(1, 3)]),
        ];
        let mut usage = Usage::default();
        for (number, segment) in segments.iter().enumerate() {
            usage.add(number, segment, (number * SEGMENT_BYTES) as u64);
        }
        // The first is replaced. A cap, and a message of another segment, end what a segment holds.
        assert_eq!(usage.segments_in_use(), [1, 2, 3].into());
        assert_eq!(usage.end, (3 * SEGMENT_BYTES + HEAD_BYTES + 8) as u64);
    }
}
