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
mod keys;
mod limits;
mod links;
mod listeners;
mod notify;
mod origin;
mod private_file;
mod publication;
mod recipients;
mod registration;
#[cfg(test)]
mod schema;

pub use app_table::AppTable;
pub use certificate::EXPIRY_WARNING_DAYS;
pub use error::{
    CertificateDefect, CertificateProblem, Error, MissingMetadata, PrivateFileProblem, RegistrationDefect, Result,
};
pub use file::{BackupTable, Config, FollowTable};
pub(crate) use file::{CONFIG_VARIABLE, STORE_VARIABLE};
pub(crate) use heartbeat::HEARTBEAT_VARIABLE;
pub use heartbeat::HeartbeatUrl;
pub(crate) use job_table::MAX_PER_HOST;
pub use job_table::{JobTable, JobTables};
pub use job_values::{JobValues, Sourced};
pub(crate) use keys::read_key;
pub use limits::{LimitTable, LimitedSite};
pub use links::{PageName, PageUrl};
pub use listeners::ListenerTable;
pub use notify::{NotifyTable, WebhookUrl};
pub use origin::Origin;
pub use publication::{is_of_other_key, metadata_document};
pub use registration::{AllowedHost, RegistrationTable};
