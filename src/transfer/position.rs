//! Positions in an input, as an editor counts them.

use super::error::Problem;

/// Where in an input a problem is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The line, from 1. LF, CR LF and CR each end a line.
    pub line: usize,
    /// The character in the line, from 1; `None` where the whole record, or a field of a table, is meant.
    pub column: Option<usize>,
    /// The key of the value, or the column of a table; `None` where it is not known.
    pub key: Option<String>,
}

impl Position {
    /// The whole record that begins in a line.
    #[must_use]
    pub fn at_line(line: usize) -> Self {
        Self { line, column: None, key: None }
    }
}

/// A position in an input that moves with each byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// Whether the byte before was a CR, so that an LF ends no further line.
    is_after_cr: bool,
}

impl Cursor {
    /// The beginning of a line.
    pub fn at_line(line: usize) -> Self {
        Self { line, column: 1, is_after_cr: false }
    }

    /// Moves behind a byte.
    pub fn pass(&mut self, byte: u8) {
        match byte {
            b'\n' if self.is_after_cr => self.is_after_cr = false,
            b'\n' | b'\r' => *self = Self { line: self.line + 1, column: 1, is_after_cr: byte == b'\r' },
            _ => {
                // The further bytes of a character of UTF-8 begin with these bits.
                self.column += usize::from(byte & 0b1100_0000 != 0b1000_0000);
                self.is_after_cr = false;
            }
        }
    }

    /// The position behind a text.
    pub fn after(mut self, text: &[u8]) -> Self {
        for byte in text {
            self.pass(*byte);
        }
        self
    }
}

/// What is wrong with a record, and where in its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defect {
    /// What is wrong.
    pub problem: Problem,
    /// How many bytes of the text are before it; `None` where the whole record is meant.
    pub offset: Option<usize>,
    /// The key of the value; `None` where it is not known.
    pub key: Option<String>,
}

impl From<Problem> for Defect {
    fn from(problem: Problem) -> Self {
        Self { problem, offset: None, key: None }
    }
}

impl Defect {
    /// The position in an input in which the text of the record begins at `start`.
    #[must_use]
    pub fn position(&self, start: Cursor, text: &[u8]) -> Position {
        let cursor = start.after(text.get(..self.offset.unwrap_or_default()).unwrap_or(text));
        Position { line: cursor.line, column: self.offset.map(|_| cursor.column), key: self.key.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_are_those_of_an_editor() {
        for (text, line, column) in [
            ("", 1, 1),
            ("ab", 1, 3),
            ("a\nb", 2, 2),
            ("a\r\nb", 2, 2),
            ("a\rb", 2, 2),
            ("\r\r\n\n", 4, 1),
            ("é€\u{1f600}", 1, 4),
        ] {
            let cursor = Cursor::at_line(1).after(text.as_bytes());
            assert_eq!((cursor.line, cursor.column), (line, column), "{text:?}");
        }
    }
}
