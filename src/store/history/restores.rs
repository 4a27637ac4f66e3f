//! What became of places in the files of history when restores replaced them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::frames::open;
use super::log::{History, Positions};
use crate::store::error::{Error, Result};
use crate::util::file_error::{FileError, FileOp};
use crate::util::fs_atomic::private_file;

/// The file of a history that has its restores. It becomes current together with the history.
const FILE: &str = "restored.json";
/// How many restores are kept. A reader that missed more counts as having read all that the last one restored.
const MAX_RESTORES: usize = 16;

/// The restores that made a history what it is, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restores(Vec<Restore>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Restore {
    id: String,
    /// How many bytes of each restored month are those of the month before, and how many it has.
    months: BTreeMap<String, (u64, u64)>,
}

impl History {
    /// The restores of this history; none if the file cannot be read.
    #[must_use]
    pub fn restores(&self) -> Restores {
        fs::read(self.dir().join(FILE)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Notes in this history, which is to take the place of `former`, what becomes of the places there.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Random`].
    pub(super) fn note_restore(&self, former: &Self) -> Result<()> {
        let mut id = [0; 8];
        getrandom::fill(&mut id).map_err(Error::Random)?;
        let common = |month: &String| common_bytes(&former.path(month), &self.path(month)).unwrap_or(0);
        let months = self.end()?.into_iter().map(|(month, end)| {
            let common = common(&month).min(end);
            (month, (common, end))
        });
        let Restores(mut all) = former.restores();
        all.push(Restore { id: hex::encode(id), months: months.collect() });
        all.drain(..all.len().saturating_sub(MAX_RESTORES));
        let path = self.dir().join(FILE);
        let write = || private_file(&path)?.write_all(serde_json::json!(all).to_string().as_bytes());
        Ok(write().map_err(FileError::at(FileOp::Write, &path))?)
    }
}

impl Restores {
    /// Identifies the history; `None` if it was never restored.
    #[must_use]
    pub fn last_id(&self) -> Option<&str> {
        self.0.last().map(|restore| &*restore.id)
    }

    /// The positions now of a reader that knew the history of an id, or one that was never restored.
    ///
    /// What it had read is not read again, and neither is what only the backup has: that is older than the restore. All that it
    /// had not read and that was restored, and all that was added since, is still to be read.
    #[must_use]
    pub fn translate(&self, known: Option<&str>, positions: &Positions) -> Positions {
        let all = |last: &Restore| last.months.iter().map(|(month, (_, end))| (month.clone(), *end)).collect();
        let missed = match known {
            None => &self.0[..],
            Some(known) => match (self.0.iter().position(|restore| restore.id == known), self.0.last()) {
                (Some(at), _) => &self.0[at + 1..],
                (None, Some(last)) => return all(last),
                (None, None) => &[],
            },
        };
        let after = |positions: Positions, restore: &Restore| {
            let position = |(month, (common, end)): (&String, &(u64, u64))| {
                let read = positions.get(month).copied().unwrap_or(0);
                (month.clone(), if read < *common { read } else { *end })
            };
            restore.months.iter().map(position).collect()
        };
        missed.iter().fold(positions.clone(), after)
    }
}

/// How many bytes at the beginning of two files are the same.
fn common_bytes(one: &Path, other: &Path) -> io::Result<u64> {
    let [mut one, mut other] = [BufReader::new(open(one)?), BufReader::new(open(other)?)];
    let mut common = 0;
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let length = left.len().min(right.len());
        let same = left.iter().zip(right).take_while(|(left, right)| left == right).count();
        common += same as u64;
        if same < length || length == 0 {
            return Ok(common);
        }
        one.consume(length);
        other.consume(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a history of months with these bytes.
    fn history(dir: &Path, months: &[(&str, &str)]) -> History {
        fs::create_dir(dir).unwrap();
        let history = History::new(dir.to_owned());
        for (month, bytes) in months {
            fs::write(history.path(month), bytes).unwrap();
            history.ends().note(&format!("{month}.log"), Some(bytes.len() as u64)).unwrap();
        }
        history
    }

    #[test]
    fn positions_follow_each_restore() {
        let dir = tempfile::tempdir().unwrap();
        let months = |pairs: &[(&str, u64)]| pairs.iter().map(|(month, at)| ((*month).to_owned(), *at)).collect();
        let first = history(&dir.path().join("1"), &[("2026-10", "aaaa"), ("2026-11", "bbbbbb"), ("2026-12", "cc")]);
        let second = history(&dir.path().join("2"), &[("2026-09", "zz"), ("2026-10", "aaaa"), ("2026-11", "bbbxx")]);
        second.note_restore(&first).unwrap();
        let restores = second.restores();
        let translate = |known, pairs: &[(&str, u64)]| restores.translate(known, &months(pairs));
        // All was read.
        let end = months(&[("2026-09", 2), ("2026-10", 4), ("2026-11", 5)]);
        assert_eq!(translate(None, &[("2026-10", 4), ("2026-11", 6), ("2026-12", 2)]), end);
        // A part of what was restored was not read, in a month that was begun and in one that was not.
        let part = months(&[("2026-09", 2), ("2026-10", 3), ("2026-11", 0)]);
        assert_eq!(translate(None, &[("2026-10", 3)]), part);
        // A reader that knows the restore stays where it is.
        let id = restores.last_id().unwrap().to_owned();
        assert_eq!(translate(Some(&id), &[("2026-10", 1)]), months(&[("2026-10", 1)]));
        assert_eq!(translate(Some("other"), &[("2026-10", 1)]), end);
        assert_eq!(Restores::default().translate(Some("other"), &end), end);

        // The restore of a restored history counts from that.
        let third = history(&dir.path().join("3"), &[("2026-11", "bbbbbb")]);
        third.note_restore(&second).unwrap();
        let twice = third.restores();
        assert_eq!(twice.translate(Some(&id), &months(&[("2026-11", 2)])), months(&[("2026-11", 2)]));
        assert_eq!(twice.translate(None, &months(&[("2026-11", 2)])), months(&[("2026-11", 2)]));
        assert_eq!(twice.translate(None, &months(&[("2026-11", 6)])), months(&[("2026-11", 6)]));
        let mut last = third;
        for number in 4..30 {
            let next = history(&dir.path().join(number.to_string()), &[("2026-11", "bbbbbb")]);
            next.note_restore(&last).unwrap();
            last = next;
        }
        assert_eq!(last.restores().0.len(), MAX_RESTORES);
        assert_eq!(last.restores().translate(Some(&id), &months(&[("2026-11", 2)])), months(&[("2026-11", 6)]));
    }
}
