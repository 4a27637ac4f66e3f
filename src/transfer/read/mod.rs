//! The readers of each format. Each emits records with their positions.

pub mod csv;
pub mod json;
pub mod jsonl;
mod lines;
pub mod mysql_tsv;
mod table;
#[cfg(test)]
mod testdata;
#[cfg(test)]
mod tests;
