//! Reports: how available sites were, which incidents there were, and what runs did, from history.

mod data;

pub use data::{
    Gone, Host, HostReport, Incident, IncidentReport, JobReport, Report, RunHealth, SiteReport, Slice, Times,
};
