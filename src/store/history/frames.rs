//! Frames in a file: a mark, the length, a checksum, and the bytes.
//!
//! A process that is killed, or a power cut, can leave half a frame at the end. The next append removes it. Where the disk has
//! damaged a frame, a reader looks for the next mark. A repair overwrites what is damaged with [`LOST`], so that offsets of
//! frames never change.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use bincode::{Decode, Encode};
use memchr::memchr2;
use rustix::fs::OFlags;

/// Where a frame begins.
const MARK: [u8; 4] = [0xC7, b'H', b'F', 1];
const HEADER_BYTES: usize = 12;
/// What stands between frames in place of bytes that a repair removed. It is in no text.
pub(super) const LOST: u8 = 0xFE;
/// Fewer of them count only if nothing else is between two frames, or behind the last.
///
/// So they may be in half a frame.
const MIN_LOST: usize = 8;
/// A longer frame counts as damaged. Writers split their entries, so that their frames are shorter.
pub(super) const MAX_FRAME_BYTES: usize = 4 << 20;
/// In how many bytes at the end of a file the last frame is looked for first.
const TAIL_BYTES: u64 = 16 << 10;
/// How many bytes are read at a time.
const READ_BYTES: usize = 128 << 10;
/// How many bytes of what only looks like frames may be hashed at first.
///
/// So a file full of marks takes a time that its size bounds.
const MAX_HASHED_BYTES: usize = 16 * MAX_FRAME_BYTES;
/// How many more for each byte that is skipped.
const HASHED_PER_SKIPPED: usize = 32;
/// The limit of a frame for the decoder, which counts the size of the structures.
const MAX_DECODED_BYTES: usize = 64 << 20;

/// The bytes of a structure behind the version of its format.
pub(super) fn encode(version: u8, structure: &impl Encode) -> Vec<u8> {
    let mut bytes = vec![version];
    // Encoding fails only if the writer does, and a vector never does.
    bincode::encode_into_std_write(structure, &mut bytes, bincode::config::standard())
        .expect("a vector can be written to");
    bytes
}

/// Reads a structure; `None` if the bytes are not exactly one, of this version.
pub(super) fn decode<T: Decode<()>>(version: u8, bytes: &[u8]) -> Option<T> {
    let body = bytes.strip_prefix(&[version])?;
    let config = bincode::config::standard().with_limit::<MAX_DECODED_BYTES>();
    bincode::decode_from_slice(body, config).ok().filter(|(_, read)| *read == body.len()).map(|(value, _)| value)
}

/// Adds a frame with these bytes to `out`. Returns `false`, and adds nothing, if they are too many to be read again.
#[must_use]
pub(super) fn put(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    let Some(length) = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= MAX_FRAME_BYTES) else { return false };
    out.extend(MARK);
    out.extend(length.to_le_bytes());
    out.extend(crc32fast::hash(bytes).to_le_bytes());
    out.extend(bytes);
    true
}

/// Opens a file to read it. Anything but a regular file is an error, and is not waited for.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let no_wait = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(no_wait).open(path)?;
    size_of(&file).map(|_| file)
}

/// The size of a regular file.
fn size_of(file: &File) -> io::Result<u64> {
    let metadata = file.metadata()?;
    let not_a_file = || io::Error::new(io::ErrorKind::IsADirectory, "it is not a regular file");
    metadata.is_file().then_some(metadata.len()).ok_or_else(not_a_file)
}

/// Where the acknowledged part of a file ends, in bytes. What follows it is of an append that was interrupted.
///
/// `noted` is an end that was acknowledged. The file is shorter if it has lost something.
///
/// # Errors
/// Those of reading, also if it is no regular file.
pub(super) fn whole_end(path: &Path, file: &File, noted: Option<u64>) -> io::Result<u64> {
    let size = size_of(file)?;
    if noted.is_some_and(|noted| noted >= size) || noted.is_none() && ends_with_frame(file, size)? {
        return Ok(noted.unwrap_or(size));
    }
    let mut reader = FrameReader::open(path, noted.unwrap_or(0))?;
    while reader.next(|_| ())?.is_some() {}
    Ok(reader.end())
}

