//! How far the files of history have come, so that one that has lost its end is noticed.
//!
//! The file `ends` has a line of fixed length for each of them: the name, the end in bytes, and a checksum. A line is written once
//! what it is about is durable, and is not synced. So after a kill or a power cut a file may be longer than its line says, and is
//! shorter only if something is lost. Where a file becomes shorter on purpose, its line is synced before. Lines have no lock:
//! if two processes add one at the same time, one of them is missing until the next append. A line that cannot be read is missing.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::util::fs_atomic::private_file;

const FILE: &str = "ends";
const LINE_BYTES: usize = 56;
/// What follows is not read: more files than jobs and months there are.
const MAX_BYTES: u64 = 1 << 20;
/// No file of history is so large.
const MAX_END: u64 = 1 << 40;

/// The noted ends of the files of history.
pub(super) struct Ends {
    path: PathBuf,
    /// Whether the file exists.
    pub(super) exists: bool,
    /// `None` for a line that cannot be read, or whose file is removed.
    lines: Vec<Option<(String, u64)>>,
}

impl Ends {
    /// Reads the ends in a directory. There are none if they cannot be read.
    pub(super) fn read(dir: &Path) -> Self {
        let (path, mut bytes) = (dir.join(FILE), Vec::new());
        let read = File::open(&path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
        Self { path, exists: read.is_ok(), lines: bytes.chunks(LINE_BYTES).map(parse).collect() }
    }

    /// The end of a file in bytes; `None` if it is not known.
    pub(super) fn of(&self, name: &str) -> Option<u64> {
        self.iter().find_map(|(of, end)| (of == name).then_some(end))
    }

    /// The names of files with their ends.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.lines.iter().flatten().map(|(name, end)| (name.as_str(), *end))
    }

    /// Notes the end of a file, up to which it is durable; `None` before the file is removed.
    ///
    /// An end before the one that is noted is synced.
    ///
    /// # Errors
    /// Those of writing.
    pub(super) fn note(&mut self, name: &str, end: Option<u64>) -> io::Result<()> {
        let noted = self.of(name);
        if noted == end {
            return Ok(());
        }
        let is_line = |line: &Option<(String, u64)>| line.as_ref().is_some_and(|(of, _)| of == name);
        let at = self.lines.iter().position(is_line).or_else(|| self.lines.iter().position(Option::is_none));
        let at = at.unwrap_or_else(|| {
            self.lines.push(None);
            self.lines.len() - 1
        });
        let file = private_file(&self.path)?;
        let text = end.map_or_else(|| " ".repeat(LINE_BYTES - 1) + "\n", |end| line(name, end));
        file.write_all_at(text.as_bytes(), (at * LINE_BYTES) as u64)?;
        self.exists = true;
        self.lines[at] = end.map(|end| (name.to_owned(), end));
        if end < noted { file.sync_data() } else { Ok(()) }
    }
}

fn line(name: &str, end: u64) -> String {
    let text = format!("{name:<26}{end:>20}");
    format!("{text} {:08x}\n", crc32fast::hash(text.as_bytes()))
}

fn parse(bytes: &[u8]) -> Option<(String, u64)> {
    let mut words = std::str::from_utf8(bytes).ok()?.split_ascii_whitespace();
    let (name, end) = (words.next()?, words.next()?.parse().ok()?);
    (end <= MAX_END && line(name, end).as_bytes() == bytes).then(|| (name.to_owned(), end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn ends_are_read_back_and_damaged_lines_are_missing() {
        let dir = tempfile::tempdir().unwrap();
        let ends = || Ends::read(dir.path());
        assert!(!ends().exists);
        let runs = "runs-0123456789abcdef.log";
        for (name, end) in [("2026-11.log", 5), (runs, MAX_END), ("2026-12.log", 7), ("2026-11.log", 6)] {
            ends().note(name, Some(end)).unwrap();
        }
        ends().note("2026-12.log", None).unwrap();
        assert_eq!(ends().iter().collect::<Vec<_>>(), [("2026-11.log", 6), (runs, MAX_END)]);
        ends().note("2027-01.log", Some(1)).unwrap();
        let path = dir.path().join(FILE);
        let mut bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 3 * LINE_BYTES);
        bytes[40] = b'9';
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(ends().iter().collect::<Vec<_>>(), [(runs, MAX_END)]);
        ends().note("2026-11.log", Some(8)).unwrap();
        assert_eq!((ends().of("2026-11.log"), ends().of("2026-10.log")), (Some(8), None));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(ends().iter().count(), 0);
        assert!(ends().note("2026-11.log", Some(8)).is_err());
    }
}
