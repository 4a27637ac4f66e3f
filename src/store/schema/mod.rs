//! The meaning of keys and values.
//!
//! They hold connections, poll statuses, the due index, apps, jobs, and what connections share.
//!
//! [`ReadSession`] and [`WriteSession`] are an open database with this meaning. The files here and in `ops` add their
//! methods.

mod apps;
mod counters;
mod cxns;
mod host_key;
mod jobs;
mod keys;
mod messages;
mod names;
mod records;
mod run_record;
mod session;
mod shared;
mod statuses;
mod version;

pub use counters::{Counters, bump_counters, counters, write_counters};
pub use cxns::{decode_cxn, find_record};
pub use host_key::{HostHash, HostKey};
pub use jobs::{BackfillProgress, Job, JobRecord, note_backfilled};
pub use keys::{
    AppNo, CxnKey, CxnLocator, DueBucket, DueKey, JobNo, bucket_prefix, bucket_range, job_name_key, meta_key,
    parse_number, parse_status_key, status_key,
};
pub use messages::{MESSAGES, Message, find_message, remember_message, repaired_messages};
pub use records::{CxnRecord, DueRecord, IdRecord, Record, SharedRecord, StatusRecord, first_text, read};
pub use run_record::{RunOutage, RunRecord, SkipReason, SkippedHost};
pub use session::{EntryId, ReadSession, WriteSession};
pub use shared::MAX_VALUE_BYTES;
pub use statuses::{DueFacts, Statuses, delete_status, due_write, host_of, read_status, status_writes, write_status};
pub use version::STORE_VERSION;
