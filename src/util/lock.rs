//! Kernel locks on files, and the one loop that waits for them.
//!
//! The kernel releases a lock when its process ends, however it ends. Lock files stay, except those of runs.

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fd_lock::RwLock;

use super::fs_atomic::private_file;

/// How a lock excludes others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Held by any number of processes at a time.
    Shared,
    /// Held by one process, while none holds it shared.
    Exclusive,
}

/// A file with a kernel lock, which is released when this is dropped.
#[derive(Debug)]
pub struct FileLock {
    file: RwLock<File>,
    held: Option<Mode>,
}

impl FileLock {
    /// Opens a lock file, mode 0600, without locking it; creates it where it is missing.
    ///
    /// # Errors
    /// Those of opening the file.
    pub fn open(path: &Path) -> io::Result<Self> {
        private_file(path).map(Self::new)
    }

    /// A lock on an open file, not held yet.
    #[must_use]
    pub fn new(file: File) -> Self {
        Self { file: RwLock::new(file), held: None }
    }

    /// Acquires the lock if it is free; `false` means that another process or [`FileLock`] holds it.
    ///
    /// # Errors
    /// Fails if the file system cannot lock.
    pub fn try_acquire(&mut self, mode: Mode) -> io::Result<bool> {
        // The guard would unlock when it is dropped, so it never is. `release` unlocks.
        let acquired = match mode {
            Mode::Shared => self.file.try_read().map(|guard| _ = ManuallyDrop::new(guard)),
            Mode::Exclusive => self.file.try_write().map(|guard| _ = ManuallyDrop::new(guard)),
        };
        match acquired {
            Ok(()) => {
                self.held = Some(mode);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits for the lock; `false` means that the wait is over and another process still holds it.
    ///
    /// # Errors
    /// As [`FileLock::try_acquire`].
    pub fn acquire(&mut self, mode: Mode, backoff: &mut Backoff) -> io::Result<bool> {
        loop {
            if self.try_acquire(mode)? {
                return Ok(true);
            }
            if !backoff.pause() {
                return Ok(false);
            }
        }
    }

    /// Reads the content of the lock file. Text of more than 16 KiB is cut, and other bytes are no text.
    ///
    /// # Errors
    /// Those of reading, and where another process holds the lock exclusively.
    pub fn read_note(&mut self) -> io::Result<String> {
        const MAX_BYTES: usize = 16_384;
        // As in `write_note`.
        let guard = ManuallyDrop::new(self.file.try_write()?);
        let mut note = vec![0; MAX_BYTES];
        let length = guard.read_at(&mut note, 0)?;
        note.truncate(length);
        Ok(String::from_utf8(note).unwrap_or_default())
    }

    /// Replaces the content of the lock file. Only for the process that holds the lock exclusively.
    ///
    /// If the process is killed meanwhile, the end of a longer content may stay behind the new one.
    ///
    /// # Errors
    /// Those of writing, and where another process holds the lock.
    pub fn write_note(&mut self, note: &str) -> io::Result<()> {
        // This handle holds the lock, and must still hold it afterwards, so the guard is never dropped.
        let guard = ManuallyDrop::new(self.file.try_write()?);
        guard.write_all_at(note.as_bytes(), 0)?;
        guard.set_len(note.len() as u64)
    }

    /// Releases the lock, if it is held.
    pub fn release(&mut self) {
        // This handle holds the lock, so it acquires it once more, and dropping that guard unlocks.
        match self.held.take() {
            Some(Mode::Shared) => drop(self.file.try_read()),
            Some(Mode::Exclusive) => drop(self.file.try_write()),
            None => {}
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        self.release();
    }
}

/// The longest pause between two attempts to get a lock that another process holds.
pub const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(8);

/// Paces repeated attempts to get something that becomes free, within a timeout.
///
/// The pauses shrink with the time waited, so a process that has waited longer usually acquires the lock first.
#[derive(Debug)]
pub struct Backoff {
    started: Instant,
    timeout: Duration,
    interval: Duration,
    cancel: Option<Arc<AtomicBool>>,
}

impl Backoff {
    /// Waits up to `timeout` from now on.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { started: Instant::now(), timeout, interval: LOCK_POLL_INTERVAL, cancel: None }
    }

    /// Begins with pauses of this length instead of [`LOCK_POLL_INTERVAL`].
    #[must_use]
    pub fn with_interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    /// Makes the wait end early once `cancel` is true.
    #[must_use]
    pub fn with_cancel(self, cancel: Option<Arc<AtomicBool>>) -> Self {
        Self { cancel, ..self }
    }

    /// The same pace for another wait, up to `timeout` from now on, which the same flag cancels.
    #[must_use]
    pub fn restart(&self, timeout: Duration) -> Self {
        Self { started: Instant::now(), timeout, interval: self.interval, cancel: self.cancel.clone() }
    }

    /// Sleeps for one pause; `false` means that the wait is over: timed out or cancelled.
    pub fn pause(&mut self) -> bool {
        let waited = self.started.elapsed();
        let left = self.timeout.saturating_sub(waited);
        if self.is_over() {
            return false;
        }
        thread::sleep(pause_after(self.interval, waited).min(left));
        !self.is_cancelled()
    }

    /// Whether no pause is left: timed out or cancelled.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_cancelled() || self.started.elapsed() >= self.timeout
    }

    /// Whether the wait was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancel.as_ref().is_some_and(|cancel| cancel.load(Ordering::Relaxed))
    }
}

/// The pause after a wait: the interval, half of it after a second, and an eighth of it after seven.
fn pause_after(interval: Duration, waited: Duration) -> Duration {
    let seconds = u32::try_from(waited.as_secs().min(7)).unwrap_or(7);
    interval / (1 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(directory: &tempfile::TempDir) -> [FileLock; 2] {
        [(); 2].map(|()| FileLock::open(&directory.path().join("lock")).unwrap())
    }

    #[test]
    fn an_exclusive_lock_excludes_and_a_shared_one_shares() {
        let directory = tempfile::tempdir().unwrap();
        let [mut one, mut two] = pair(&directory);
        assert!(one.try_acquire(Mode::Exclusive).unwrap());
        assert!(!two.try_acquire(Mode::Exclusive).unwrap() && !two.try_acquire(Mode::Shared).unwrap());
        one.release();
        assert!(one.try_acquire(Mode::Shared).unwrap() && two.try_acquire(Mode::Shared).unwrap());
        drop(two);
        assert!(one.try_acquire(Mode::Exclusive).unwrap(), "a shared lock is released when it is dropped");
    }

    #[test]
    fn a_released_lock_is_free_although_the_file_stays_open() {
        let directory = tempfile::tempdir().unwrap();
        for mode in [Mode::Shared, Mode::Exclusive] {
            let [mut one, mut two] = pair(&directory);
            assert!(one.try_acquire(mode).unwrap());
            one.release();
            assert!(two.try_acquire(Mode::Exclusive).unwrap(), "{mode:?}");
        }
    }

    #[test]
    fn a_note_replaces_the_one_before_and_keeps_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let [mut one, mut two] = pair(&directory);
        assert!(one.try_acquire(Mode::Exclusive).unwrap());
        one.write_note("a long note").unwrap();
        one.write_note("short").unwrap();
        assert!(!two.try_acquire(Mode::Exclusive).unwrap());
        assert_eq!(std::fs::read_to_string(directory.path().join("lock")).unwrap(), "short");
    }

    #[test]
    fn a_wait_ends_with_the_lock_its_timeout_or_a_cancel() {
        let directory = tempfile::tempdir().unwrap();
        let [mut one, mut two] = pair(&directory);
        assert!(one.try_acquire(Mode::Exclusive).unwrap());
        assert!(!two.acquire(Mode::Exclusive, &mut Backoff::new(Duration::from_millis(30))).unwrap());
        let cancel = Arc::new(AtomicBool::new(false));
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let mut backoff = Backoff::new(Duration::from_secs(60)).with_cancel(Some(Arc::clone(&cancel)));
                (two.acquire(Mode::Exclusive, &mut backoff).unwrap(), backoff.is_cancelled())
            });
            thread::sleep(Duration::from_millis(20));
            cancel.store(true, Ordering::Relaxed);
            assert_eq!(waiting.join().unwrap(), (false, true));
        });
        thread::scope(|scope| {
            let waiting =
                scope.spawn(|| two.acquire(Mode::Exclusive, &mut Backoff::new(Duration::from_secs(60))).unwrap());
            one.release();
            assert!(waiting.join().unwrap());
        });
    }

    #[test]
    fn pauses_shrink_with_the_time_waited() {
        let after = |seconds| pause_after(LOCK_POLL_INTERVAL, Duration::from_secs(seconds));
        assert_eq!([0, 1, 3, 7, 60].map(after).map(|pause| pause.as_millis()), [8, 4, 2, 1, 1]);
    }
}
