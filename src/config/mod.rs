//! The configuration: the file `cxnpoll.toml`, its apps, and their certificates.

mod app_table;
mod apps;
mod authorities;
mod certificate;
mod cxnapp;
mod error;
mod file;
mod heartbeat;
mod history;
mod job_table;
mod job_values;
mod limits;
mod listeners;
mod notify;
mod origin;
#[cfg(test)]
mod schema;

pub use app_table::AppTable;
pub use certificate::EXPIRY_WARNING_DAYS;
pub use error::{CertificateDefect, CertificateProblem, Error, Result};
pub use file::{Backups, Config, Follow};
pub(crate) use file::{CONFIG_VARIABLE, STORE_VARIABLE};
pub(crate) use heartbeat::HEARTBEAT_VARIABLE;
pub use heartbeat::HeartbeatUrl;
pub(crate) use job_table::MAX_PER_HOST;
pub use job_table::{JobTable, JobTables};
pub use job_values::{JobValues, Sourced};
pub use limits::{LimitTable, LimitedSite};
pub use listeners::ListenerTable;
pub use notify::{NotifyTable, WebhookUrl};
pub use origin::Origin;
