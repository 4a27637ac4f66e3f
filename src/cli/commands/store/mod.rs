//! `cxnpoll store`: maintenance of the store.

pub(in crate::cli) mod backup;
mod backup_text;
pub(in crate::cli) mod check;
pub(in crate::cli) mod compact;
pub(in crate::cli) mod create;
pub(in crate::cli) mod restore;
