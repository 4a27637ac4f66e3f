//! SIGINT and SIGTERM: the first asks a run to come to an end, the second ends the process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::exit;

/// Remembers the first signal that asked for an end.
#[derive(Debug, Clone, Default)]
pub struct Signals(Arc<AtomicUsize>);

impl Signals {
    /// Listens to both signals from now on, for the rest of the process's life.
    ///
    /// # Errors
    /// Where the system doesn't allow it.
    pub fn listen() -> io::Result<Self> {
        let signals = Self::default();
        let asked = Arc::new(AtomicBool::new(false));
        for (signal, code) in [(SIGINT, exit::SIGINT), (SIGTERM, exit::SIGTERM)] {
            // Handlers run in the order of registration: the first signal finds `asked` unset.
            flag::register_conditional_shutdown(signal, code.into(), Arc::clone(&asked))?;
            flag::register(signal, Arc::clone(&asked))?;
            flag::register_usize(signal, Arc::clone(&signals.0), code.into())?;
        }
        Ok(signals)
    }

    /// The exit code of the signal that asked for an end, if one did.
    #[must_use]
    pub fn asked(&self) -> Option<u8> {
        u8::try_from(self.0.load(Ordering::Relaxed)).ok().filter(|code| *code != 0)
    }
}
