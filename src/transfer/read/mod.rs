//! The readers of each format. Each emits records as text, with their numbers.

pub mod csv;
pub mod json;
pub mod jsonl;
mod lines;
pub mod mysql_tsv;
mod table;
