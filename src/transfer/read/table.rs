//! Tables: what the columns of a row mean.

use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use crate::transfer::entry::{Raw, Record};
use crate::transfer::error::{Error, Problem};
use crate::transfer::format::KEYS;
use crate::transfer::ids::{RecordIds, Rejected, may_hold_a_row};
use crate::transfer::position::{Defect, Position};

/// The columns of cxnapp's table `PollStatus` that hold numbers.
const STATUS_NUMBERS: [&str; 3] = ["pollLevel", "pollCount", "lastRun"];
/// The name of the job in that table.
const JOB_NAME: &str = "jobName";
/// The columns whose stored value an empty field clears. A batch code never changes, and a poll status only if newer.
const CLEARABLE: [&str; 3] = ["perm", "viaPort", "disabled"];

/// A field as its format has it. `None` is the format's word for no value.
pub type Field = Result<Option<String>, Problem>;

/// What a row of a table is.
pub type Row = Result<Map<String, Value>, (Position, Rejected)>;

/// The names of the columns of a table.
pub struct Header {
    names: Vec<String>,
}

impl Header {
    /// Reads a header, whose names have any case, in a line; `None` if no column is named `cxnId`.
    ///
    /// # Errors
    /// [`Error::DuplicateColumn`].
    pub fn new<'a>(line: usize, names: impl Iterator<Item = &'a str>) -> Result<Option<Self>, Error> {
        let names: Vec<String> = names.map(canonical).collect();
        let header = Self { names };
        if !header.has("cxnId") {
            return Ok(None);
        }
        let is_twice = |(at, name): &(usize, &String)| !name.is_empty() && header.names[..*at].contains(*name);
        match header.names.iter().enumerate().find(is_twice) {
            Some((_, column)) => Err(Error::DuplicateColumn { line, column: column.clone() }),
            None => Ok(Some(header)),
        }
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
        self.has_connections() && self.has(JOB_NAME)
    }

    /// Reads a row in a line; `None` if all of its fields are empty.
    ///
    /// A row over several lines may have swallowed others, so the ids in it are not trusted.
    pub fn row(&self, line: usize, fields: &[Field], is_one_line: bool) -> Option<Row> {
        if fields.iter().all(|field| matches!(field, Ok(Some(text)) if text.trim().is_empty())) {
            return None;
        }
        Some(self.object(fields).map_err(|defect| {
            let position = Position { line, column: None, key: defect.key };
            let ids = if is_one_line { self.ids(fields) } else { RecordIds::default() };
            (position, Rejected { problem: defect.problem, ids })
        }))
    }

    /// Makes the record of an object that [`Header::row`] returned.
    pub fn record(&self, line: usize, object: Map<String, Value>) -> (Position, Result<(Record, Raw), Rejected>) {
        let text = Value::Object(object).to_string();
        let raw = if self.has_connections() { Raw::Cxn(text) } else { Raw::Status(text) };
        match raw.parse() {
            Ok(record) => (Position::at_line(line), Ok((record, raw))),
            // An offset would be one in the text above, which no user has seen.
            Err(Defect { problem, key, offset: _ }) => {
                (Position { line, column: None, key }, Err(Rejected { problem, ids: RecordIds::of(&raw) }))
            }
        }
    }

    /// The ids in a row, of which some other field is wrong.
    fn ids(&self, fields: &[Field]) -> RecordIds {
        let is_json = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
        let mut texts = fields.iter().flatten().flatten();
        if fields.len() != self.names.len() || texts.any(|text| may_hold_a_row(text) && !is_json(text)) {
            return RecordIds::default();
        }
        let text = |name: &str| {
            let at = self.names.iter().position(|known| known == name)?;
            fields[at].as_ref().ok()?.as_deref()
        };
        RecordIds {
            cxn_id: text("cxnId").and_then(|text| text.parse().ok()),
            app_id: text("appId").and_then(|text| text.parse().ok()),
        }
    }

    /// Reads a row into the JSON object of a record. Columns that are not known, such as the number of a row, are skipped.
    fn object(&self, fields: &[Field]) -> Result<Map<String, Value>, Defect> {
        if fields.len() != self.names.len() {
            return Err(Problem::WrongColumnCount { found: fields.len(), expected: self.names.len() }.into());
        }
        let (mut object, mut status) = (Map::new(), Map::new());
        for (name, field) in self.names.iter().zip(fields) {
            let field = field.clone().map_err(|problem| Defect { key: Some(name.clone()), ..problem.into() })?;
            let Some(text) = field.filter(|text| !text.trim().is_empty()) else {
                if CLEARABLE.contains(&name.as_str()) {
                    object.insert(name.clone(), Value::Null);
                }
                continue;
            };
            let column = || name.clone();
            let number = || {
                let number = text.trim().parse::<i64>().map(Value::from);
                number.map_err(|_| Problem::NotANumber { column: column() })
            };
            // An unclosed quote would swallow the rows that follow.
            if text.contains(['\n', '\r']) && !matches!(name.as_str(), "perm" | "pollStatus") {
                return Err(Problem::SeveralLines { column: column() }.into());
            }
            match name.as_str() {
                "perm" | "pollStatus" => {
                    let value = serde_json::from_str(&text).map_err(|_| Problem::NotJson { column: column() })?;
                    object.insert(name.clone(), value);
                }
                "batchCode" => drop(object.insert(name.clone(), number()?)),
                "disabled" => {
                    let flag = match text.trim().to_ascii_lowercase().as_str() {
                        "0" | "false" | "no" => false,
                        "1" | "true" | "yes" => true,
                        _ => return Err(Problem::NotAFlag { column: column() }.into()),
                    };
                    object.insert(name.clone(), flag.into());
                }
                JOB_NAME => drop(status.insert(name.clone(), text.into())),
                known if STATUS_NUMBERS.contains(&known) => drop(status.insert(name.clone(), number()?)),
                known if KEYS.contains(&known) => drop(object.insert(name.clone(), text.into())),
                _ => {}
            }
        }
        if let Some(job) = status.remove(JOB_NAME).as_ref().and_then(Value::as_str) {
            object.insert("pollStatus".to_owned(), json!({ job: status }));
        }
        Ok(object)
    }
}

/// The name of a column as this program writes it, without blanks around it.
fn canonical(name: &str) -> String {
    let name = name.trim();
    let known = KEYS.iter().chain(&STATUS_NUMBERS).chain([&JOB_NAME]);
    known.copied().find(|known| known.eq_ignore_ascii_case(name)).unwrap_or(name).to_owned()
}
