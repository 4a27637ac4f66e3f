//! One file per command, with its options and its code.

pub(in crate::cli) mod admin;
pub(in crate::cli) mod call;
pub(in crate::cli) mod completions;
pub(in crate::cli) mod config;
pub(in crate::cli) mod demo;
pub(in crate::cli) mod doctor;
mod edit;
pub(in crate::cli) mod event;
pub(in crate::cli) mod explain;
pub(in crate::cli) mod export;
mod findings;
pub(in crate::cli) mod follow;
mod format_arg;
pub(in crate::cli) mod get;
pub(in crate::cli) mod import;
pub(in crate::cli) mod man;
pub(in crate::cli) mod notify;
pub(in crate::cli) mod plan;
pub(in crate::cli) mod poll;
pub(in crate::cli) mod registration;
pub(in crate::cli) mod report;
pub(in crate::cli) mod results;
pub(in crate::cli) mod retry;
pub(in crate::cli) mod set;
pub(in crate::cli) mod status;
pub(in crate::cli) mod store;
mod users;