/// Whether a file is empty or ends with a frame. `false` is no answer.
fn ends_with_frame(file: &File, size: u64) -> io::Result<bool> {
    // Nearly always a frame ends where the file does. So the last one is looked for backwards.
    let largest = (HEADER_BYTES + MAX_FRAME_BYTES) as u64;
    let (mut window, mut hashed) = (TAIL_BYTES, 0);
    loop {
        let start = size.saturating_sub(window);
        let mut tail = vec![0; usize::try_from(size - start).unwrap_or(0)];
        file.read_exact_at(&mut tail, start)?;
        let frame = (0..tail.len()).rev().filter(|at| could_be_one_frame(&tail[*at..])).find(|at| {
            hashed += tail.len() - at;
            hashed > MAX_HASHED_BYTES || has_right_sum(&tail[*at..])
        });
        if tail.is_empty() || frame.is_some() || start == 0 || window >= largest {
            return Ok(tail.is_empty() || frame.is_some() && hashed <= MAX_HASHED_BYTES);
        }
        window = (window * 16).min(largest);
    }
}

/// Whether bytes are exactly as long as the frame that begins there.
fn could_be_one_frame(bytes: &[u8]) -> bool {
    let Some((header, body)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return false };
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    header[..4] == MARK && header[4..8] == length
}

/// Whether the checksum of a frame is right.
fn has_right_sum(frame: &[u8]) -> bool {
    frame[8..HEADER_BYTES] == crc32fast::hash(&frame[HEADER_BYTES..]).to_le_bytes()
}

/// Reads the frames of a file, from an offset on.
pub(super) struct FrameReader {
    file: File,
    buffer: Vec<u8>,
    /// Where in the buffer the next frame is looked for.
    at: usize,
    /// Where the buffer begins in the file.
    start: u64,
    /// Whether the buffer ends where the file does.
    is_last: bool,
    /// Where the last frame, or the bytes that a repair removed behind it, ended in the file.
    end: u64,
    /// The bytes before `end` that were no frame.
    damaged: Vec<Range<u64>>,
    /// How many bytes of what only looks like a frame may still be hashed.
    credit: usize,
}

impl FrameReader {
    /// Opens a file, at the end of one of its frames.
    ///
    /// # Errors
    /// Those of opening it, also if it is no regular file.
    pub(super) fn open(path: &Path, offset: u64) -> io::Result<Self> {
        let mut file = open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let (buffer, damaged, credit) = (Vec::new(), Vec::new(), MAX_HASHED_BYTES);
        Ok(Self { file, buffer, at: 0, start: offset, is_last: false, end: offset, damaged, credit })
    }

