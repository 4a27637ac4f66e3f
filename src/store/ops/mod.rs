//! What commands do with the store.

mod admin;
mod backfill;
mod counts;
mod delete;
mod due;
mod load;
mod outcomes;
mod registration;
mod upsert;

pub use admin::{AdminAction, AdminTarget, admin};
pub use counts::{StateCounts, cxn_count, state_counts};
pub use delete::cxn_ids_of;
pub use due::DueEntry;
pub use load::{PollTask, count_cxns, find_hashed, for_each_cxn};
pub use outcomes::{Moved, StatusUpdate};
pub use registration::{Registered, Registration, RegistrationChange, RegistrationOutcome, Request};
pub use upsert::{Change, CxnPatch, FieldPatch, InputIndex, StatusPatch};
