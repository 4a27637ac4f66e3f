//! The keys of the configuration file, as its JSON schema describes them.

use serde_json::{Map, Value};

/// The name of the file, and of its manual page.
pub(in crate::cli) const PAGE: &str = "cxnpoll.toml";
/// What precedes the keys.
pub(super) const INTRODUCTION: [&str; 2] = [
    "The file is read from `--config`, `CXNPOLL_CONFIG`, the user's configuration directory (`~/.config/cxnpoll/`) or \
     `/etc/cxnpoll/`, whichever is there first. Without any, everything has its default.",
    "`cxnpoll config check` finds mistakes, and `cxnpoll config show` prints every value and its origin.",
];
/// The schema, for editors too. Tests compare it with what the program reads.
pub(super) const SCHEMA: &str = include_str!("../../../docs/cxnpoll.schema.json");

/// A table of the file, or what is outside of tables.
pub(super) struct Table {
    /// Its header, such as `[timeouts]`; empty for what is outside of tables.
    pub(super) header: String,
    /// What it is for.
    pub(super) meaning: String,
    /// Its keys.
    pub(super) keys: Vec<Key>,
    /// Some lines of TOML.
    pub(super) example: String,
}

/// A key of a table.
pub(super) struct Key {
    /// Its name.
    pub(super) name: String,
    /// What it is for, with an example if it has no default.
    pub(super) meaning: String,
    /// Its type and range.
    pub(super) values: String,
    /// Its default as TOML; `None` if there is none that could be written.
    pub(super) default: Option<String>,
    /// Whether a table must have it.
    pub(super) is_required: bool,
}

impl Table {
    /// Its heading in a page.
    pub(super) fn heading(&self) -> &str {
        if self.header.is_empty() { "Outside of tables" } else { &self.header }
    }
}

impl Key {
    /// Its type, range and default.
    pub(super) fn facts(&self) -> String {
        let required = self.is_required.then(|| "required".to_owned());
        let default = self.default.as_ref().map(|default| format!("default {default}"));
        [Some(self.values.clone()), required, default].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// All tables of the file, in the order of the schema.
pub(super) fn tables() -> Vec<Table> {
    // A test parses it.
    let schema: Value = serde_json::from_str(SCHEMA).unwrap_or_default();
    let mut tables = vec![table("", &schema, &schema)];
    for (name, property) in entries(&schema["properties"]) {
        let meaning = text(&property["description"]);
        let below = if property["items"]["properties"].is_object() {
            Table { meaning, ..table(&format!("[[{name}]]"), &property["items"], &schema) }
        } else if property["additionalProperties"]["additionalProperties"]["properties"].is_object() {
            let of_job = &property["additionalProperties"]["additionalProperties"];
            Table { meaning, ..table(&format!("[{name}.\"ID\".NAME]"), of_job, &schema) }
        } else if property["additionalProperties"]["properties"].is_object() {
            Table { meaning, ..table(&format!("[{name}.\"ID\"]"), &property["additionalProperties"], &schema) }
        } else if is_table(property) {
            table(&format!("[{name}]"), property, &schema)
        } else {
            continue;
        };
        tables.push(below);
    }
    tables.push(table("Entries of calls", &schema["$defs"]["call"], &schema));
    tables.push(table("Entries of expect", &schema["$defs"]["expectation"], &schema));
    tables
}

fn table(header: &str, of: &Value, schema: &Value) -> Table {
    let required = &of["required"];
    let is_required = |name: &str| required.as_array().is_some_and(|names| names.iter().any(|one| one == name));
    // What has a table of its own is described there.
    let keys = entries(&of["properties"]).filter(|(_, key)| key["x-toml"].is_null() && !has_tables(key));
    Table {
        header: header.to_owned(),
        meaning: text(&of["description"]),
        keys: keys.map(|(name, key)| self::key(name, key, is_required(name), schema)).collect(),
        example: text(&of["x-toml"]),
    }
}

fn key(name: &str, of: &Value, is_required: bool, schema: &Value) -> Key {
    let example = of["examples"].get(0).filter(|_| of.get("default").is_none());
    let example = example.map(|example| format!(" Example: `{}`.", toml(example))).unwrap_or_default();
    Key {
        name: name.to_owned(),
        meaning: text(&of["description"]) + &example,
        values: values(of, schema),
        default: of.get("default").map(toml),
        is_required,
    }
}

/// The type and the range of a value.
fn values(of: &Value, schema: &Value) -> String {
    if let Some(names) = of["enum"].as_array() {
        return names.iter().map(toml).collect::<Vec<_>>().join(" or ");
    }
    if let Some(alternatives) = of["anyOf"].as_array() {
        return alternatives.iter().map(|one| values(one, schema)).collect::<Vec<_>>().join(" or ");
    }
    match of["$ref"].as_str() {
        Some("#/$defs/path") => return "path".to_owned(),
        Some("#/$defs/duration") => return "seconds or a duration, more than 0".to_owned(),
        Some(reference) => return values(&schema["$defs"][reference.trim_start_matches("#/$defs/")], schema),
        None => {}
    }
    let range = match (of["minimum"].as_i64(), of["maximum"].as_i64()) {
        (Some(min), Some(i64::MAX)) => format!(", at least {min}"),
        (Some(min), Some(max)) => format!(", {min} to {max}"),
        _ => String::new(),
    };
    match &of["type"] {
        Value::String(name) if name == "array" => match values(&of["items"], schema).split_once(", ") {
            Some((name, range)) => format!("list of {name}s, {range}"),
            None => format!("list of {}s", values(&of["items"], schema)),
        },
        Value::String(name) if name == "object" => "table".to_owned(),
        Value::String(name) => format!("{name}{range}"),
        Value::Array(_) => "table or string".to_owned(),
        _ => "any value".to_owned(),
    }
}

fn is_table(property: &Value) -> bool {
    !property["x-toml"].is_null()
}

fn has_tables(property: &Value) -> bool {
    let below = &property["additionalProperties"];
    is_table(&property["items"]) || is_table(below) || is_table(&below["additionalProperties"])
}

fn entries(map: &Value) -> impl Iterator<Item = (&str, &Value)> {
    map.as_object().into_iter().flat_map(Map::iter).map(|(name, value)| (name.as_str(), value))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A value as TOML has it behind the key.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(list) => format!("[{}]", list.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => {
            let keys = map.iter().map(|(key, value)| format!("{key} = {}", toml(value)));
            format!("{{ {} }}", keys.collect::<Vec<_>>().join(", "))
        }
        // Those of the schema are written the same way in both.
        other => other.to_string(),
    }
}
