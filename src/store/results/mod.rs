//! Kept results: what listeners keep of their polls.
//!
//! They are in a separate database, so that opening the store stays fast.

mod database;
mod pieces;
mod session;
mod stored;
#[cfg(test)]
mod tests;

pub use database::{Which, delete, delete_entries, for_each, keep, read_part, remove};
pub use stored::{EncodedResult, Limits, StoredResult, cxn_of};
