//! What a closed database could lose while sled opens it: its log behind the newest snapshot.
//!
//! If sled cannot read a part of that, it takes the log for shorter than it is, and overwrites the rest with zeros. So
//! this part is read and kept in memory before sled opens the database, and compared afterwards.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tempfile::{SpooledTempFile, spooled_tempfile_in};

use super::log::{HEAD_BYTES, Head, SEGMENT_BYTES, Usage, segment_lsn};
use crate::util::file_error::{FileError, FileOp};
use crate::util::fs_atomic::{AtomicFile, Durability, sync_dir};

/// The file of a database in its directory, with sled's log. sled names and locks it.
pub const DB_FILE: &str = "db";
/// How much of a log is kept in memory; more is kept in an unnamed file beside the log.
const MAX_MEMORY_BYTES: usize = 16 << 20;
/// A file that is put back has this name until it is complete. sled must not take it for a snapshot.
const STAGING: &str = "restored.new";

/// The log of a closed database behind its newest snapshot.
pub(super) struct Tail {
    database: PathBuf,
    path: PathBuf,
    file: File,
    file_bytes: u64,
    /// The heads of all segments, in the order of the file.
    heads: Vec<Head>,
    /// The numbers of the segments behind the snapshot, in the order of the log.
    segments: Vec<usize>,
    usage: Usage,
    /// The contents of these segments.
    contents: Option<SpooledTempFile>,
    /// The snapshot and the separate values behind it, which sled may remove.
    files: Vec<(PathBuf, File)>,
}

/// What an opening made of a log of which it recovered only a part.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Loss {
    recovered: u64,
    checksum: u32,
}

impl Tail {
    /// Reads the log of a closed database. [`Tail::restore`] needs `restorable`, which takes as much space as the tail.
    ///
    /// # Errors
    /// The first part that cannot be read.
    pub fn read(database: &Path, restorable: bool) -> Result<Self, FileError> {
        let path = database.join(DB_FILE);
        let failed = FileError::at(FileOp::Read, &path);
        let file = File::options().read(true).write(true).open(&path).map_err(FileError::at(FileOp::Open, &path))?;
        let file_bytes = file.metadata().map_err(&failed)?.len();
        let snapshot = newest_snapshot(database)?;
        let recovered = snapshot.as_ref().map_or(0, |(lsn, _)| *lsn);
        let first = recovered - recovered % SEGMENT_BYTES as u64;
        let mut tail = Self {
            database: database.to_owned(),
            file,
            file_bytes,
            heads: Vec::new(),
            segments: Vec::new(),
            usage: Usage::default(),
            contents: restorable.then(|| spooled_tempfile_in(MAX_MEMORY_BYTES, database)),
            files: Vec::new(),
            path: path.clone(),
        };
        let mut behind = Vec::new();
        while offset(tail.heads.len()) + HEAD_BYTES as u64 <= file_bytes {
            let number = tail.heads.len();
            let head = tail.head(number).map_err(&failed)?;
            behind.extend(segment_lsn(&head).filter(|lsn| *lsn >= first).map(|lsn| (lsn, number)));
            tail.heads.push(head);
        }
        behind.sort_unstable();
        let mut buffer = vec![0; SEGMENT_BYTES];
        for (lsn, number) in behind {
            let segment = tail.segment(number, &mut buffer).map_err(&failed)?;
            tail.usage.add(number, segment, lsn);
            tail.segments.push(number);
            if let Some(contents) = &mut tail.contents {
                contents.write_all(&buffer).map_err(FileError::at(FileOp::Write, database))?;
            }
        }
        if restorable {
            let keep = snapshot.map(|(_, path)| path).into_iter().chain(blobs_behind(database, recovered)?);
            for path in keep {
                let file = File::open(&path).map_err(FileError::at(FileOp::Open, &path))?;
                tail.files.push((path, file));
            }
        }
        Ok(tail)
    }

    /// What the open database lacks of the log; `None` if it has everything.
    ///
    /// # Errors
    /// The first part that cannot be read.
    pub fn loss(&self) -> Result<Option<Loss>, FileError> {
        let failed = FileError::at(FileOp::Read, &self.path);
        let recovered = newest_snapshot(&self.database)?.map_or(0, |(lsn, _)| lsn);
        let mut is_whole = recovered >= self.usage.end;
        // sled clears only whole segments of what is before the end that it recovered.
        for number in self.usage.segments_in_use() {
            is_whole &= self.head(number).map_err(&failed)? == self.heads[number];
        }
        if is_whole {
            return Ok(None);
        }
        let (mut hasher, mut buffer) = (crc32fast::Hasher::new(), vec![0; SEGMENT_BYTES]);
        for number in &self.segments {
            hasher.update(self.segment(*number, &mut buffer).map_err(&failed)?);
        }
        Ok(Some(Loss { recovered, checksum: hasher.finalize() }))
    }

