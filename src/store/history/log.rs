//! The files of history, and the entries in them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use memchr::memmem::Finder;

use super::ends::Ends;
use super::entry::{AdminEntry, Audit, Entry, Frame, JobTransition};
use super::frames::{FrameReader, open, put, whole_end};
use super::names::{SUFFIX, is_file_name, month_of, name_of, segment_before, segment_of};
use crate::model::{AppId, CxnId, JobName, Transition, UnixTime};
use crate::store::error::{Error, Item, Result};
use crate::store::failpoint::{self, Failpoint};
use crate::store::schema::WriteSession;
use crate::util::file_error::{FileError, FileOp};
use crate::util::fs_atomic::{private_dir, private_file, sync_dir};
use crate::util::time::unix_now;

/// The most entries of one frame. More are split.
const MAX_FRAME_ENTRIES: usize = 4096;

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
    /// [`Error::File`]; [`Error::RecordTooLarge`] if a single entry is too large to be read again.
    pub fn append(&self, session: &WriteSession, frame: Frame) -> Result<()> {
        self.append_all(session, [frame])
    }

    /// Appends frames in their order, as [`History::append`] does.
    ///
    /// Those of one month that follow each other are written at once.
    ///
    /// # Errors
    /// Those of [`History::append`].
    pub fn append_all(&self, _session: &WriteSession, frames: impl IntoIterator<Item = Frame>) -> Result<()> {
        let mut months: Vec<(String, Vec<u8>)> = Vec::new();
        for Frame { at, job, entries } in frames {
            for entries in entries.chunks(MAX_FRAME_ENTRIES) {
                let month = segment_of(at);
                if months.last().is_none_or(|(last, _)| *last != month) {
                    months.push((month, Vec::new()));
                }
                let frame = Frame { at, job: job.clone(), entries: entries.to_vec() };
                months.last_mut().map_or(Ok(()), |(_, bytes)| put_in_parts(bytes, frame))?;
            }
        }
        months.into_iter().try_for_each(|(month, bytes)| self.write(&month, &bytes))
    }

    /// The frames of statuses that go away, each in the month until which something was known.
    ///
    /// So they are read between the polls before and after, also if these have another clock. None is older than history.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(in crate::store) fn frames_of(&self, losses: Vec<JobTransition>) -> Result<Vec<Frame>> {
        let began = if losses.is_empty() { None } else { self.began()? };
        let mut frames: BTreeMap<(String, (AppId, JobName)), Frame> = BTreeMap::new();
        for (job, loss) in losses {
            let Transition { at, unknown_from, .. } = loss.transition;
            let at = began.map_or(at, |began| unknown_from.unwrap_or(at).max(began));
            let frame = || Frame { at, job: Some(job.clone()), entries: Vec::new() };
            frames.entry((segment_of(at), job.clone())).or_insert_with(frame).entries.push(Entry::Transition(loss));
        }
        Ok(frames.into_values().collect())
    }

    /// Appends an action of a user on connections, before the store records it. Nothing is written if there are none.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn audit(&self, session: &WriteSession, audit: &Audit, action: &str, cxns: Vec<String>) -> Result<()> {
        self.append_all(session, audit.frame(action, cxns))
    }

    /// Appends an action of a user on the whole store.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn audit_store(&self, session: &WriteSession, audit: &Audit, action: &str) -> Result<()> {
        self.append(session, Frame { at: unix_now(), job: None, entries: vec![audit.entry(action, Vec::new())] })
    }

    /// Notes that history begins, unless it has begun by then. About the time before nothing is known.
    ///
    /// Actions of users have the real time, which may be later than that of the schedule. Only the first frame shows when
    /// history begins, so this one is in a file before all others.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn begin(&self, _session: &WriteSession, at: UnixTime) -> Result<()> {
        if self.began()?.is_some_and(|began| began <= at) {
            return Ok(());
        }
        let (own, first) = (segment_of(at), self.segments()?.into_iter().next());
        let segment = match first.filter(|first| *first <= own) {
            Some(first) => segment_before(&first),
            None => Some(own),
        };
        let Some(segment) = segment else { return Ok(()) };
        let mut bytes = Vec::new();
        put_in_parts(&mut bytes, Frame { at, job: None, entries: Vec::new() })?;
        self.write(&segment, &bytes)
    }

    fn write(&self, month: &str, bytes: &[u8]) -> Result<()> {
        self.add(&self.path(month), bytes)?;
        failpoint::hit(Failpoint::HistoryWritten);
        Ok(())
    }

    /// Appends frames to a file, in place of what an interrupted append left there, and makes them durable.
    ///
    /// They come behind all that was ever acknowledged, so that what is damaged or lost stays where it was. Only for a process
    /// that excludes others by a lock.
    pub(super) fn add(&self, path: &Path, frames: &[u8]) -> Result<()> {
        private_dir(&self.dir).map_err(FileError::at(FileOp::Create, &self.dir))?;
        let mut ends = self.ends();
        if !ends.exists {
            self.note_ends(&mut ends)?;
        }
        let is_new = !path.exists();
        let file = private_file(path).map_err(FileError::at(FileOp::Open, path))?;
        let noted = ends.of(name_of(path));
        let end = whole_end(path, &file, noted).map_err(FileError::at(FileOp::Read, path))?;
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
        // Without it, less damage is found. That is no reason for the change to fail.
        let _ = ends.note(name_of(path), Some(end + frames.len() as u64));
        Ok(())
    }

    /// The ends of the files that are noted.
    pub(super) fn ends(&self) -> Ends {
        Ends::read(&self.dir)
    }

    /// Notes the ends of all files, which an earlier build did not, nor does a backup have them.
    pub(super) fn note_ends(&self, ends: &mut Ends) -> Result<()> {
        for name in self.names()? {
            let path = self.dir.join(&name);
            if let Ok(end) = open(&path).and_then(|file| whole_end(&path, &file, None)) {
                let _ = ends.note(&name, Some(end));
            }
        }
        Ok(())
    }

    /// When history begins, UTC seconds: the time of the first entry that is kept. `None` if there is none.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn began(&self) -> Result<Option<UnixTime>> {
        for segment in self.segments()? {
            let Some(mut reader) = self.reader(&segment, 0)? else { continue };
            let frame = reader.next(Frame::from_bytes).map_err(self.unreadable(&segment))?;
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
            let Some(mut reader) = self.reader(segment, 0)? else { continue };
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
        let Some(mut reader) = self.reader(segment, offset)? else { return Ok(0) };
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
        let (ends, mut positions) = (self.ends(), Positions::new());
        for segment in self.segments()? {
            let path = self.path(&segment);
            match open(&path).and_then(|file| whole_end(&path, &file, ends.of(name_of(&path)))) {
                // It was too old to be kept.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                end => _ = positions.insert(segment, end.map_err(FileError::at(FileOp::Read, &path))?),
            }
        }
        Ok(positions)
    }

    /// Opens the file of a month; `None` if there is none, because it was too old to be kept.
    fn reader(&self, segment: &str, offset: u64) -> Result<Option<FrameReader>> {
        let path = self.path(segment);
        match FrameReader::open(&path, offset) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            reader => Ok(Some(reader.map_err(FileError::at(FileOp::Open, &path))?)),
        }
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

/// Adds a frame in as many parts as it takes, so that each can be read again.
fn put_in_parts(out: &mut Vec<u8>, mut frame: Frame) -> Result<()> {
    if put(out, &frame.to_bytes()) {
        return Ok(());
    }
    let half = frame.entries.len() / 2;
    let rest = match &mut *frame.entries {
        [Entry::Admin(action)] if action.cxns.len() > 1 => {
            let cxns = action.cxns.split_off(action.cxns.len() / 2);
            vec![Entry::Admin(AdminEntry { cxns, ..action.clone() })]
        }
        [] | [_] => return Err(Error::RecordTooLarge(Item::HistoryEntry)),
        _ => frame.entries.split_off(half),
    };
    let rest = Frame { entries: rest, job: frame.job.clone(), at: frame.at };
    put_in_parts(out, frame)?;
    put_in_parts(out, rest)
}

#[cfg(test)]
mod tests;
