//! Connections in and out of the store: the forms that they are written in, and backups.

pub mod backup;
mod format;
mod json;
mod jsonl;
mod table;

pub use format::{Format, Raw, Record, Writer};
pub use jsonl::{line, parse};
