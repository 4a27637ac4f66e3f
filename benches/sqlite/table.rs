//! The table of results, from the files that criterion writes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::common::Result;

pub const STORE: &str = "cxnpoll";
pub const SQLITE: &str = "SQLite";
pub const SQLITE_JOIN: &str = "SQLite by join";
const COLUMNS: [&str; 3] = [STORE, SQLITE, SQLITE_JOIN];

/// The median of each column, in nanoseconds, by operation and number of connections. 0 means not measured.
type Medians = BTreeMap<(String, u64), [f64; COLUMNS.len()]>;

/// Prints the medians below `dir`, and the ratios of SQLite's to those of the store.
pub fn print(dir: &Path) -> Result<()> {
    println!("\n| operation | connections | cxnpoll, ms | SQLite, ms | ratio | by join, ms | ratio |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for ((operation, size), [store, sqlite, join]) in read(dir)? {
        let cells = [sqlite, join].map(|other| match other {
            0.0 => "| | ".to_owned(),
            other => format!("| {:.2} | {:.2} ", other / 1e6, other / store),
        });
        println!("| {operation} | {size} | {:.2} {}|", store / 1e6, cells.concat());
    }
    Ok(())
}

/// Reads the medians from `<group>/<column>, <how>/<size>/new/estimates.json`.
fn read(dir: &Path) -> Result<Medians> {
    let mut medians = Medians::new();
    for group in fs::read_dir(dir)? {
        let group = group?;
        for function in fs::read_dir(group.path())?.filter_map(Result::ok) {
            let function_name = function.file_name().to_string_lossy().into_owned();
            let Some((column, how)) = function_name.split_once(", ") else { continue };
            let column =
                COLUMNS.iter().position(|name| *name == column).ok_or("unknown column in criterion's results")?;
            let operation = format!("{}, {how}", group.file_name().to_string_lossy());
            for size in fs::read_dir(function.path())?.filter_map(Result::ok) {
                let Ok(connections) = size.file_name().to_string_lossy().parse() else { continue };
                medians.entry((operation.clone(), connections)).or_default()[column] = median(&size.path())?;
            }
        }
    }
    Ok(medians)
}

fn median(dir: &Path) -> Result<f64> {
    let estimates: serde_json::Value = serde_json::from_slice(&fs::read(dir.join("new/estimates.json"))?)?;
    Ok(estimates["median"]["point_estimate"].as_f64().ok_or("no median in criterion's estimates")?)
}
