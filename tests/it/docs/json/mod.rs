//! The JSON fields in `docs/json.md` are exactly those that commands print.
//!
//! A field counts once for each of its types, so a null that is never printed is found too.

mod outputs;
mod page;

use std::collections::BTreeSet;

use serde_json::Value;

use page::Page;

/// A path, such as `levels[].times`, and a type of JSON.
type Field = (String, String);

#[test]
fn json_fields_of_the_page_are_those_that_commands_print() {
    let page = Page::read();
    let printed = outputs::all();
    let mut wrong = Vec::new();
    for (section, values) in &printed {
        let documented = page.fields(section);
        let mut found = BTreeSet::new();
        for value in values {
            collect(value, "", &documented, &mut found);
        }
        let any = |path: &str| documented.contains(&(path.to_owned(), "any".to_owned()));
        wrong.extend(found.difference(&documented).map(|field| format!("{section}: not documented: {field:?}")));
        let printed = |field: &&Field| found.contains(*field) || (any(&field.0) && field.1 == "any");
        wrong.extend(documented.iter().filter(|f| !printed(f)).map(|f| format!("{section}: never printed: {f:?}")));
    }
    assert!(wrong.is_empty(), "docs/json.md:\n{}", wrong.join("\n"));

    for section in page.sections_with_fields() {
        assert!(printed.keys().any(|name| page::is_about(section, name)), "no command printed {section}");
    }
}

#[test]
fn every_command_with_json_has_a_section() {
    let page = Page::read();
    let help = super::read("fixtures/help.txt");
    let with_json = help.split("\n$ cxnpoll ").filter(|text| text.contains("\n      --json\n"));
    let commands: Vec<_> = with_json.filter_map(|text| text.split(" --help").next()).collect();
    assert!(commands.len() > 15, "{commands:?}");
    for command in commands {
        assert!(page.has_section(&format!("{command} --json")), "docs/json.md lacks {command}");
    }
}

/// Adds the fields of a value with their types.
fn collect(value: &Value, path: &str, documented: &BTreeSet<Field>, found: &mut BTreeSet<Field>) {
    let is_documented = |of: &str| documented.contains(&(path.to_owned(), of.to_owned()));
    if is_documented("any") {
        found.insert((path.to_owned(), "any".to_owned()));
        return;
    }
    let name = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(elements) => {
            for element in elements {
                collect(element, &format!("{path}[]"), documented, found);
            }
            return;
        }
        Value::Object(entries) => {
            if is_documented("object") {
                found.insert((path.to_owned(), "object".to_owned()));
            }
            let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
            for (key, value) in entries {
                let key = page::word_for_any_key(documented, &prefix).unwrap_or(key);
                collect(value, &format!("{prefix}{key}"), documented, found);
            }
            return;
        }
    };
    found.insert((path.to_owned(), name.to_owned()));
}
