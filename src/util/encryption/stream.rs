//! The content of an encrypted file, in chunks.
//!
//! Each is authenticated with its number and whether it is the last.

use std::io::{self, BufRead, Read, Write};

use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit, Nonce};
use zeroize::Zeroizing;

use super::keys::Key;

/// The bytes of a chunk. Only the last is shorter, and is empty only if it is the first, too.
const CHUNK_BYTES: usize = 64 << 10;
/// What authenticates a chunk follows it.
const TAG_BYTES: usize = 16;

/// The cipher with the number of the next chunk.
struct Chunks {
    cipher: ChaCha20Poly1305,
    next: u64,
}

impl Chunks {
    fn new(key: &Key) -> Self {
        Self { cipher: ChaCha20Poly1305::new((&**key).into()), next: 0 }
    }

    /// The nonce of the next chunk: its number in 11 bytes, and whether it is the last.
    fn nonce(&mut self, is_last: bool) -> Nonce {
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&self.next.to_be_bytes());
        nonce[11] = u8::from(is_last);
        self.next += 1;
        nonce.into()
    }
}

/// Writes encrypted chunks. Only `finish` writes the last one.
pub struct StreamWriter<W: Write> {
    out: W,
    chunks: Chunks,
    /// It is encrypted when the next byte comes, since only then it is known that it is not the last.
    chunk: Zeroizing<Vec<u8>>,
}

impl<W: Write> StreamWriter<W> {
    pub(super) fn new(out: W, key: &Key) -> Self {
        Self { out, chunks: Chunks::new(key), chunk: Zeroizing::new(Vec::with_capacity(CHUNK_BYTES + TAG_BYTES)) }
    }

    fn write_chunk(&mut self, is_last: bool) -> io::Result<()> {
        let nonce = self.chunks.nonce(is_last);
        self.chunks.cipher.encrypt_in_place(&nonce, b"", &mut *self.chunk).map_err(|_| io::ErrorKind::InvalidInput)?;
        let written = self.out.write_all(&self.chunk);
        self.chunk.clear();
        written
    }

    /// Writes the last chunk.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.write_chunk(true)?;
        Ok(self.out)
    }
}

impl<W: Write> Write for StreamWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == CHUNK_BYTES && !bytes.is_empty() {
            self.write_chunk(false)?;
        }
        let length = bytes.len().min(CHUNK_BYTES - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Reads encrypted chunks. It gives nothing of a chunk that was changed, and nothing after it.
pub struct StreamReader<R> {
    file: R,
    chunks: Chunks,
    chunk: Zeroizing<Vec<u8>>,
    /// How many bytes of the chunk were read.
    position: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Ended,
    Failed,
}

impl<R: BufRead> StreamReader<R> {
    pub(super) fn new(file: R, key: &Key) -> Self {
        let chunk = Zeroizing::new(Vec::with_capacity(CHUNK_BYTES + TAG_BYTES));
        Self { file, chunks: Chunks::new(key), chunk, position: 0, state: State::Reading }
    }

    /// Reads a chunk. Returns whether it is the last.
    fn read_chunk(&mut self) -> io::Result<bool> {
        self.chunk.clear();
        self.position = 0;
        let is_first = self.chunks.next == 0;
        (&mut self.file).take((CHUNK_BYTES + TAG_BYTES) as u64).read_to_end(&mut self.chunk)?;
        let is_last = self.chunk.len() < CHUNK_BYTES + TAG_BYTES || self.file.fill_buf()?.is_empty();
        let nonce = self.chunks.nonce(is_last);
        let opened = self.chunks.cipher.decrypt_in_place(&nonce, b"", &mut *self.chunk);
        if opened.is_err() || self.chunk.is_empty() && !is_first {
            return Err(damaged());
        }
        Ok(is_last)
    }
}

impl<R: BufRead> Read for StreamReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.position == self.chunk.len() {
            match self.state {
                State::Reading => {}
                State::Ended => return Ok(0),
                State::Failed => return Err(damaged()),
            }
            self.state = State::Failed;
            let read = self.read_chunk();
            if read.is_err() {
                self.chunk.clear();
            }
            let is_last = read?;
            self.state = if is_last { State::Ended } else { State::Reading };
        }
        let length = (&self.chunk[self.position..]).read(out)?;
        self.position += length;
        Ok(length)
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it was changed or cut off")
}
