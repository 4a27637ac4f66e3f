//! Frames in a file: a mark, the length, a checksum, and the bytes.
//!
//! A process that is killed, or a power cut, can leave half a frame at the end. The next append removes it. Where the disk has
//! damaged a frame, a reader looks for the next mark.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bincode::{Decode, Encode};

/// Where a frame begins.
const MARK: [u8; 4] = [0xC7, b'H', b'F', 1];
const HEADER_BYTES: usize = 12;
/// A longer frame counts as damaged. Writers split their entries, so that their frames are much shorter.
const MAX_FRAME_BYTES: usize = 4 << 20;
/// In how many bytes at the end of a file the last frame is looked for first.
const TAIL_BYTES: u64 = 16 << 10;
/// How many bytes are read at a time.
const READ_BYTES: usize = 128 << 10;
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

/// Adds a frame with these bytes to `out`.
pub(super) fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    // A frame has some thousand entries at most, so its length is a small number.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend(MARK);
    out.extend(length.to_le_bytes());
    out.extend(crc32fast::hash(bytes).to_le_bytes());
    out.extend(bytes);
}

/// Where the last whole frame of a file ends, in bytes. What follows it was never acknowledged.
///
/// # Errors
/// Those of reading.
pub(super) fn whole_end(path: &Path, file: &File) -> io::Result<u64> {
    let size = file.metadata()?.len();
    // Nearly always a frame ends where the file does. So the last one is looked for backwards.
    let largest = (HEADER_BYTES + MAX_FRAME_BYTES) as u64;
    let mut window = TAIL_BYTES;
    loop {
        let start = size.saturating_sub(window);
        let mut tail = vec![0; usize::try_from(size - start).unwrap_or(0)];
        file.read_exact_at(&mut tail, start)?;
        if tail.is_empty() || (0..tail.len()).rev().any(|at| is_one_frame(&tail[at..])) {
            return Ok(size);
        }
        if start == 0 || window >= largest {
            break;
        }
        window = (window * 16).min(largest);
    }
    let mut reader = FrameReader::open(path, 0)?;
    while reader.next(|_| ())?.is_some() {}
    Ok(reader.end())
}

/// Whether bytes are exactly one frame.
fn is_one_frame(bytes: &[u8]) -> bool {
    let Some((header, body)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return false };
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    header[..4] == MARK && header[4..8] == length && header[8..] == crc32fast::hash(body).to_le_bytes()
}

/// Reads the frames of a file, from an offset on.
pub(super) struct FrameReader {
    file: File,
    buffer: Vec<u8>,
    /// Where in the buffer the next frame is looked for.
    at: usize,
    /// Where the buffer begins in the file.
    start: u64,
    /// Where the last frame ended in the file.
    end: u64,
    /// The bytes before the last frame that were no frame.
    damaged: Vec<Range<u64>>,
}

impl FrameReader {
    /// Opens a file, at the end of one of its frames.
    ///
    /// # Errors
    /// Those of opening it.
    pub(super) fn open(path: &Path, offset: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Self { file, buffer: Vec::new(), at: 0, start: offset, end: offset, damaged: Vec::new() })
    }

    /// Passes the bytes of the next frame to `read`; `None` at the end of the file.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn next<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> io::Result<Option<T>> {
        loop {
            if !self.fill(HEADER_BYTES)? {
                return Ok(None);
            }
            match self.buffer[self.at..].first_chunk::<HEADER_BYTES>() {
                Some(header) if header.starts_with(&MARK) => {
                    let number = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| header[at + byte]));
                    let (length, sum) = (usize::try_from(number(4)).unwrap_or(usize::MAX), number(8));
                    if length <= MAX_FRAME_BYTES && self.fill(HEADER_BYTES + length)? {
                        let bytes = &self.buffer[self.at + HEADER_BYTES..][..length];
                        if crc32fast::hash(bytes) == sum {
                            let result = read(bytes);
                            let begin = self.start + self.at as u64;
                            if begin > self.end {
                                self.damaged.push(self.end..begin);
                            }
                            self.at += HEADER_BYTES + length;
                            self.end = self.start + self.at as u64;
                            return Ok(Some(result));
                        }
                    }
                }
                _ => {}
            }
            // At least one byte is there.
            let rest = &self.buffer[self.at + 1..];
            self.at += 1 + rest.iter().position(|byte| *byte == MARK[0]).unwrap_or(rest.len());
        }
    }

    /// Where the last frame ended, in bytes from the beginning of the file.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The bytes before the last frame that were no frame. What follows the last frame may still be written.
    pub(super) fn damaged(&self) -> &[Range<u64>] {
        &self.damaged
    }

    /// Makes so many bytes available behind `at`; `false` if the file is shorter.
    fn fill(&mut self, bytes: usize) -> io::Result<bool> {
        while self.buffer.len() - self.at < bytes {
            self.buffer.drain(..self.at);
            self.start += self.at as u64;
            self.at = 0;
            let more = bytes.max(READ_BYTES) as u64;
            if (&self.file).take(more).read_to_end(&mut self.buffer)? == 0 {
                return Ok(false);
            }
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
        put(&mut out, bytes);
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
            whole_end(&path, &File::open(&path).unwrap()).unwrap()
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
