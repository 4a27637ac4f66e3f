//! Backups: complete, compressed exports with a checksum, in the store's directory `backups/`.
//!
//! A backup is gzip of JSON lines. The first is `{"backup":…}` with the version of the format and the number that orders the
//! backups of a store. A line `{"job":…}` per job and a line per connection, as `export` writes it, follow. Then lines
//! `{"history":…}` have the files of history in parts. The last is `{"end":…}` with the number of connections and the SHA-256 of
//! all lines before it. The file is written under another name,
//! synced and renamed, so that a file with the name of a backup is complete.

mod file;
mod lines;
mod restore;
mod write;

pub use file::{Backup, is_due, warn_of_future};
pub use restore::{compact, restore, verify};
pub use write::back_up;
