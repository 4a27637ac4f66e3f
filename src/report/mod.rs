//! Reports: how available sites were, which incidents there were, and what runs did, from history.

mod changes;
mod collector;
mod data;
mod events;
mod incidents;
mod ledger;
mod names;
mod recent;
mod runs;
mod slices;
mod strip;
mod sums;
mod timeline;

pub use changes::{Changes, changes};
pub use collector::Collector;
pub use data::{
    Gone, Host, HostReport, Incident, IncidentReport, JobReport, Report, RunHealth, SiteReport, Slice, Times,
};
pub use ledger::Ledger;
pub use recent::{RECENT_S, of_connection};
pub use strip::{Cell, STRIP_CELLS, Strip};
pub use sums::JobIndex;
