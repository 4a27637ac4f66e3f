//! Placeholders in the texts of a case, such as `{cxn 3}`.

use std::path::Path;

use fancy_regex::{Captures, Regex};
use serde_json::Value;

use super::sites::{Sites, fill_address, in_set};

/// The columns of a table.
const COLUMNS: [&str; 5] = ["cxnId", "secret", "appId", "appUrl", "siteUrl"];

/// What placeholders stand for.
pub struct Placeholders<'a> {
    pub sites: &'a Sites,
    pub dir: &'a Path,
}

impl Placeholders<'_> {
    /// Replaces the placeholders in all strings of a value. Keys have none.
    pub fn fill_all(&self, value: &mut toml::Value) {
        match value {
            toml::Value::String(text) => *text = self.fill(text),
            toml::Value::Array(items) => items.iter_mut().for_each(|item| self.fill_all(item)),
            toml::Value::Table(table) => table.iter_mut().for_each(|(_, item)| self.fill_all(item)),
            _ => {}
        }
    }

    fn fill(&self, text: &str) -> String {
        let text = fill_address(text, &self.sites.server, self.dir);
        let of_sites = Regex::new(r"\{(cxn|secret|url|jsonl|csv|tsv) ([^{}]+)\}").unwrap();
        of_sites.replace_all(&text, |found: &Captures<str>| self.replacement(&found[1], &found[2])).into_owned()
    }

    fn replacement(&self, kind: &str, arguments: &str) -> String {
        let mut words = arguments.split(' ');
        let set = words.next().unwrap_or_default();
        let separator = if kind == "csv" { "," } else { "\t" };
        if set == "header" {
            return COLUMNS.join(separator);
        }
        let changes: Vec<(&str, &str)> = words.map(|word| word.split_once('=').unwrap()).collect();
        let of_site = |number: u32| {
            let mut connection = self.sites.connection(number);
            for (key, value) in &changes {
                connection.insert((*key).to_owned(), serde_json::from_str(value).unwrap_or_else(|_| (*value).into()));
            }
            match kind {
                "cxn" => text_of(&connection["cxnId"]),
                "secret" => text_of(&connection["secret"]),
                "url" => text_of(&connection["siteUrl"]),
                "jsonl" => Value::from(connection).to_string(),
                _ => COLUMNS.map(|column| text_of(&connection[column])).join(separator),
            }
        };
        in_set(set).into_iter().map(of_site).collect::<Vec<_>>().join("\n")
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
