//! The terminal at standard error, as indicatif draws progress bars there.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::TermLike;

use super::terminal;

/// A terminal that takes each drawing in one write, and on which nothing fails.
///
/// A bar that cannot be drawn must not end a command.
#[derive(Debug, Default)]
pub(super) struct BarTerminal(Mutex<Drawing>);

#[derive(Debug, Default)]
struct Drawing {
    text: String,
    /// Whether the line under the cursor is complete.
    is_line_complete: bool,
}

impl BarTerminal {
    fn lock(&self) -> MutexGuard<'_, Drawing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn move_cursor(&self, n: usize, direction: char) {
        if n > 0 {
            self.push(&format!("\x1b[{n}{direction}"));
        }
    }

    fn push(&self, text: &str) {
        let mut drawing = self.lock();
        drawing.is_line_complete = false;
        drawing.text.push_str(text);
    }
}

impl TermLike for BarTerminal {
    fn width(&self) -> u16 {
        u16::try_from(terminal::stderr_size().0).unwrap_or(u16::MAX)
    }

    fn height(&self) -> u16 {
        u16::try_from(terminal::stderr_size().1).unwrap_or(u16::MAX)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'A');
        Ok(())
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'B');
        Ok(())
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'C');
        Ok(())
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'D');
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.push(&format!("{text}\r\n"));
        Ok(())
    }

    /// Writes a line, or the blanks with which indicatif fills the rest of each line.
    ///
    /// Blanks up to the margin would make a terminal that becomes narrower wrap the line. So the rest is erased instead, and
    /// the next line begins with a line feed.
    fn write_str(&self, text: &str) -> io::Result<()> {
        let mut drawing = self.lock();
        if text.trim_start_matches(' ').is_empty() {
            // In a full line, the cursor is on the last character.
            if !text.is_empty() {
                drawing.text.push_str("\x1b[K");
            }
            drawing.is_line_complete = true;
        } else {
            if drawing.is_line_complete {
                drawing.text.push_str("\r\n");
            }
            drawing.text.push_str(text);
            drawing.is_line_complete = false;
        }
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.push("\r\x1b[2K");
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut drawing = self.lock();
        let mut stderr = io::stderr();
        let _ = stderr.write_all(drawing.text.as_bytes()).and_then(|()| stderr.flush());
        *drawing = Drawing::default();
        Ok(())
    }
}
