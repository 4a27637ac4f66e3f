//! `cxnpoll config`: the configuration.

mod answers;
pub(in crate::cli) mod app_keys;
mod apps;
pub(in crate::cli) mod check;
pub(in crate::cli) mod findings;
pub(in crate::cli) mod init;
mod jobs;
mod notify;
mod programs;
mod questions;
mod registration;
pub(in crate::cli) mod show;
