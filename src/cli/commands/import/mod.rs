//! `cxnpoll import`: add and update connections.

mod apply;
mod command;
#[cfg(test)]
mod cuts;
mod findings;
mod prune;
mod spool;

pub(in crate::cli) use command::Import;
