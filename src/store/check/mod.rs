//! The check of a store: what must agree, and how to repair it.

mod finding;
mod history;
mod kept_results;
mod report;
mod rules;

pub use report::{Check, Counts, check};
