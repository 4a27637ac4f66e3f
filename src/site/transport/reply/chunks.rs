//! The chunked transfer coding (RFC 9112, 7.1).

use crate::model::{Failure, FailureClass};

/// Reads a chunked body. Extensions and trailers are skipped.
#[derive(Debug, Default)]
pub(super) struct ChunkReader(State);

#[derive(Debug, Clone, Copy)]
enum State {
    /// The digits of a size so far; `None` before the first.
    Size(Option<u64>),
    /// Blanks after this size.
    Padding(u64),
    /// The extension after this size. A quoted string in it cannot hold a line feed.
    Extension(u64),
    /// A carriage return after this size.
    SizeEnd(u64),
    /// So many bytes of the chunk are still to come.
    Data(u64),
    /// All bytes of the chunk have arrived.
    DataEnd,
    /// A carriage return after a chunk.
    LineEnd,
    /// The last chunk has arrived. A trailer or the end may follow.
    Complete,
    /// A trailer.
    Trailer,
    /// A carriage return after the last chunk or trailer.
    TrailerEnd,
    /// Nothing follows.
    End,
}

impl Default for State {
    fn default() -> Self {
        Self::Size(None)
    }
}

impl ChunkReader {
    /// Reads a piece of the body, and appends the data to `body`. Returns how many bytes it read.
    ///
    /// # Errors
    /// A chunk has no valid size, or is longer.
    pub(super) fn read(&mut self, input: &[u8], body: &mut Vec<u8>) -> Result<usize, Failure> {
        let mut rest = input;
        while let ([byte, next @ ..], false) = (rest, self.has_ended()) {
            if let State::Data(left) = self.0 {
                let (data, next) = rest.split_at(usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len())));
                body.extend_from_slice(data);
                let left = left - data.len() as u64;
                self.0 = if left == 0 { State::DataEnd } else { State::Data(left) };
                rest = next;
            } else {
                self.0 = self.0.after(*byte).map_err(|what| Failure::new(FailureClass::Garbled, what))?;
                rest = next;
            }
        }
        Ok(input.len() - rest.len())
    }

    /// Whether the last chunk has been read. Trailers may be missing.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.0, State::Complete | State::Trailer | State::TrailerEnd | State::End)
    }

    /// Whether the end of the trailers has been read.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.0, State::End)
    }
}

impl State {
    /// The state after a byte that is no data; what is wrong with the byte if there is none.
    fn after(self, byte: u8) -> Result<Self, &'static str> {
        use State::{Complete, Data, DataEnd, End, Extension, LineEnd, Padding, Size, SizeEnd, Trailer, TrailerEnd};
        Ok(match (self, byte) {
            (Size(size), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).map(u64::from);
                let size = size.unwrap_or(0).checked_mul(16).zip(digit).map(|(size, digit)| size + digit);
                Size(Some(size.ok_or("invalid HTTP: chunk size out of range")?))
            }
            (Size(Some(size)) | Padding(size), b' ' | b'\t') => Padding(size),
            (Size(Some(size)) | Padding(size), b'\r') => SizeEnd(size),
            (Size(Some(0)) | Padding(0) | Extension(0) | SizeEnd(0) | Trailer, b'\n') => Complete,
            (Size(Some(size)) | Padding(size) | Extension(size) | SizeEnd(size), b'\n') => Data(size),
            (Size(Some(size)) | Padding(size), b';') | (Extension(size), _) => Extension(size),
            (Complete | TrailerEnd, b'\n') => End,
            (Complete, b'\r') => TrailerEnd,
            (Complete | Trailer | TrailerEnd, _) => Trailer,
            (DataEnd, b'\r') => LineEnd,
            (DataEnd | LineEnd, b'\n') => Size(None),
            (DataEnd | LineEnd, _) => return Err("invalid HTTP: chunk longer than its size"),
            _ => return Err("invalid HTTP: chunk size is not a number"),
        })
    }
}
