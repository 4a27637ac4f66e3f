//! Adding and updating connections.
//!
//! [`diff`](diff::diff) decides what a patch changes. An import applies exactly that, and a dry run only reports it.

mod apply;
mod diff;
mod input_index;
mod patch;
mod resolve;
#[cfg(test)]
mod tests;
mod transitions;

pub use diff::Change;
pub use input_index::InputIndex;
pub use patch::{CxnPatch, FieldPatch, StatusPatch};
