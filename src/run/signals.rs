//! SIGHUP, SIGINT and SIGTERM: the first asks a run to end, the second ends the process at once. SIGXFSZ ends nothing.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;

use crate::exit;
use crate::util::signal::is_ignored;

/// A SIGHUP that follows the first signal sooner does not count.
///
/// A shell passes the end of its terminal on and ends, which sends it once more. Systemd can send it after SIGTERM.
const HANGUP_PAUSE: Duration = Duration::from_millis(500);

/// Makes a write beyond the limit of file sizes fail, instead of ending the process by SIGXFSZ.
///
/// Listener programs start with the default action, as a handler is not inherited.
pub fn survive_file_size_limit() {
    // If the system allows no handler, the signal ends the process.
    let _ = flag::register(SIGXFSZ, Arc::default());
}

/// The first signal that asked the process to end.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    exit_code: Arc<AtomicUsize>,
    /// That of SIGHUP, which is not the exit code if another signal came with it.
    hangup_code: Arc<AtomicUsize>,
    received: Arc<AtomicBool>,
    /// When the first signal was noticed.
    noticed: Arc<OnceLock<Instant>>,
    /// Whether a SIGHUP ends the process at once.
    hangup_ends: Arc<AtomicBool>,
}

impl Signals {
    /// Handles the signals from now on, for the rest of the life of the process.
    ///
    /// SIGHUP stays ignored if it is, as under `nohup`.
    ///
    /// # Errors
    /// Fails if the system does not allow it.
    pub fn listen() -> io::Result<Self> {
        let signals = Self::default();
        let Self { exit_code, hangup_code, received, hangup_ends, .. } = &signals;
        let hangup = (!is_ignored(SIGHUP)).then_some((SIGHUP, exit::SIGHUP, hangup_code, hangup_ends));
        let others = [(SIGINT, exit::SIGINT, exit_code, received), (SIGTERM, exit::SIGTERM, exit_code, received)];
        for (signal, code, stored, ends) in others.into_iter().chain(hangup) {
            // Handlers run in the order of their registration: the first signal finds `received` unset.
            flag::register_conditional_shutdown(signal, code.into(), Arc::clone(ends))?;
            // A wait that `received` ends asks for the exit code next.
            flag::register_usize(signal, Arc::clone(stored), code.into())?;
            flag::register(signal, Arc::clone(received))?;
        }
        Ok(signals)
    }

    /// The exit code of the signal that asked for an end; `None` if there was none.
    ///
    /// The run asks at least every 50 ms. Half a second after the first signal, a SIGHUP ends the process at once as well.
    #[must_use]
    pub fn stop_code(&self) -> Option<u8> {
        let codes = [&self.exit_code, &self.hangup_code].map(|code| code.load(Ordering::Relaxed));
        let code = codes.into_iter().find(|code| *code != 0).and_then(|code| u8::try_from(code).ok())?;
        if self.noticed.get_or_init(Instant::now).elapsed() >= HANGUP_PAUSE {
            self.hangup_ends.store(true, Ordering::Relaxed);
        }
        Some(code)
    }

    /// Becomes true with the first signal.
    #[must_use]
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.received)
    }

    /// Behaves as if a signal with this exit code had been received.
    #[cfg(test)]
    pub(super) fn raise(&self, exit_code: u8) {
        self.exit_code.store(exit_code.into(), Ordering::Relaxed);
        self.received.store(true, Ordering::Relaxed);
    }
}
