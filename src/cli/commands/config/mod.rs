//! `cxnpoll config`: the configuration.

mod apps;
pub(in crate::cli) mod check;
pub(in crate::cli) mod findings;
pub(in crate::cli) mod show;
