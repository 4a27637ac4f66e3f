//! Tables: what the columns of a row mean.

use serde_json::{Map, Value, json};

use crate::transfer::entry::{KEYS, Raw};
use crate::transfer::error::Problem;

/// The columns of cxnapp's table `PollStatus` that hold numbers.
const STATUS_NUMBERS: [&str; 3] = ["pollLevel", "pollCount", "lastRun"];

/// The names of the columns of a table.
pub struct Header {
    names: Vec<String>,
}

impl Header {
    /// Reads a header; `None` if no column is named `cxnId`.
    pub fn new(names: impl Iterator<Item = impl AsRef<str>>) -> Option<Self> {
        let header = Self { names: names.map(|name| name.as_ref().trim().to_owned()).collect() };
        header.has("cxnId").then_some(header)
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// Whether rows hold connections. Others hold only poll statuses, which have no secret.
    fn has_connections(&self) -> bool {
        self.has("secret")
    }

    /// Whether rows hold connections joined with one poll status each.
    pub fn is_joined(&self) -> bool {
        self.has_connections() && self.has("jobName")
    }

    /// Makes the record of an object that [`Header::object`] returned.
    pub fn record(&self, object: Map<String, Value>) -> Raw {
        let text = Value::Object(object).to_string();
        if self.has_connections() { Raw::Cxn(text) } else { Raw::Status(text) }
    }

    /// Reads a row, in which `None` is no value.
    ///
    /// Columns that are not known, such as the number of a row, are skipped. A column without a value has no key in the
    /// object, so that an import keeps the stored value.
    pub fn object(&self, fields: Vec<Option<String>>) -> Result<Map<String, Value>, Problem> {
        if fields.len() != self.names.len() {
            return Err(Problem::WrongColumnCount { found: fields.len(), expected: self.names.len() });
        }
        let (mut object, mut status) = (Map::new(), Map::new());
        for (name, field) in self.names.iter().zip(fields) {
            let Some(text) = field.filter(|text| !text.is_empty()) else { continue };
            let column = || name.clone();
            let number = || {
                let number = text.trim().parse::<i64>().map(Value::from);
                number.map_err(|_| Problem::NotANumber { column: column() })
            };
            // An unclosed quote would swallow the rows that follow.
            if text.contains('\n') && !matches!(name.as_str(), "perm" | "pollStatus") {
                return Err(Problem::SeveralLines { column: column() });
            }
            match name.as_str() {
                "perm" | "pollStatus" => {
                    let value = serde_json::from_str(&text).map_err(|_| Problem::NotJson { column: column() })?;
                    object.insert(name.clone(), value);
                }
                "batchCode" => drop(object.insert(name.clone(), number()?)),
                "disabled" => {
                    let flag = match text.trim() {
                        "0" | "false" => false,
                        "1" | "true" => true,
                        _ => return Err(Problem::NotAFlag { column: column() }),
                    };
                    object.insert(name.clone(), flag.into());
                }
                "jobName" => drop(status.insert(name.clone(), text.into())),
                known if STATUS_NUMBERS.contains(&known) => drop(status.insert(name.clone(), number()?)),
                known if KEYS.contains(&known) => drop(object.insert(name.clone(), text.into())),
                _ => {}
            }
        }
        if let Some(job) = status.remove("jobName").as_ref().and_then(Value::as_str) {
            object.insert("pollStatus".to_owned(), json!({ job: status }));
        }
        Ok(object)
    }
}
