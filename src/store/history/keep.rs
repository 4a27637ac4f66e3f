//! For how long history is kept, and what is wrong with its files.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use chrono::{Months, NaiveDate, NaiveTime};

use super::entry::Frame;
use super::frames::{FrameReader, LOST, open, whole_end};
use super::log::History;
use super::names::{is_file_name, month_of, name_of, segment_of};
use super::runs::RunEntry;
use crate::model::UnixTime;
use crate::store::engine::StoreLayout;
use crate::store::error::Result;
use crate::store::schema::WriteSession;
use crate::util::file_error::{FileError, FileOp};
use crate::util::fs_atomic::{private_file, sync_dir};
use crate::util::time::DAY_S;

/// Permissions that neither other users nor the group may have: the group may read.
const REFUSED_MODE: u32 = 0o027;

/// What is wrong with a file of history.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FileFaults {
    /// Whether it is a directory, or another thing that is no regular file.
    pub is_no_file: bool,
    /// The bytes that are damaged, which is nothing that a killed process left at the end.
    pub damaged: Vec<Range<u64>>,
    /// The bytes at its end that it had once.
    pub missing: Range<u64>,
    /// How many frames are whole and cannot be read.
    pub unreadable: u64,
    /// The permissions, if others may use the file.
    pub mode: Option<u32>,
}

impl FileFaults {
    /// How many bytes are damaged.
    pub fn damaged_bytes(&self) -> u64 {
        self.damaged.iter().map(|range| range.end - range.start).sum()
    }

    /// The bytes that are damaged or missing, in order.
    fn lost(&self) -> impl DoubleEndedIterator<Item = &Range<u64>> {
        self.damaged.iter().chain([&self.missing]).filter(|range| !range.is_empty())
    }
}

impl History {
    /// Removes the months of which all is more than `days` days old at `now`.
    ///
    /// The end of the second newest month counts, if `now` is later. So a run whose clock is wrong once removes nothing.
    ///
    /// # Errors
    /// [`Error::File`](crate::store::Error::File).
    pub fn remove_old(&self, now: UnixTime, days: u32) -> Result<()> {
        let months = self.segments()?;
        let Some(second) = months.iter().rev().nth(1) else { return Ok(()) };
        let oldest = end_of(second).min(now).saturating_sub(i64::from(days) * DAY_S);
        let first = segment_of(oldest);
        for path in months.iter().filter(|month| **month < first).map(|month| self.path(month)) {
            self.ends().note(name_of(&path), None).map_err(FileError::at(FileOp::Write, self.dir()))?;
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(FileError::at(FileOp::Remove, &path)(error).into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Passes what is in a file to `emit`, in pieces of at most `piece` bytes.
    ///
    /// What is being written is left out. Nothing is passed if the file is gone.
    ///
    /// # Errors
    /// [`Error::File`](crate::store::Error::File), and those of `emit`.
    pub fn copy_file<E: From<crate::store::Error>>(
        &self,
        name: &str,
        piece: usize,
        mut emit: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let path = self.dir().join(name);
        let failed = |error| crate::store::Error::from(FileError::at(FileOp::Read, &path)(error));
        let end = self.ends().of(name);
        let file = match open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened.map_err(failed)?,
        };
        let mut rest = (&file).take(whole_end(&path, &file, end).map_err(failed)?);
        let mut bytes = Vec::with_capacity(piece);
        loop {
            bytes.clear();
            if (&mut rest).take(piece as u64).read_to_end(&mut bytes).map_err(failed)? == 0 {
                return Ok(());
            }
            emit(&bytes)?;
        }
    }

    /// The permissions of the directory, if others may use it; `None` too if there is no history.
    ///
    /// # Errors
    /// [`Error::File`](crate::store::Error::File).
    pub(in crate::store) fn refused_mode(&self) -> Result<Option<u32>> {
        if self.names()?.is_empty() { Ok(None) } else { refused_mode(self.dir()) }
    }

    /// The names of the files that are there or should be, in order.
    ///
    /// A month that is gone, and older than all others, was too old to be kept: an earlier build noted no ends.
    ///
    /// # Errors
    /// [`Error::File`](crate::store::Error::File).
    pub(in crate::store) fn expected_names(&self) -> Result<BTreeSet<String>> {
        let ends = self.ends();
        let mut names: BTreeSet<_> = self.names()?.into_iter().collect();
        let oldest = names.iter().find(|name| month_of(name).is_some()).cloned();
        let is_old = |name: &str| month_of(name).is_some() && oldest.as_deref().is_none_or(|oldest| name < oldest);
        names.extend(ends.iter().map(|(name, _)| name.to_owned()).filter(|name| is_file_name(name) && !is_old(name)));
        Ok(names)
    }

    /// Checks a file.
    ///
    /// # Errors
    /// [`Error::File`](crate::store::Error::File).
    pub(in crate::store) fn check_file(&self, name: &str) -> Result<FileFaults> {
        let path = self.dir().join(name);
        let end = || self.ends().of(name).unwrap_or(0);
        let noted = end();
        let mut reader = match FrameReader::open(&path, 0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(FileFaults { missing: 0..end().min(noted), ..FileFaults::default() });
            }
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                return Ok(FileFaults { is_no_file: true, ..FileFaults::default() });
            }
            opened => opened.map_err(FileError::at(FileOp::Open, &path))?,
        };
        let is_month = month_of(name).is_some();
        let is_readable = |bytes: &[u8]| {
            if is_month { Frame::from_bytes(bytes).is_some() } else { RunEntry::from_bytes(bytes).is_some() }
        };
        let (mut unreadable, failed) = (0, FileError::at(FileOp::Read, &path));
        while let Some(is_readable) = reader.next(is_readable).map_err(&failed)? {
            unreadable += u64::from(!is_readable);
        }
        // A file of runs may have been made shorter meanwhile, once that was noted.
        let noted = end().min(noted);
        let (mut damaged, (rest, is_append)) = (reader.damaged().to_vec(), reader.rest().map_err(&failed)?);
        if !rest.is_empty() && (rest.start < noted || !is_append) {
            damaged.push(rest.clone());
        }
        let missing = rest.end..noted.max(rest.end);
        Ok(FileFaults { is_no_file: false, damaged, missing, unreadable, mode: refused_mode(&path)? })
    }

