//! The directory `backups/`: which backups it holds, and their order.
//!
//! The number in the first line of a backup orders them, because the clock that gave them their names may have been wrong. An
//! encrypted backup has it also in a note of its header. Files with other names are ignored.

use std::cmp::Reverse;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDateTime, Utc};
use flate2::bufread::MultiGzDecoder;
use serde_json::Value;

use super::layout::{StoreLayout, names};
use crate::model::UnixTime;
use crate::store::error::Result;
use crate::util::encryption::{MAGIC, note};

/// The time in the name of a backup, UTC.
const TIME_FORMAT: &str = "%Y%m%dT%H%M%SZ";
const SUFFIX: &str = ".jsonl.gz";
/// What follows in the name of an encrypted backup.
const ENCRYPTED: &str = ".age";
/// The name of the note with the number of an encrypted backup.
pub const SEQUENCE_NOTE: &str = "cxnpoll-backup";
/// How far ahead of the clock the time of a backup may be, in seconds.
const CLOCK_TOLERANCE_S: i64 = 300;
/// The longest first line of a backup, in bytes.
const MAX_FIRST_LINE: u64 = 4096;

/// The backups of a store.
#[derive(Debug, Default)]
pub struct Backups {
    /// The backups that count, the newest first.
    pub past: Vec<PathBuf>,
    /// The backups whose names have a time in the future. They count as the oldest.
    pub future: Vec<PathBuf>,
    /// The number of the next backup.
    pub next_sequence: u64,
}

/// The times in the names of a store's backups.
#[derive(Debug, Default)]
pub struct BackupTimes {
    /// The latest time that is not in the future; `None` if there is none.
    pub latest: Option<UnixTime>,
    /// The backups whose time is in the future.
    pub future: Vec<PathBuf>,
}

/// The name of a backup: `20260131T120000Z.jsonl.gz`.
///
/// `number` counts the backups of the same second from 1: the name of the second has `-2` after the time. That of an
/// encrypted one has `.age` at its end.
pub fn backup_name(time: DateTime<Utc>, number: u32, is_encrypted: bool) -> String {
    let (time, end) = (time.format(TIME_FORMAT), if is_encrypted { ENCRYPTED } else { "" });
    if number < 2 { format!("{time}{SUFFIX}{end}") } else { format!("{time}-{number}{SUFFIX}{end}") }
}

/// Reads the time from the name of a backup; `None` for any other name.
fn time_of(name: &str) -> Option<UnixTime> {
    let name = name.strip_suffix(ENCRYPTED).unwrap_or(name);
    let stem = name.strip_suffix(SUFFIX)?;
    let (time, number) = stem.split_once('-').map_or((stem, Some(1)), |(time, number)| (time, number.parse().ok()));
    let time = NaiveDateTime::parse_from_str(time, TIME_FORMAT).ok()?.and_utc();
    (backup_name(time, number?, false) == name).then(|| time.timestamp())
}

/// Reads the number of a backup from its first line, or from a note. That of version 1 has none and counts as 0.
///
/// `None` if the line cannot be read.
fn sequence_of(path: &Path) -> Option<u64> {
    let mut file = BufReader::new(File::open(path).ok()?);
    let start = file.fill_buf().ok()?;
    if start.starts_with(MAGIC) {
        return note(start, SEQUENCE_NOTE)?.parse().ok();
    }
    let gzip = MultiGzDecoder::new(file);
    let mut line = String::new();
    BufReader::new(gzip.take(MAX_FIRST_LINE)).read_line(&mut line).ok()?;
    let first: Value = serde_json::from_str(&line).ok()?;
    let backup = first.get("backup")?;
    backup.get("sequence").map_or(Some(0), Value::as_u64)
}

impl StoreLayout {
    /// Lists the backups in their order, as it is at `now`.
    ///
    /// The place of a backup whose first line cannot be read follows from its time: it may be the newest.
    ///
    /// # Errors
    /// [`Error::File`](crate::store::Error::File) where the directory cannot be read.
    pub fn backup_list(&self, now: UnixTime) -> Result<Backups> {
        let found: Vec<_> = self
            .timed_backups()?
            .filter(|(path, _)| path.is_file())
            .map(|(path, at)| (sequence_of(&path), at, path))
            .collect();
        let known = || found.iter().filter_map(|(sequence, at, _)| Some(((*sequence)?, *at)));
        let mut backups = Backups {
            next_sequence: known().map(|(sequence, _)| sequence).max().unwrap_or(0).saturating_add(1),
            ..Backups::default()
        };
        let before = |time: UnixTime| known().filter(|(_, at)| *at <= time).map(|(sequence, _)| sequence).max();
        let key = |(sequence, at, path): &(Option<u64>, UnixTime, PathBuf)| {
            let place = sequence.or_else(|| before(*at)).unwrap_or(0);
            Reverse((place, *at, sequence.is_none(), path.clone()))
        };
        let mut ordered: Vec<_> = found.iter().collect();
        ordered.sort_by_cached_key(|backup| key(backup));
        for (_, at, path) in ordered {
            let list = if is_future(*at, now) { &mut backups.future } else { &mut backups.past };
            list.push(path.clone());
        }
        Ok(backups)
    }

    /// Reads the times in the names of the backups. Opens no file.
    ///
    /// # Errors
    /// As [`StoreLayout::backup_list`].
    pub fn backup_times(&self, now: UnixTime) -> Result<BackupTimes> {
        let mut times = BackupTimes::default();
        for (path, at) in self.timed_backups()? {
            if is_future(at, now) {
                times.future.push(path);
            } else {
                times.latest = times.latest.max(Some(at));
            }
        }
        Ok(times)
    }

