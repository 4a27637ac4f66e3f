//! Connections as text: what `export` writes and `import` reads.

mod jsonl;

pub use jsonl::{line, parse};