    /// Takes what is damaged out of a file, and keeps it in `kept/`.
    ///
    /// The rest stays where it is in the file, because readers know the places of what they have read. What takes the place of
    /// damaged and missing bytes counts as neither.
    ///
    /// # Errors
    /// [`Error::File`](crate::store::Error::File).
    pub(in crate::store) fn repair_file(&self, _: &WriteSession, layout: &StoreLayout, name: &str) -> Result<()> {
        let _held = self.lock_runs()?;
        let path = self.dir().join(name);
        let sync_names = || sync_dir(self.dir()).map_err(FileError::at(FileOp::Sync, self.dir()));
        // It is checked again, because it may have been written meanwhile.
        let mut faults = self.check_file(name)?;
        if faults.is_no_file {
            let kept = format!("{name}.replaced");
            let former = layout.kept().join(&kept);
            let _ = fs::remove_dir_all(&former).or_else(|_| fs::remove_file(&former));
            layout.archive(&path, kept.as_ref())?;
            sync_names()?;
            faults = self.check_file(name)?;
        }
        let Some(end) = faults.lost().next_back().map(|range| range.end) else { return Ok(()) };
        let mut file = private_file(&path).map_err(FileError::at(FileOp::Open, &path))?;
        if !faults.damaged.is_empty() {
            let (kept_path, mut kept) = layout.kept_file(&format!("{name}.damaged"))?;
            for range in &faults.damaged {
                copy(&mut file, range.clone(), &mut kept).map_err(FileError::at(FileOp::Write, &kept_path))?;
            }
            kept.sync_all().map_err(FileError::at(FileOp::Sync, &kept_path))?;
        }
        let fill = || faults.lost().try_for_each(|range| fill(&file, range)).and_then(|()| file.sync_all());
        fill().map_err(FileError::at(FileOp::Write, &path))?;
        sync_names()?;
        let mut ends = self.ends();
        let _ = ends.note(name, ends.of(name).max(Some(end)));
        Ok(())
    }

