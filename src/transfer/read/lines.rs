//! Lines of an input, with their numbers.

use std::io::{BufRead, ErrorKind};

use crate::transfer::error::{Error, Result};
use crate::transfer::format::MAX_RECORD_BYTES;
use crate::util::text::BYTE_ORDER_MARK;

/// A line of an input.
pub struct Line<'a> {
    /// Its number, from 1.
    pub number: usize,
    /// Its bytes without the end, and without a byte order mark before them.
    pub bytes: &'a [u8],
    /// Its end: LF, CR LF or CR; empty for a last line that has none.
    pub end: &'a [u8],
}

/// Splits an input into lines. LF, CR LF and CR each end one.
pub struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    number: usize,
    /// A CR before this byte is part of the line.
    byte_after_cr: Option<u8>,
}

impl<R: BufRead> Lines<R> {
    /// Splits an input.
    pub fn new(input: R) -> Self {
        Self { input, buffer: Vec::new(), number: 0, byte_after_cr: None }
    }

    /// Splits what `mysql -B` prints, which writes the CR LF in a field as a CR and the escape of an LF.
    pub fn of_mysql(input: R) -> Self {
        Self { byte_after_cr: Some(b'\\'), ..Self::new(input) }
    }

    /// Reads the next line; `None` at the end of the input.
    ///
    /// # Errors
    /// Fails if the input cannot be read or the line is too long.
    pub fn next(&mut self) -> Result<Option<Line<'_>>> {
        self.buffer.clear();
        let end_bytes = loop {
            if self.buffer.len() > MAX_RECORD_BYTES {
                return Err(Error::RecordTooLong { line: self.number + 1 });
            }
            let chunk = filled(&mut self.input)?;
            if chunk.is_empty() {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                break 0;
            }
            let end = chunk.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let length = end.map_or(chunk.len(), |end| end + 1);
            let is_cr = end.is_some_and(|end| chunk[end] == b'\r');
            self.buffer.extend_from_slice(&chunk[..length]);
            self.input.consume(length);
            if is_cr {
                match filled(&mut self.input)?.first() {
                    Some(b'\n') => {
                        self.buffer.push(b'\n');
                        self.input.consume(1);
                        break 2;
                    }
                    next if next.is_some() && next == self.byte_after_cr.as_ref() => {}
                    _ => break 1,
                }
            } else if end.is_some() {
                break 1;
            }
        };
        self.number += 1;
        let (bytes, end) = self.buffer.split_at(self.buffer.len() - end_bytes);
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK.as_bytes()).unwrap_or(bytes);
        Ok(Some(Line { number: self.number, bytes, end }))
    }
}

/// Returns the next bytes of an input; none at its end.
pub fn filled(input: &mut impl BufRead) -> Result<&[u8]> {
    while let Err(error) = input.fill_buf() {
        if error.kind() != ErrorKind::Interrupted {
            return Err(Error::ReadInput(error));
        }
    }
    input.fill_buf().map_err(Error::ReadInput)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::BufReader;

    /// Splits a text that arrives in pieces of `size` bytes.
    fn split(text: &[u8], size: usize, is_mysql: bool) -> Vec<(usize, Vec<u8>, Vec<u8>)> {
        let input = BufReader::with_capacity(size, text);
        let mut lines = if is_mysql { Lines::of_mysql(input) } else { Lines::new(input) };
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.push((line.number, line.bytes.to_vec(), line.end.to_vec()));
        }
        found
    }

    #[test]
    fn each_line_end_ends_one_line() {
        for size in [1, 2, 3, 64] {
            let lines = split(b"\xef\xbb\xbfa\nb\r\n\rc\r\rd\\\r\\", size, false);
            let texts: Vec<_> = lines.iter().map(|(_, text, _)| text.as_slice()).collect();
            assert_eq!(texts, [&b"a"[..], b"b", b"", b"c", b"", b"d\\", b"\\"]);
            assert_eq!(lines.iter().map(|(number, ..)| *number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
            assert_eq!((lines[1].2.as_slice(), lines[6].2.as_slice()), (&b"\r\n"[..], &b""[..]));
            let in_field = split(b"a\r\\n b\rc\r", size, true);
            assert_eq!(
                in_field.iter().map(|(_, text, _)| text.as_slice()).collect::<Vec<_>>(),
                [&b"a\r\\n b"[..], b"c"]
            );
        }
    }

    proptest! {
        #[test]
        fn lines_hold_all_bytes_however_they_arrive(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..60), size in 1..9_usize,
        ) {
            let lines = split(&text, size, false);
            prop_assert_eq!(&lines, &split(&text, 64, false));
            let joined: Vec<u8> = lines.iter().flat_map(|(_, text, end)| [&text[..], end].concat()).collect();
            prop_assert_eq!(joined, text);
            prop_assert!(lines.iter().rev().skip(1).all(|(_, _, end)| !end.is_empty()));
        }
    }
}
