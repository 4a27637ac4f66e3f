//! Connections as text: what `export` writes and `import` reads, and backups.

pub mod backup;
mod jsonl;

pub use jsonl::{line, parse};
