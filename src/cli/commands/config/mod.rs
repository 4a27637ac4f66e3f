//! `cxnpoll config`: the configuration.

mod answers;
mod apps;
pub(in crate::cli) mod check;
pub(in crate::cli) mod findings;
pub(in crate::cli) mod init;
mod jobs;
mod notify;
mod programs;
mod questions;
pub(in crate::cli) mod show;