    /// The paths of the backups with the times in their names.
    fn timed_backups(&self) -> Result<impl Iterator<Item = (PathBuf, UnixTime)>> {
        let dir = self.backups();
        Ok(names(&dir)?.into_iter().filter_map(move |name| Some((dir.join(&name), time_of(name.to_str()?)?))))
    }
}

fn is_future(at: UnixTime, now: UnixTime) -> bool {
    at > now.saturating_add(CLOCK_TOLERANCE_S)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::util::encryption::{Encrypting, Identities};

    /// 2026-01-31T12:00:00Z
    const NOON: i64 = 1_769_860_800;

    #[test]
    fn only_names_of_backups_have_a_time() {
        let time = DateTime::from_timestamp(NOON, 0).unwrap();
        assert_eq!(
            (backup_name(time, 1, false).as_str(), time_of("20260131T120000Z.jsonl.gz")),
            ("20260131T120000Z.jsonl.gz", Some(NOON))
        );
        for is_encrypted in [false, true] {
            assert_eq!(time_of(&backup_name(time, 12, is_encrypted)), Some(NOON));
        }
        assert_eq!(backup_name(time, 2, true), "20260131T120000Z-2.jsonl.gz.age");
        for other in [
            "20260131T120000Z.jsonl",
            "20260131T120000Z.jsonl.age",
            "20260131T120000Z.jsonl.gz.age.age",
            "20260131T120000Z-1.jsonl.gz",
            "20260131T120000Z-02.jsonl.gz",
            "20260131T120000Z-.jsonl.gz",
            "+20260131T120000Z.jsonl.gz",
            "20260131T120000Z-copy.jsonl.gz",
            "backup.writing",
            "2026.jsonl.gz",
            "",
        ] {
            assert_eq!(time_of(other), None, "{other}");
        }
    }

    /// Writes a file whose first line is `line`, and returns its name.
    fn write(layout: &StoreLayout, at: i64, line: &str) -> String {
        fs::create_dir_all(layout.backups()).unwrap();
        let name = backup_name(DateTime::from_timestamp(at, 0).unwrap(), 1, false);
        let mut gzip = GzEncoder::new(File::create_new(layout.backups().join(&name)).unwrap(), Compression::fast());
        writeln!(gzip, "{line}").unwrap();
        gzip.finish().unwrap();
        name
    }

    fn numbered(layout: &StoreLayout, at: i64, sequence: u64) -> String {
        write(layout, at, &format!(r#"{{"backup":{{"version":2,"at":{at},"program":"","sequence":{sequence}}}}}"#))
    }

    fn file_names(paths: &[PathBuf]) -> Vec<&str> {
        paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect()
    }

    #[test]
    fn numbers_order_backups_and_the_future_is_old() {
        let directory = tempfile::tempdir().unwrap();
        let layout = StoreLayout::prepared(directory.path()).unwrap();
        assert_eq!(layout.backup_list(NOON).unwrap().next_sequence, 1);
        let first = write(&layout, NOON - 50, r#"{"backup":{"version":1,"at":0,"program":""}}"#);
        let second = write(&layout, NOON - 40, r#"{"backup":{"version":1,"at":0,"program":""}}"#);
        let third = numbered(&layout, NOON - 30, 1);
        // The clock was behind, then ten years ahead, then a little ahead.
        let behind = numbered(&layout, NOON - 9_000, 2);
        let ahead = numbered(&layout, NOON + 10 * 365 * 86_400, 3);
        let newest = numbered(&layout, NOON + CLOCK_TOLERANCE_S, 4);
        fs::write(layout.backups().join("mine.jsonl.gz"), "").unwrap();
        let backups = layout.backup_list(NOON).unwrap();
        assert_eq!(file_names(&backups.past), [&newest, &behind, &third, &second, &first]);
        assert_eq!((file_names(&backups.future), backups.next_sequence), (vec![ahead.as_str()], 5));
        let times = layout.backup_times(NOON).unwrap();
        assert_eq!((times.latest, file_names(&times.future)), (Some(NOON + CLOCK_TOLERANCE_S), vec![ahead.as_str()]));
        assert_eq!(layout.backup_times(NOON - 9_900).unwrap().latest, None);
    }

    #[test]
    fn encrypted_backups_are_ordered_among_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let layout = StoreLayout::prepared(directory.path()).unwrap();
        let third = numbered(&layout, NOON - 30, 3);
        let encrypted = |at: i64, sequence: &str| {
            let name = backup_name(DateTime::from_timestamp(at, 0).unwrap(), 1, true);
            let recipients = vec![Identities::generate().unwrap().1; 60];
            let file = File::create_new(layout.backups().join(&name)).unwrap();
            Encrypting::new(file, &recipients, &[SEQUENCE_NOTE, sequence]).unwrap().finish().unwrap();
            name
        };
        let second = encrypted(NOON - 20, "2");
        let fourth = encrypted(NOON - 9_000, "4");
        let backups = layout.backup_list(NOON).unwrap();
        assert_eq!((file_names(&backups.past), backups.next_sequence), (vec![&*fourth, &third, &second], 5));
    }

    #[test]
    fn a_backup_that_cannot_be_read_keeps_its_place() {
        for (damaged, place) in [(NOON - 40, 2), (NOON - 25, 1), (NOON - 5, 0)] {
            let directory = tempfile::tempdir().unwrap();
            let layout = StoreLayout::prepared(directory.path()).unwrap();
            numbered(&layout, NOON - 30, 7);
            numbered(&layout, NOON - 20, 8);
            let damaged = write(&layout, damaged, "{");
            let backups = layout.backup_list(NOON).unwrap();
            assert_eq!((file_names(&backups.past)[place], backups.next_sequence), (damaged.as_str(), 9));
        }
    }
}
