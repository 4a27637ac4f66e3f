//! What the user sees: data, tables, progress, notices, questions, log lines.

mod bar_terminal;
mod byte_queue;
pub(super) mod days;
pub(super) mod deferred;
pub(super) mod logging;
pub(super) mod notice;
pub(super) mod outage;
pub(super) mod output;
pub mod progress;
mod progress_line;
pub(super) mod prompt;
pub(super) mod skipped_hosts;
pub(super) mod stderr;
pub(super) mod table;
pub(super) mod terminal;
pub(super) mod time;
pub(super) mod wrap;
