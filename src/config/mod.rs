//! The configuration: the file `cxnpoll.toml`, its apps, and their certificates.

mod app_table;
mod apps;
mod authorities;
mod certificate;
mod cxnapp;
mod error;
mod file;
mod job_table;
mod job_values;
mod limits;
mod listeners;
#[cfg(test)]
mod schema;

pub use app_table::AppTable;
pub use certificate::EXPIRY_WARNING_DAYS;
pub use error::{CertificateDefect, CertificateProblem, Error, Result};
pub use file::{Backups, Config};
pub(crate) use file::{CONFIG_VARIABLE, STORE_VARIABLE};
pub use job_table::{JobTable, JobTables, Origin};
pub(crate) use job_values::HEARTBEAT_VARIABLE;
pub use job_values::{JobValues, Sourced};
pub use limits::{LimitTable, LimitedSite};
pub use listeners::ListenerTable;