    /// Takes the permissions of others to a file, or to the directory if `name` is `None`.
    ///
    /// # Errors
    /// [`Error::File`](crate::store::Error::File).
    pub(in crate::store) fn make_private(&self, name: Option<&str>, mode: u32) -> Result<()> {
        let path = name.map_or_else(|| self.dir().to_owned(), |name| self.dir().join(name));
        let permissions = Permissions::from_mode(mode & !REFUSED_MODE);
        Ok(fs::set_permissions(&path, permissions).map_err(FileError::at(FileOp::SetMode, &path))?)
    }
}

/// The permissions of a file, if some of [`REFUSED_MODE`] are among them.
fn refused_mode(path: &Path) -> Result<Option<u32>> {
    let metadata = fs::metadata(path).map_err(FileError::at(FileOp::Inspect, path))?;
    let mode = metadata.permissions().mode() & 0o777;
    Ok((mode & REFUSED_MODE != 0).then_some(mode))
}

fn copy(from: &mut File, range: Range<u64>, to: &mut impl Write) -> io::Result<()> {
    from.seek(SeekFrom::Start(range.start))?;
    io::copy(&mut from.take(range.end.saturating_sub(range.start)), to).map(drop)
}

/// Overwrites a part of a file with what stands for lost bytes.
fn fill(file: &File, range: &Range<u64>) -> io::Result<()> {
    let piece = vec![LOST; 64 << 10];
    let mut at = range.start;
    while at < range.end {
        let bytes = usize::try_from(range.end - at).unwrap_or(piece.len()).min(piece.len());
        file.write_all_at(&piece[..bytes], at)?;
        at += bytes as u64;
    }
    Ok(())
}

/// The first second after a month, such as `2026-11`.
fn end_of(month: &str) -> UnixTime {
    let first = format!("{month}-01").parse::<NaiveDate>().ok();
    let next = first.and_then(|first| first.checked_add_months(Months::new(1)));
    next.map_or(UnixTime::MAX, |next| next.and_time(NaiveTime::MIN).and_utc().timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_that_are_too_old_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let history = History::new(dir.path().to_owned());
        let time =
            |text: &str| format!("{text}T00:00:00Z").parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp();
        let left = |months: &[&str], now: &str, days| {
            for name in history.segments().unwrap() {
                fs::remove_file(history.path(&name)).unwrap();
            }
            for month in months {
                fs::write(history.path(month), "").unwrap();
                history.ends().note(&format!("{month}.log"), Some(9)).unwrap();
            }
            history.remove_old(time(now), days).unwrap();
            let left = history.segments().unwrap();
            let noted = |name: &String| history.ends().of(&format!("{name}.log")).is_some();
            assert!(months.iter().all(|month| left.contains(&(*month).to_owned()) == noted(&(*month).to_owned())));
            left
        };
        let all = ["2025-09", "2025-10", "2025-11", "2026-10", "2026-11"];
        // Four hundred days before the first of November.
        assert_eq!(left(&all, "2026-11-30", 400), all);
        assert_eq!(left(&all, "2026-11-30", 366), all[1..]);
        assert_eq!(left(&all, "2026-11-30", 1), all[3..]);
        assert_eq!(left(&all, "2026-01-01", 32), all[2..], "by the clock, where that is earlier");
        // One run with a wrong clock, which may be the first of the store.
        assert_eq!(left(&["2026-10", "2026-11", "2099-01"], "2099-01-02", 400), ["2026-10", "2026-11", "2099-01"]);
        assert_eq!(left(&["2025-01", "2026-11", "2099-01"], "2026-11-30", 400), ["2026-11", "2099-01"]);
        assert_eq!(left(&["2026-11"], "2099-01-02", 400), ["2026-11"]);
        assert_eq!(left(&["0000-01", "9999-12"], "2026-11-30", 400), ["0000-01", "9999-12"]);
    }
}
