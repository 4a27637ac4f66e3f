//! A writer that leaves what its reader does not take at once until the end of the command.

use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::byte_queue::{ByteQueue, MAX_MEMORY_BYTES};

/// How much is written at a time, in bytes. A pipe that is ready takes as much without blocking.
const CHUNK_BYTES: usize = 4096;
/// How long a reader is waited for before output goes to a temporary file. One that reads on is not outrun.
const READER_TIMEOUT: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
const NO_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Writes to a file that may block, such as a pipe to a pager, without holding up a command.
///
/// A command may hold a lock of the store while it writes. So until [`DeferredWriter::finish`], only as much is written as
/// the file takes at once. The rest waits.
pub(in crate::cli) struct DeferredWriter<F> {
    file: F,
    waiting: ByteQueue,
    /// Why the file cannot be written; nothing more is written then.
    error: Option<io::Error>,
}

impl<F: AsFd> DeferredWriter<F> {
    /// Makes a writer for an open file.
    pub(in crate::cli) fn new(file: F) -> Self {
        Self { file, waiting: ByteQueue::default(), error: None }
    }

    /// Returns the failure of a former write, if there was one.
    ///
    /// # Errors
    /// That failure, without its text.
    pub(in crate::cli) fn check(&self) -> io::Result<()> {
        self.error.as_ref().map_or(Ok(()), |error| Err(error.kind().into()))
    }

    /// Records that the file cannot be written, unless that is known.
    pub(in crate::cli) fn fail(&mut self, error: io::Error) {
        self.error.get_or_insert(error);
        self.waiting = ByteQueue::default();
    }

    /// Writes what is left, however long that takes, and resets the writer.
    ///
    /// # Errors
    /// The first failure of all writes.
    pub(in crate::cli) fn finish(&mut self) -> io::Result<()> {
        if let Err(error) = self.send_until(|left| left == 0) {
            self.fail(error);
        }
        self.error.take().map_or(Ok(()), Err)
    }

    /// Writes what the file takes at once, also if it is little.
    pub(in crate::cli) fn send_available(&mut self) {
        while self.error.is_none() && self.waiting.len() > 0 && self.is_ready(Some(&NO_WAIT)) {
            if let Err(error) = self.send_chunk() {
                self.fail(error);
            }
        }
    }

    /// Writes what the file takes at once, and finds a place for the rest.
    fn send_ready(&mut self) -> io::Result<()> {
        while self.waiting.len() >= CHUNK_BYTES && self.is_ready(Some(&NO_WAIT)) {
            self.send_chunk()?;
        }
        let is_full = |waiting: &ByteQueue| waiting.in_memory() > MAX_MEMORY_BYTES;
        // A reader that had its time once is not waited for again.
        while is_full(&self.waiting) && !self.waiting.is_spilled() && self.is_ready(Some(&READER_TIMEOUT)) {
            self.send_chunk()?;
        }
        // Without room for a temporary file, the reader is waited for.
        if is_full(&self.waiting) && self.waiting.spill().is_err() {
            self.send_until(|left| left <= MAX_MEMORY_BYTES)?;
        }
        Ok(())
    }

    /// Writes until as little is left as `is_enough` says, and waits for the reader.
    fn send_until(&mut self, is_enough: impl Fn(usize) -> bool) -> io::Result<()> {
        while !is_enough(self.waiting.len()) {
            if self.is_ready(None) {
                self.send_chunk()?;
            }
        }
        Ok(())
    }

    /// Whether the file takes bytes or fails at once, after at most a timeout; `None` waits without one.
    fn is_ready(&self, timeout: Option<&Timespec>) -> bool {
        match poll(&mut [PollFd::new(&self.file, PollFlags::OUT)], timeout) {
            Ok(ready) => ready > 0,
            // The write reports what is wrong with the file.
            Err(error) => error != Errno::INTR,
        }
    }

    fn send_chunk(&mut self) -> io::Result<()> {
        let mut buffer = [0; CHUNK_BYTES];
        let length = self.waiting.peek(&mut buffer)?;
        match rustix::io::write(&self.file, &buffer[..length]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(sent) => self.waiting.skip(sent),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

impl<F: AsFd> Write for DeferredWriter<F> {
    /// Accepts all bytes, unless a former write has failed.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check()?;
        self.waiting.push(bytes);
        if let Err(error) = self.send_ready() {
            self.fail(error);
        }
        self.check().map(|()| bytes.len())
    }

    /// Does nothing: see [`DeferredWriter::finish`].
    fn flush(&mut self) -> io::Result<()> {
        self.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{PipeReader, Read, pipe};
    use std::thread;

    /// Bytes of which no two chunks are equal.
    fn sample(length: usize) -> Vec<u8> {
        (0_u32..).flat_map(u32::to_le_bytes).take(length).collect()
    }

    fn read_all(mut reader: PipeReader) -> Vec<u8> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn all_bytes_arrive_in_order_although_nothing_is_read_before_the_end() {
        for length in [0, 100, CHUNK_BYTES * 40, MAX_MEMORY_BYTES + CHUNK_BYTES * 40, 3 * MAX_MEMORY_BYTES] {
            let (reader, writer) = pipe().unwrap();
            let mut deferred = DeferredWriter::new(writer);
            let bytes = sample(length);
            bytes.chunks(100_000).for_each(|part| deferred.write_all(part).unwrap());
            assert_eq!(deferred.waiting.is_spilled(), length > MAX_MEMORY_BYTES + (1 << 16), "{length}");
            assert!(deferred.waiting.in_memory() <= MAX_MEMORY_BYTES);
            let reading = thread::spawn(|| read_all(reader));
            deferred.finish().unwrap();
            drop(deferred);
            assert!(reading.join().unwrap() == bytes, "{length}");
        }
    }

    #[test]
    fn a_reader_that_reads_on_is_waited_for() {
        let (reader, writer) = pipe().unwrap();
        let mut deferred = DeferredWriter::new(writer);
        let bytes = sample(3 * MAX_MEMORY_BYTES);
        let reading = thread::spawn(|| read_all(reader));
        for part in bytes.chunks(100_000) {
            deferred.write_all(part).unwrap();
            assert!(!deferred.waiting.is_spilled());
        }
        deferred.finish().unwrap();
        drop(deferred);
        assert!(reading.join().unwrap() == bytes);
    }

    #[test]
    fn the_first_failure_is_remembered_until_the_end() {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let mut deferred = DeferredWriter::new(writer);
        deferred.write_all(b"a line that waits").unwrap();
        assert_eq!(deferred.write_all(&[0; CHUNK_BYTES]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(deferred.write_all(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(deferred.finish().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        deferred.finish().unwrap();
        let mut full = DeferredWriter::new(File::options().write(true).open("/dev/full").unwrap());
        full.write_all(b"short").unwrap();
        assert_eq!(full.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
