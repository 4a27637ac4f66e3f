//! The files of history, and the entries in them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Datelike};
use memchr::memmem::Finder;

use super::entry::{AdminEntry, Audit, Entry, Frame};
use super::frames::{FrameReader, put, whole_end};
use crate::model::{CxnId, UnixTime};
use crate::store::error::{Error, Result};
use crate::store::failpoint::{self, Failpoint};
use crate::store::schema::WriteSession;
use crate::util::file_error::{FileError, FileOp};
use crate::util::fs_atomic::{private_dir, private_file, sync_dir};
use crate::util::time::unix_now;

/// The most entries of one frame. More are split.
const MAX_FRAME_ENTRIES: usize = 4096;
const SUFFIX: &str = ".log";

/// The history of a store.
#[derive(Debug, Clone)]
pub struct History {
    dir: PathBuf,
}

/// The end of a frame: the name of its file without the suffix, and an offset in bytes.
pub type Position = (String, u64);

/// How far each file was read, in bytes.
pub type Positions = BTreeMap<String, u64>;

impl History {
    /// The history in a directory, which need not exist yet.
    pub(in crate::store) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Appends entries, and makes them durable. Nothing is written if there are none.
    ///
    /// The session shows that no other process writes. It must not have recorded yet what the entries are about.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn append(&self, _session: &WriteSession, frame: Frame) -> Result<()> {
        let mut bytes = Vec::new();
        let Frame { at, job, entries } = frame;
        for entries in entries.chunks(MAX_FRAME_ENTRIES) {
            put(&mut bytes, &Frame { at, job: job.clone(), entries: entries.to_vec() }.to_bytes());
        }
        if bytes.is_empty() { Ok(()) } else { self.write(at, &bytes) }
    }

    /// Appends an action of a user on connections, before the store records it. Nothing is written if there are none.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn audit(&self, session: &WriteSession, audit: &Audit, action: &str, cxns: Vec<String>) -> Result<()> {
        let entries = if cxns.is_empty() { Vec::new() } else { vec![audit.entry(action, cxns)] };
        self.append(session, Frame { at: unix_now(), job: None, entries })
    }

    /// Appends an action of a user on the whole store.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn audit_store(&self, session: &WriteSession, audit: &Audit, action: &str) -> Result<()> {
        self.append(session, Frame { at: unix_now(), job: None, entries: vec![audit.entry(action, Vec::new())] })
    }

    /// Notes that history begins, unless it has begun. About the time before nothing is known.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn begin(&self, _session: &WriteSession, at: UnixTime) -> Result<()> {
        if !self.segments()?.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        put(&mut bytes, &Frame { at, job: None, entries: Vec::new() }.to_bytes());
        self.write(at, &bytes)
    }

    fn write(&self, at: UnixTime, bytes: &[u8]) -> Result<()> {
        self.add(&self.path(&segment_of(at)), bytes)?;
        failpoint::hit(Failpoint::HistoryWritten);
        Ok(())
    }

    /// Appends frames to a file, in place of what an interrupted append left there, and makes them durable.
    ///
    /// Only for a process that excludes others by a lock.
    pub(super) fn add(&self, path: &Path, frames: &[u8]) -> Result<()> {
        private_dir(&self.dir).map_err(FileError::at(FileOp::Create, &self.dir))?;
        let is_new = !path.exists();
        let file = private_file(path).map_err(FileError::at(FileOp::Open, path))?;
        let end = whole_end(path, &file).map_err(FileError::at(FileOp::Read, path))?;
        let write = || {
            if file.metadata()?.len() > end {
                file.set_len(end)?;
            }
            file.write_all_at(frames, end)
        };
        write().map_err(FileError::at(FileOp::Write, path))?;
        file.sync_data().map_err(FileError::at(FileOp::Sync, path))?;
        if is_new {
            sync_dir(&self.dir).map_err(FileError::at(FileOp::Sync, &self.dir))?;
        }
        Ok(())
    }

    /// When history begins, UTC seconds: the time of the first entry that is kept. `None` if there is none.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn began(&self) -> Result<Option<UnixTime>> {
        for segment in self.segments()? {
            let frame = self.reader(&segment, 0)?.next(Frame::from_bytes).map_err(self.unreadable(&segment))?;
            if let Some(frame) = frame.flatten() {
                return Ok(Some(frame.at));
            }
        }
        Ok(None)
    }

    /// Passes the frames from the month of `since` on to `emit`.
    ///
    /// They come by month, and within a month in the order of writing. What cannot be read is left out. Returns how many bytes
    /// that was.
    ///
    /// # Errors
    /// [`Error::File`], and those of `emit`.
    pub fn scan<E: From<Error>>(
        &self,
        since: UnixTime,
        mut emit: impl FnMut(Frame) -> Result<(), E>,
    ) -> Result<u64, E> {
        let first = segment_of(since);
        let mut damaged = 0;
        for segment in self.segments()?.into_iter().filter(|segment| *segment >= first) {
            damaged += self.scan_segment(&segment, 0, |frame, _| emit(frame))?;
        }
        Ok(damaged)
    }

    /// Passes the frames behind positions to `emit`, with the position behind each.
    ///
    /// A file that has no position is read from its beginning.
    ///
    /// # Errors
    /// [`Error::File`], and those of `emit`.
    pub fn scan_behind<E: From<Error>>(
        &self,
        positions: &Positions,
        mut emit: impl FnMut(Frame, Position) -> Result<(), E>,
    ) -> Result<(), E> {
        for segment in self.segments()? {
            let offset = positions.get(&segment).copied().unwrap_or(0);
            self.scan_segment(&segment, offset, |frame, end| emit(frame, (segment.clone(), end)))?;
        }
        Ok(())
    }

    /// The last actions of users on a connection, at most `most`, the oldest first.
    ///
    /// Reads from the newest month back. Frames without the cxnId are not decoded.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn actions_on(&self, cxn_id: &CxnId, most: usize) -> Result<Vec<AdminEntry>> {
        let text = Finder::new(cxn_id.as_str());
        let mut actions = Vec::new();
        for segment in self.segments()?.iter().rev() {
            let mut reader = self.reader(segment, 0)?;
            let frame = |bytes: &[u8]| text.find(bytes).and_then(|_| Frame::from_bytes(bytes));
            while let Some(frame) = reader.next(frame).map_err(self.unreadable(segment))? {
                actions.extend(frame.into_iter().flat_map(|frame| frame.entries).filter_map(|entry| match entry {
                    Entry::Admin(action) if action.cxns.iter().any(|cxn| cxn == cxn_id.as_str()) => Some(action),
                    _ => None,
                }));
            }
            if actions.len() >= most {
                break;
            }
        }
        actions.sort_by_key(|action| action.at);
        actions.drain(..actions.len().saturating_sub(most));
        Ok(actions)
    }

    /// Returns how many bytes cannot be read.
    fn scan_segment<E: From<Error>>(
        &self,
        segment: &str,
        offset: u64,
        mut emit: impl FnMut(Frame, u64) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut reader = match self.reader(segment, offset) {
            // It was too old to be kept.
            Err(Error::File(error)) if error.source.kind() == io::ErrorKind::NotFound => return Ok(0),
            reader => reader?,
        };
        while let Some(frame) = reader.next(Frame::from_bytes).map_err(self.unreadable(segment))? {
            if let Some(frame) = frame {
                emit(frame, reader.end())?;
            }
        }
        Ok(reader.damaged().iter().map(|range| range.end - range.start).sum())
    }

    /// The position behind all that is there.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn end(&self) -> Result<Positions> {
        let end = |segment: String| {
            let path = self.path(&segment);
            let end = File::open(&path).and_then(|file| whole_end(&path, &file));
            Ok((segment, end.map_err(FileError::at(FileOp::Read, &path))?))
        };
        self.segments()?.into_iter().map(end).collect()
    }

    fn reader(&self, segment: &str, offset: u64) -> Result<FrameReader> {
        let path = self.path(segment);
        Ok(FrameReader::open(&path, offset).map_err(FileError::at(FileOp::Open, &path))?)
    }

    fn unreadable(&self, segment: &str) -> impl Fn(io::Error) -> Error {
        let path = self.path(segment);
        move |error| FileError::at(FileOp::Read, &path)(error).into()
    }

    pub(super) fn path(&self, segment: &str) -> PathBuf {
        self.dir.join(format!("{segment}{SUFFIX}"))
    }

    /// The months that have a file, in order; none if there is no history yet.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(in crate::store) fn segments(&self) -> Result<Vec<String>> {
        let months = self.names()?.into_iter().filter_map(|name| month_of(&name).map(str::to_owned));
        Ok(months.collect())
    }

    /// The names of the files, in order; none if there is no history yet.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn names(&self) -> Result<Vec<String>> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(FileError::at(FileOp::List, &self.dir))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(FileError::at(FileOp::List, &self.dir))?.file_name();
            names.extend(name.into_string().ok().filter(|name| is_file_name(name)));
        }
        names.sort_unstable();
        Ok(names)
    }
}

/// Whether history has files of this name.
#[must_use]
pub fn is_file_name(name: &str) -> bool {
    month_of(name).is_some() || is_runs_file(name)
}

/// Whether a file of this name has the runs of a job.
fn is_runs_file(name: &str) -> bool {
    let hash = name.strip_prefix("runs-").and_then(|name| name.strip_suffix(".log"));
    hash.is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The month of the file of this name; `None` if it has another name.
pub(super) fn month_of(name: &str) -> Option<&str> {
    let is_digit = |(at, byte): (usize, u8)| if at == 4 { byte == b'-' } else { byte.is_ascii_digit() };
    name.strip_suffix(SUFFIX).filter(|month| month.len() == 7 && month.bytes().enumerate().all(is_digit))
}

/// The month of a time: `2026-11`. Months outside of the years 0 to 9999 count as the nearest within.
pub(super) fn segment_of(at: UnixTime) -> String {
    match DateTime::from_timestamp(at, 0) {
        Some(time) if (0..=9999).contains(&time.year()) => time.format("%Y-%m").to_string(),
        _ if at < 0 => "0000-01".to_owned(),
        _ => "9999-12".to_owned(),
    }
}
