//! Standard error, shared with the progress bar.

use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

use super::progress::without_bars;
use super::terminal;

/// A writer to standard error that removes the progress bar while it writes.
///
/// It never fails: without standard error, a command still does its work.
pub(in crate::cli) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let write = || {
            let _ = io::stderr().write_all(bytes);
        };
        if terminal::has_stderr() {
            without_bars(write);
        } else {
            write();
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}
