//! Kept results: what listeners keep of their polls.
//!
//! They are in a separate database, so that opening the store stays fast.

mod database;
mod stored;
#[cfg(test)]
mod tests;

pub use database::{delete, for_each, keep, remove};
pub use stored::{EncodedResult, Limits, StoredResult};
