//! Limits how many lines a program writes to the log.

/// How many lines are logged of an event. Another limit of this size is for stderr.
const MAX_LINES: u64 = 100;

/// Counts the lines of an event.
#[derive(Debug, Default)]
pub(super) struct LineQuota {
    lines: u64,
}

impl LineQuota {
    /// Counts a line; `false` means that it is not to be logged.
    pub(super) fn admit(&mut self) -> bool {
        self.lines += 1;
        self.lines <= MAX_LINES
    }

    /// Starts to count anew; returns how many lines were not to be logged.
    pub(super) fn reset(&mut self) -> u64 {
        std::mem::take(&mut self.lines).saturating_sub(MAX_LINES)
    }
}
