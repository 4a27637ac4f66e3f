//! SIGINT and SIGTERM: the first asks a run to end, the second ends the process at once. SIGXFSZ ends nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;

use crate::exit;

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
    received: Arc<AtomicBool>,
}

impl Signals {
    /// Handles both signals from now on, for the rest of the life of the process.
    ///
    /// # Errors
    /// Fails if the system does not allow it.
    pub fn listen() -> io::Result<Self> {
        let signals = Self::default();
        for (signal, exit_code) in [(SIGINT, exit::SIGINT), (SIGTERM, exit::SIGTERM)] {
            // Handlers run in the order of their registration: the first signal finds `received` unset.
            flag::register_conditional_shutdown(signal, exit_code.into(), Arc::clone(&signals.received))?;
            // A wait that `received` ends asks for the exit code next.
            flag::register_usize(signal, Arc::clone(&signals.exit_code), exit_code.into())?;
            flag::register(signal, Arc::clone(&signals.received))?;
        }
        Ok(signals)
    }

    /// The exit code of the signal that asked for an end; `None` if there was none.
    #[must_use]
    pub fn stop_code(&self) -> Option<u8> {
        u8::try_from(self.exit_code.load(Ordering::Relaxed)).ok().filter(|code| *code != 0)
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
