//! What tests of readers share.

use crate::model::Secret;
use crate::transfer::entry::Record;
use crate::transfer::error::{Error, Problem, Result};
use crate::transfer::ids::Emit;
use crate::transfer::position::Position;

/// Returns the five needed values of a connection, separated.
pub fn row(number: usize, separator: &str) -> String {
    let secret = Secret::from_bytes([7; 32]).to_base64();
    let url = format!("https://{number}.example/");
    [&format!("cxn:{number}"), &secret, "app:a", "https://app.example/", &url].join(separator)
}

/// Returns the JSON object of a connection.
pub fn object(number: usize) -> String {
    let row = row(number, "\n");
    let keys = ["cxnId", "secret", "appId", "appUrl", "siteUrl"];
    let fields: Vec<_> = keys.iter().zip(row.lines()).map(|(key, value)| format!("\"{key}\": \"{value}\"")).collect();
    format!("{{{}}}", fields.join(", "))
}

/// Returns what a reader emits.
pub fn read_all(read: impl FnOnce(&mut Emit<Error>) -> Result<()>) -> Result<Vec<(Position, Result<Record, Problem>)>> {
    let mut records = Vec::new();
    read(&mut |position, record| {
        records.push((position, record.map(|(record, _)| record).map_err(|rejected| rejected.problem)));
        Ok(())
    })?;
    Ok(records)
}
