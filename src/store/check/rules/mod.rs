//! What must agree, tree by tree.

mod cxn;
mod due;
mod id;
mod meta;
mod status;

pub use cxn::{cxn, key_of, readable_cxn};
pub use due::due;
pub use id::id;
pub use meta::meta;
pub use status::status;
