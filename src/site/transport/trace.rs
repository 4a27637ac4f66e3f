//! What a call shows about the network.
//!
//! ureq passes nothing from a connection to the caller. Both run on the caller's thread, so a variable of the thread does.

use std::cell::Cell;

use crate::model::PollTrace;

thread_local! {
    static TRACE: Cell<PollTrace> = Cell::default();
}

/// Begins the trace of a call on this thread.
pub(in crate::site) fn begin(trace: PollTrace) {
    TRACE.set(trace);
}

/// The trace of the call on this thread so far.
pub(in crate::site) fn current() -> PollTrace {
    TRACE.get()
}

/// Changes the trace of the call on this thread.
pub(in crate::site) fn update(change: impl FnOnce(&mut PollTrace)) {
    let mut trace = TRACE.get();
    change(&mut trace);
    TRACE.set(trace);
}

/// Notes that so many bytes have arrived.
pub(super) fn received(count: usize) {
    if count > 0 {
        update(|trace| trace.answered = true);
    }
}