    /// Undoes what an opening changed. Only while the database is closed.
    ///
    /// # Errors
    /// The first operation that failed.
    pub fn restore(&mut self) -> Result<(), FileError> {
        if self.restore_log().map_err(FileError::at(FileOp::Write, &self.path))? {
            self.file.sync_all().map_err(FileError::at(FileOp::Sync, &self.path))?;
        }
        // The former snapshot has to be there before the new one is removed.
        let staging = self.database.join(STAGING);
        for (path, kept) in &mut self.files {
            if !path.exists() {
                put_back(&staging, path, kept).map_err(FileError::at(FileOp::Write, path))?;
            }
        }
        for (_, path) in snapshots(&self.database)? {
            if !self.files.iter().any(|(kept, _)| *kept == path) {
                fs::remove_file(&path).map_err(FileError::at(FileOp::Remove, &path))?;
                sync_dir(&self.database).map_err(FileError::at(FileOp::Sync, &self.database))?;
            }
        }
        Ok(())
    }

    /// Restores the log, and returns whether it had changed.
    fn restore_log(&mut self) -> io::Result<bool> {
        let mut changed = self.file.metadata()?.len() != self.file_bytes;
        if changed {
            self.file.set_len(self.file_bytes)?;
        }
        let (mut former, mut buffer) = (vec![0; SEGMENT_BYTES], vec![0; SEGMENT_BYTES]);
        if let Some(contents) = &mut self.contents {
            contents.rewind()?;
        }
        for number in &self.segments {
            let Some(contents) = &mut self.contents else { break };
            contents.read_exact(&mut former)?;
            let len = self.file_bytes.saturating_sub(offset(*number)).min(SEGMENT_BYTES as u64);
            let former = &former[..usize::try_from(len).unwrap_or(SEGMENT_BYTES)];
            if self.segment(*number, &mut buffer).ok() != Some(former) {
                self.file.write_all_at(former, offset(*number))?;
                changed = true;
            }
        }
        // What is left held no page, and sled cleared it or used it again.
        for number in (0..self.heads.len()).filter(|number| !self.segments.contains(number)) {
            let head = self.head(number).ok();
            if head != Some(self.heads[number]) && head != Some([0; HEAD_BYTES]) {
                self.file.write_all_at(&[0; HEAD_BYTES], offset(number))?;
                changed = true;
            }
        }
        Ok(changed)
    }

    /// Reads the head of a segment; behind the end of the file it is zero.
    fn head(&self, number: usize) -> io::Result<Head> {
        let mut head = [0; HEAD_BYTES];
        read_up_to_end(&self.file, &mut head, offset(number))?;
        Ok(head)
    }

    /// Reads a segment into `buffer`, up to the end of the file. The rest of `buffer` becomes zero.
    fn segment<'a>(&self, number: usize, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let len = read_up_to_end(&self.file, buffer, offset(number))?;
        let (segment, rest) = buffer.split_at_mut(len);
        rest.fill(0);
        Ok(segment)
    }
}

/// Where the segment of this number begins in the file.
fn offset(number: usize) -> u64 {
    (number * SEGMENT_BYTES) as u64
}

