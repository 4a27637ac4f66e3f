//! Connections in and out of the store: the formats of their files, and backups.

pub mod backup;
mod detect;
mod entry;
mod error;
mod format;
mod ids;
mod json_problem;
mod poll_status;
mod position;
mod read;
mod redact;
mod write;

pub use detect::{detect, read_records};
pub use entry::{MAX_PERM_BYTES, MAX_URL_BYTES, Raw, Record, check_site_url, line, parse};
pub use error::{BackupProblem, Error, Foreign, Problem, Result};
pub use format::{Format, MAX_RECORD_BYTES};
pub use ids::{Emit, RecordIds, Rejected};
pub use poll_status::MAX_POLL_LEVEL;
pub use position::{Defect, Position};
pub use write::{Writer, csv_cell};
