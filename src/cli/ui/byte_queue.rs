//! Bytes that wait to be written: in memory, and beyond a limit in a temporary file.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// How much should wait in memory, in bytes.
pub(super) const MAX_MEMORY_BYTES: usize = 4 << 20;

/// A queue of bytes. The temporary file has no name, so that no other process finds it.
#[derive(Default)]
pub(super) struct ByteQueue {
    memory: VecDeque<u8>,
    /// What is older than the bytes in memory.
    spill: Option<Spill>,
}

/// A temporary file, written up to one offset and read up to another.
struct Spill {
    file: File,
    read: u64,
    written: u64,
}

impl ByteQueue {
    /// Adds bytes, in memory.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.memory.extend(bytes);
    }

    /// The number of bytes in memory.
    pub(super) fn in_memory(&self) -> usize {
        self.memory.len()
    }

    /// Whether some bytes are in a temporary file.
    pub(super) fn is_spilled(&self) -> bool {
        self.spill.is_some()
    }

    /// The number of bytes.
    pub(super) fn len(&self) -> usize {
        let spilled = self.spill.as_ref().map_or(0, |spill| spill.written - spill.read);
        self.memory.len().saturating_add(usize::try_from(spilled).unwrap_or(usize::MAX))
    }

    /// Moves the bytes in memory to the temporary file.
    ///
    /// # Errors
    /// Those of creating and writing it. The bytes stay in memory then.
    pub(super) fn spill(&mut self) -> io::Result<()> {
        let bytes = self.memory.make_contiguous();
        let mut spill = match self.spill.take() {
            Some(spill) => spill,
            None => Spill { file: tempfile::tempfile()?, read: 0, written: 0 },
        };
        let written = spill.file.write_all_at(bytes, spill.written);
        if written.is_ok() {
            spill.written += bytes.len() as u64;
            self.memory.clear();
        }
        self.spill = Some(spill).filter(|spill| spill.read < spill.written);
        written
    }

    /// Copies the oldest bytes and returns how many; 0 if there are none.
    ///
    /// # Errors
    /// Those of reading the temporary file.
    pub(super) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.spill {
            Some(spill) => spill.file.read_at(buffer, spill.read),
            None => self.memory.as_slices().0.read(buffer),
        }
    }

    /// Removes the oldest bytes, at most as many as [`ByteQueue::peek`] returned.
    pub(super) fn skip(&mut self, count: usize) {
        match &mut self.spill {
            Some(spill) => spill.read += count as u64,
            None => drop(self.memory.drain(..count)),
        }
        self.spill.take_if(|spill| spill.read >= spill.written);
    }
}

impl Read for ByteQueue {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.peek(buffer)?;
        self.skip(count);
        Ok(count)
    }
}