/// Fills `buffer` from an offset on, and returns how much of it there was.
fn read_up_to_end(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match file.read_at(&mut buffer[len..], offset + len as u64) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// Writes a file again that was removed, from its open handle.
fn put_back(staging: &Path, path: &Path, kept: &mut File) -> io::Result<()> {
    kept.rewind()?;
    let mut file = AtomicFile::staged_as(staging, path)?;
    io::copy(kept, file.file())?;
    file.commit(Durability::Durable, || ())
}

/// Lists the snapshots of a database with their lsn, including those that sled did not complete.
pub(super) fn snapshots(database: &Path) -> Result<Vec<(u64, PathBuf)>, FileError> {
    let mut snapshots = Vec::new();
    for entry in fs::read_dir(database).map_err(FileError::at(FileOp::List, database))? {
        let path = entry.map_err(FileError::at(FileOp::List, database))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if let Some(lsn) = name.strip_prefix("snap.") {
            let lsn = u64::from_str_radix(lsn.split('.').next().unwrap_or_default(), 16);
            snapshots.push((lsn.unwrap_or_default(), path));
        }
    }
    Ok(snapshots)
}

/// The snapshot with which sled begins, and its lsn; `None` if there is none.
fn newest_snapshot(database: &Path) -> Result<Option<(u64, PathBuf)>, FileError> {
    Ok(snapshots(database)?.into_iter().max())
}

/// Lists the values in files of their own that sled removes if it recovers nothing behind `recovered`.
fn blobs_behind(database: &Path, recovered: u64) -> Result<Vec<PathBuf>, FileError> {
    let dir = database.join("blobs");
    let entries = match fs::read_dir(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(FileError::at(FileOp::List, &dir))?,
    };
    let mut behind = Vec::new();
    for entry in entries {
        let entry = entry.map_err(FileError::at(FileOp::List, &dir))?;
        let lsn = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
        behind.extend(lsn.filter(|lsn| *lsn >= recovered).map(|_| entry.path()));
    }
    Ok(behind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::engine::database::{open_database, settle, wait_until_closed};
    use std::time::Duration;

    /// A closed database of which several segments are behind the snapshot.
    fn database() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        settle_new(path);
        let database = open_database(path).unwrap();
        for number in 0..4000_u32 {
            database.insert(number.to_be_bytes(), vec![7; 400]).unwrap();
        }
        database.flush().unwrap();
        drop(database);
        wait_until_closed(path, Duration::MAX).unwrap();
        directory
    }

    fn settle_new(path: &Path) {
        drop(open_database(path).unwrap());
        wait_until_closed(path, Duration::MAX).unwrap();
        settle(path).unwrap();
    }

    fn contents(database: &Path) -> (Vec<u8>, Vec<(u64, PathBuf)>) {
        (fs::read(database.join(DB_FILE)).unwrap(), snapshots(database).unwrap())
    }

    #[test]
    fn an_opening_that_recovers_everything_is_no_loss() {
        let directory = database();
        let tail = Tail::read(directory.path(), true).unwrap();
        assert!(tail.segments.len() > 2, "{:?}", tail.segments);
        assert!(tail.loss().unwrap().is_some(), "nothing has opened the database");
        let database = open_database(directory.path()).unwrap();
        assert_eq!(tail.loss().unwrap(), None);
        assert_eq!(newest_snapshot(directory.path()).unwrap().unwrap().0, tail.usage.end);
        assert_eq!(database.len(), 4000);
    }

    #[test]
    fn what_an_opening_cleared_is_seen_and_put_back() {
        let directory = database();
        let path = directory.path();
        let before = contents(path);
        let mut tail = Tail::read(path, true).unwrap();
        drop(open_database(path).unwrap());
        wait_until_closed(path, Duration::MAX).unwrap();
        let last = *tail.segments.last().unwrap();
        tail.file.write_all_at(&vec![0; SEGMENT_BYTES], offset(last)).unwrap();
        let first = tail.loss().unwrap();
        assert!(first.is_some());
        tail.file.set_len(offset(last)).unwrap();
        assert_ne!(tail.loss().unwrap(), first);
        tail.restore().unwrap();
        assert!(contents(path) == before, "the database differs");
        assert_eq!(open_database(path).unwrap().len(), 4000);
    }

    #[test]
    fn a_torn_batch_is_removed_as_a_whole() {
        let directory = database();
        let path = directory.path();
        let database = open_database(path).unwrap();
        let mut batch = sled::Batch::default();
        (10_000..10_100_u32).for_each(|number| batch.insert(&number.to_be_bytes(), vec![7; 400]));
        database.apply_batch(batch).unwrap();
        database.flush().unwrap();
        drop(database);
        wait_until_closed(path, Duration::MAX).unwrap();
        let tail = Tail::read(path, true).unwrap();
        let end = offset(*tail.segments.last().unwrap()) + tail.usage.end % SEGMENT_BYTES as u64;
        tail.file.write_all_at(&[0; 50], end - 50).unwrap();
        let tail = Tail::read(path, true).unwrap();
        assert_eq!(open_database(path).unwrap().len(), 4000);
        assert!(tail.loss().unwrap().is_some(), "messages of the batch are whole");
    }
}
