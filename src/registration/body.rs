//! The body of a request, from standard input.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::protocol::registration::MAX_REQUEST_BYTES;

/// How long a body may take to arrive.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of a body is read at most. A web server may drop the reply to a body that was not read.
const MAX_READ_BYTES: u64 = 16 << 20;
/// How much is read at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFault {
    /// `CONTENT_LENGTH` is not a number.
    Length,
    /// It ended too early, or cannot be read.
    Short,
    /// It is longer than a request may be.
    TooLarge,
    /// It took too long.
    TooSlow,
}

/// Reads a body: exactly as many bytes as announced, or else all.
///
/// More than [`MAX_REQUEST_BYTES`] is read and dropped, up to 16 MiB.
///
/// # Errors
/// [`BodyFault`].
pub fn read(input: &impl AsFd, announced: Option<&str>, timeout: Duration) -> Result<Vec<u8>, BodyFault> {
    let announced = announced.map(length).transpose()?;
    let wanted = announced.unwrap_or(u64::MAX);
    let started = Instant::now();
    let (mut body, mut chunk, mut total) = (Vec::new(), vec![0; CHUNK_BYTES], 0);
    while total < wanted && total < MAX_READ_BYTES {
        wait(input, timeout.saturating_sub(started.elapsed()))?;
        let room = usize::try_from(wanted - total).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        match rustix::io::read(input, &mut chunk[..room]) {
            Ok(0) => break,
            Ok(read) => {
                total += read as u64;
                if total <= MAX_REQUEST_BYTES as u64 {
                    body.extend_from_slice(&chunk[..read]);
                } else {
                    body = Vec::new();
                }
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return Err(BodyFault::Short),
        }
    }
    if total > MAX_REQUEST_BYTES as u64 {
        return Err(BodyFault::TooLarge);
    }
    if announced.is_some() && total < wanted { Err(BodyFault::Short) } else { Ok(body) }
}

/// Reads a length, of any size.
fn length(text: &str) -> Result<u64, BodyFault> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { Ok(text.parse().unwrap_or(u64::MAX)) } else { Err(BodyFault::Length) }
}

/// Waits until there are bytes, or the end.
fn wait(input: &impl AsFd, left: Duration) -> Result<(), BodyFault> {
    if left.is_zero() {
        return Err(BodyFault::TooSlow);
    }
    match poll(&mut [PollFd::new(input, PollFlags::IN)], Timespec::try_from(left).ok().as_ref()) {
        Ok(0) => Err(BodyFault::TooSlow),
        // After a signal, the read waits.
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(_) => Err(BodyFault::Short),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Seek, Write, pipe};
    use std::thread;

    use super::*;

    /// Reads a file of this length.
    fn read_file(length: u64, announced: Option<&str>) -> Result<Vec<u8>, BodyFault> {
        let mut file = tempfile::tempfile().unwrap();
        file.set_len(length).unwrap();
        file.rewind().unwrap();
        read(&file, announced, BODY_TIMEOUT)
    }

    #[test]
    fn exactly_as_much_as_announced_is_read() {
        let length = |length, announced| read_file(length, announced).map(|body| body.len());
        assert_eq!(length(10, Some("10")), Ok(10));
        assert_eq!(length(10, Some("007")), Ok(7));
        assert_eq!(length(10, Some("0")), Ok(0));
        assert_eq!(length(10, None), Ok(10));
        assert_eq!(length(0, None), Ok(0));
        assert_eq!(length(10, Some("11")), Err(BodyFault::Short));
        for bad in ["-1", "+1", "1 ", "0x1", "1,1", "ten", "٣"] {
            assert_eq!(length(10, Some(bad)), Err(BodyFault::Length), "{bad}");
        }
    }

    #[test]
    fn a_body_of_1_mib_is_the_longest() {
        let max = MAX_REQUEST_BYTES as u64;
        assert_eq!(read_file(max, None).map(|body| body.len()), Ok(MAX_REQUEST_BYTES));
        assert_eq!(read_file(max, Some("1048576")).map(|body| body.len()), Ok(MAX_REQUEST_BYTES));
        assert_eq!(read_file(max + 1, Some("1048576")).map(|body| body.len()), Ok(MAX_REQUEST_BYTES));
        assert_eq!(read_file(max + 1, None), Err(BodyFault::TooLarge));
        assert_eq!(read_file(max + 1, Some("1048577")), Err(BodyFault::TooLarge));
        for announced in [None, Some("99999999999999999999999999")] {
            let mut file = tempfile::tempfile().unwrap();
            file.set_len(2 * MAX_READ_BYTES).unwrap();
            assert_eq!(read(&file, announced, BODY_TIMEOUT), Err(BodyFault::TooLarge));
            assert_eq!(file.stream_position().unwrap(), MAX_READ_BYTES);
        }
    }

    #[test]
    fn a_body_that_stops_is_too_slow() {
        let (reader, mut writer) = pipe().unwrap();
        writer.write_all(b"begun").unwrap();
        let began = Instant::now();
        assert_eq!(read(&reader, None, Duration::from_millis(50)), Err(BodyFault::TooSlow));
        assert!((50..5000).contains(&began.elapsed().as_millis()));
    }

    #[test]
    fn the_time_limit_is_one_of_the_whole_body() {
        let (reader, mut writer) = pipe().unwrap();
        let trickle = thread::spawn(move || {
            while writer.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(5));
            }
        });
        assert_eq!(read(&reader, None, Duration::from_millis(100)), Err(BodyFault::TooSlow));
        drop(reader);
        trickle.join().unwrap();
    }

    #[test]
    fn a_body_in_pieces_is_whole() {
        let (reader, mut writer) = pipe().unwrap();
        thread::scope(|scope| {
            let read = scope.spawn(|| read(&reader, Some("6"), BODY_TIMEOUT));
            for piece in ["ab", "cd", "efgh"] {
                writer.write_all(piece.as_bytes()).unwrap();
                thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(read.join().unwrap(), Ok(b"abcdef".to_vec()));
        });
    }

    #[test]
    fn input_that_cannot_be_read_is_short() {
        assert_eq!(read(&File::open("/").unwrap(), None, BODY_TIMEOUT), Err(BodyFault::Short));
    }
}