    /// Passes the bytes of the next frame to `read`; `None` at the end of the file.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn next<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> io::Result<Option<T>> {
        loop {
            let has_header = self.fill(HEADER_BYTES)?;
            let rest = &self.buffer[self.at..];
            let lost = rest.iter().take_while(|byte| **byte == LOST).count();
            if lost >= MIN_LOST || lost > 0 && lost == rest.len() && self.skipped() == 0 && !has_header {
                self.pass(lost);
                continue;
            }
            if !has_header {
                return Ok(None);
            }
            if let Some(length) = self.length()
                && self.fill(length)?
            {
                let frame = &self.buffer[self.at..][..length];
                if has_right_sum(frame) {
                    let result = read(&frame[HEADER_BYTES..]);
                    self.pass(length);
                    return Ok(Some(result));
                }
                self.credit -= length;
            }
            // At least one byte is there.
            let rest = &self.buffer[self.at + 1..];
            let skipped = 1 + memchr2(MARK[0], LOST, rest).unwrap_or(rest.len());
            self.at += skipped;
            self.credit = self.credit.saturating_add(skipped * HASHED_PER_SKIPPED).min(MAX_HASHED_BYTES);
        }
    }

    /// The length of the frame that may begin here, with its header; `None` if none does.
    fn length(&self) -> Option<usize> {
        let header = self.buffer[self.at..].first_chunk::<HEADER_BYTES>().filter(|header| header.starts_with(&MARK))?;
        let length = usize::try_from(u32::from_le_bytes([4, 5, 6, 7].map(|at| header[at]))).ok()?;
        (length <= MAX_FRAME_BYTES).then_some(HEADER_BYTES + length).filter(|length| *length <= self.credit)
    }

    /// Goes on behind so many bytes, which are not damaged.
    fn pass(&mut self, bytes: usize) {
        let skipped = self.skipped();
        let is_lost = |skipped| self.buffer[self.at - skipped..self.at].iter().all(|byte| *byte == LOST);
        if skipped > 0 && (skipped > self.at.min(MIN_LOST) || !is_lost(skipped)) {
            self.damaged.push(self.end..self.end + skipped as u64);
        }
        self.at += bytes;
        self.end = self.start + self.at as u64;
    }

    /// How many bytes are between the last frame and the place where the next one is looked for.
    fn skipped(&self) -> usize {
        usize::try_from(self.start + self.at as u64 - self.end).unwrap_or(usize::MAX)
    }

    /// Where the last frame ended, in bytes from the beginning of the file.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The bytes before the last frame that were no frame. What follows the last frame may still be written.
    pub(super) fn damaged(&self) -> &[Range<u64>] {
        &self.damaged
    }

    /// The bytes behind the last frame, and whether they are what an interrupted append leaves.
    ///
    /// That is the beginning of a frame, or no more than its length.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn rest(&self) -> io::Result<(Range<u64>, bool)> {
        let rest = self.end..size_of(&self.file)?.max(self.end);
        let mut first = Vec::new();
        (&self.file).seek(SeekFrom::Start(rest.start))?;
        (&self.file).take(MARK.len() as u64).read_to_end(&mut first)?;
        let is_append = MARK.starts_with(&first) || first.iter().all(|byte| *byte == 0);
        Ok((rest, is_append))
    }

    /// Makes so many bytes available behind `at`; `false` if the file is shorter.
    fn fill(&mut self, bytes: usize) -> io::Result<bool> {
        while self.buffer.len() - self.at < bytes {
            if self.is_last {
                return Ok(false);
            }
            let done = self.at.saturating_sub(MIN_LOST);
            self.buffer.drain(..done);
            self.start += done as u64;
            self.at -= done;
            let more = bytes.max(READ_BYTES) as u64;
            self.is_last = (&self.file).take(more).read_to_end(&mut self.buffer)? == 0;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn read_all(bytes: &[u8], offset: u64) -> (Vec<Vec<u8>>, u64, u64) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, bytes).unwrap();
        let mut reader = FrameReader::open(&path, offset).unwrap();
        let mut frames = Vec::new();
        while let Some(frame) = reader.next(<[u8]>::to_vec).unwrap() {
            frames.push(frame);
        }
        (frames, reader.end(), reader.damaged().iter().map(|range| range.end - range.start).sum())
    }

    fn frame(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(put(&mut out, bytes));
        out
    }

    #[test]
    fn frames_behind_half_a_frame_are_found() {
        let (first, second) = (frame(b"first"), frame(&MARK.repeat(50_000)));
        let whole = [&first[..], &second].concat();
        assert_eq!(read_all(&whole, 0), (vec![b"first".to_vec(), MARK.repeat(50_000)], whole.len() as u64, 0));
        assert_eq!(read_all(&whole, first.len() as u64).0.len(), 1);
        for cut in 0..second.len().min(30) {
            let torn = [&first, &second[..cut], &first].concat();
            let (frames, end, damaged) = read_all(&torn, 0);
            assert_eq!((frames.len(), end, damaged), (2, torn.len() as u64, cut as u64), "{cut}");
            let (frames, end, _) = read_all(&torn[..first.len() + cut], 0);
            assert_eq!((frames.len(), end), (1, first.len() as u64), "{cut}");
        }
    }

    #[test]
    fn the_end_of_the_last_whole_frame_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let end_of = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            whole_end(&path, &File::open(&path).unwrap(), None).unwrap()
        };
        assert_eq!(end_of(b""), 0);
        for last in [frame(b"last"), frame(&MARK.repeat(50_000))] {
            let whole = [frame(b"first"), last].concat();
            let end = whole.len() as u64;
            assert_eq!(end_of(&whole), end);
            for torn in [&whole[..9], &MARK, &vec![0; 20_000]] {
                assert_eq!(end_of(&[&whole[..], torn].concat()), end);
            }
            assert_eq!(end_of(&whole[..whole.len() - 1]), frame(b"first").len() as u64);
        }
    }

    #[test]
    fn what_a_repair_removed_is_not_damaged_and_offsets_stay() {
        let (one, two) = (frame(b"one"), frame(b"two"));
        let lost = |bytes: usize| vec![LOST; bytes];
        for bytes in [1, 5, HEADER_BYTES, 300_000] {
            let file = [&one[..], &lost(bytes), &two, &lost(bytes)].concat();
            let (frames, end, damaged) = read_all(&file, 0);
            assert_eq!((frames.len(), end, damaged), (2, file.len() as u64, 0), "{bytes}");
            let (frames, _, damaged) = read_all(&[&one[..], b"damage", &lost(bytes), &two].concat(), 0);
            assert_eq!((frames.len(), damaged), (2, if bytes < MIN_LOST { 6 + bytes as u64 } else { 6 }), "{bytes}");
            assert_eq!(read_all(&lost(bytes), 0), (Vec::new(), bytes as u64, 0));
        }
        // Half a frame, which happens to have such bytes.
        let half = [&one[..], &frame(&[7, LOST, LOST, 7, 7, LOST, 7])[..HEADER_BYTES + 6]].concat();
        assert_eq!(read_all(&half, 0), (vec![b"one".to_vec()], one.len() as u64, 0));
    }

    #[test]
    fn the_noted_end_counts_where_a_file_lost_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (one, two) = (frame(b"one"), frame(b"two"));
        let end_of = |bytes: &[u8], noted: usize| {
            fs::write(&path, bytes).unwrap();
            whole_end(&path, &File::open(&path).unwrap(), Some(noted as u64)).unwrap()
        };
        let whole = [&one[..], &two].concat();
        for file in [&[][..], &one, &whole, &vec![b'x'; whole.len()]] {
            assert_eq!(end_of(file, whole.len()), whole.len() as u64);
        }
        // An append was not noted any more, or not finished.
        assert_eq!(end_of(&whole, one.len()), whole.len() as u64);
        assert_eq!(end_of(&whole[..whole.len() - 1], one.len()), one.len() as u64);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(FrameReader::open(&path, 0).err().unwrap().kind(), io::ErrorKind::IsADirectory);
    }

    #[test]
    fn a_frame_that_could_not_be_read_again_is_refused() {
        let mut out = Vec::new();
        assert!(!put(&mut out, &vec![7; MAX_FRAME_BYTES + 1]) && out.is_empty());
        assert!(put(&mut out, &vec![7; MAX_FRAME_BYTES]));
        assert_eq!(read_all(&out, 0).0.len(), 1);
    }

    #[test]
    fn a_file_full_of_marks_is_read_in_a_time_that_its_size_bounds() {
        let began = std::time::Instant::now();
        let header = |length: usize| [&MARK[..], &u32::try_from(length).unwrap().to_le_bytes(), &[1, 2, 3, 4]].concat();
        let size = 12 << 20;
        // Frames of the greatest length, and frames that end where the file does.
        let longest = header(MAX_FRAME_BYTES).repeat(size / HEADER_BYTES);
        let to_the_end: Vec<_> = (0..size / HEADER_BYTES)
            .flat_map(|at| header((size / HEADER_BYTES - at - 1) * HEADER_BYTES % MAX_FRAME_BYTES))
            .collect();
        let good = frame(b"good");
        for marks in [longest, to_the_end] {
            let (frames, end, damaged) = read_all(&[&good[..], &marks].concat(), 0);
            assert_eq!((frames.len(), end, damaged), (1, good.len() as u64, 0));
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log");
            fs::write(&path, marks).unwrap();
            assert_eq!(whole_end(&path, &File::open(&path).unwrap(), None).unwrap(), 0);
        }
        // Without the bound, it takes minutes.
        assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
    }

    #[test]
    fn any_damage_loses_only_the_frames_that_it_hits() {
        let whole = [frame(b"one"), frame(b"two"), frame(b"three")].concat();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x40;
            let (frames, ..) = read_all(&damaged, 0);
            assert_eq!(frames.len(), 2, "{at}");
        }
        let zeros = [&whole[..], &vec![0; 300_000], &whole].concat();
        assert_eq!(read_all(&zeros, 0).0.len(), 6);
    }
}
