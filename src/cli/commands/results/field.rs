//! Fields of kept results, by paths that may leave out what is the same for every reply.

use std::collections::BTreeSet;

use serde_json::Value;

/// How deep the names of fields are collected, in keys.
const MAX_DEPTH: usize = 2;
/// How many names of fields are collected.
const MAX_NAMES: usize = 1000;

/// A path to a field: keys, and numbers in lists, with points between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field(String);

/// More than one call has a field of this name; these are their full names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ambiguous(pub(super) Vec<String>);

/// Parses a path. Any text is one but an empty one.
pub(super) fn field(text: &str) -> Result<Field, String> {
    match text.trim() {
        "" => Err("expected a field, such as version or php.version".to_owned()),
        text => Ok(Field(text.to_owned())),
    }
}

impl Field {
    /// The path as it was given.
    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// The value in a kept result; `None` if it has no such field.
    ///
    /// Of an object that has a `version`, this is the value. So `php` is the version of PHP.
    ///
    /// # Errors
    /// [`Ambiguous`] if the path leaves out the call, and several replies have the field.
    pub(super) fn find<'a>(&self, kept: &'a Value) -> Result<Option<&'a Value>, Ambiguous> {
        let mut found: Vec<_> = at(kept, &self.0).map(|value| (&self.0, value)).into_iter().collect();
        if let (true, Value::Object(calls)) = (found.is_empty(), kept) {
            let replies = calls.iter().filter(|(_, reply)| is_reply(reply));
            found = replies.filter_map(|(call, reply)| Some((call, at(reply, &self.0)?))).collect();
        }
        match &found[..] {
            [] => Ok(None),
            [(_, value)] => Ok(Some(value.get("version").filter(|version| version.is_string()).unwrap_or(value))),
            several => Err(Ambiguous(several.iter().map(|(call, _)| format!("{call}.{}", self.0)).collect())),
        }
    }
}

/// The value at a path. A key may contain points, as the name of a call does.
fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    if let Some(found) = only_element(value).and_then(|element| at(element, path)) {
        return Some(found);
    }
    let mut ends = path.match_indices('.').map(|(end, _)| end).chain([path.len()]);
    ends.find_map(|end| {
        let key = &path[..end];
        let below = match value {
            Value::Object(_) if is_reply(value) && key == "version" => None,
            Value::Object(entries) => entries.get(key),
            Value::Array(elements) => elements.get(key.parse::<usize>().ok()?),
            _ => None,
        };
        if end == path.len() { below } else { at(below?, &path[end + 1..]) }
    })
}

/// Whether a value is a reply of the API. Its own `version` is that of the API, and is no field.
fn is_reply(value: &Value) -> bool {
    value.get("is_error").is_some()
}

/// The element of a reply with one element: of a list, or of an object by id.
fn only_element(reply: &Value) -> Option<&Value> {
    match reply.get("values").filter(|_| is_reply(reply))? {
        Value::Array(elements) if elements.len() == 1 => elements.first(),
        Value::Object(elements) if elements.len() == 1 => elements.values().next(),
        _ => None,
    }
}

/// Adds the fields of a kept result by their shortest names.
pub(super) fn add_names(kept: &Value, names: &mut BTreeSet<String>) {
    let kept = only_element(kept).unwrap_or(kept);
    for (key, value) in kept.as_object().into_iter().flatten() {
        let (prefix, value) = match only_element(value) {
            Some(element) if element.is_object() => ("", element),
            _ => (&**key, value),
        };
        add_below(value, prefix, MAX_DEPTH, names);
    }
}

fn add_below(value: &Value, path: &str, depth: usize, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(entries) if depth > 0 && !entries.is_empty() => {
            for (key, value) in entries.iter().filter(|(key, _)| !is_reply(value) || *key != "version") {
                let name = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                add_below(value, &name, depth - 1, names);
            }
        }
        _ if names.len() < MAX_NAMES => drop(names.insert(path.to_owned())),
        _ => {}
    }
}

/// The text of a value; empty for null.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kept() -> Value {
        let system =
            json!([{"version": "5.50.1", "php": {"version": "8.1.2", "tz": "UTC"}, "cms": {"type": "Drupal"}}]);
        json!({
            "System.get": {"is_error": 0, "version": 3, "count": 1, "values": system},
            "Setting.get": {"is_error": 0, "version": 3, "count": 1, "values": {"1": {"lcMessages": "en_US"}}},
            "Contact.getcount": {"is_error": 0, "version": 3, "result": 42},
            "Extension.get": {"is_error": 0, "version": 3, "count": 2, "values": [{"key": "a"}, {"key": "b"}]},
        })
    }

    fn find(kept: &Value, path: &str) -> Result<Option<Value>, Ambiguous> {
        field(path).unwrap().find(kept).map(Option::<&_>::cloned)
    }

    #[test]
    fn a_path_may_leave_out_the_call_and_the_only_element_of_its_reply() {
        for (path, expected) in [
            ("version", json!("5.50.1")),
            ("System.get.version", json!("5.50.1")),
            ("System.get.values.0.version", json!("5.50.1")),
            ("php", json!("8.1.2")),
            ("php.tz", json!("UTC")),
            ("System.get.php.version", json!("8.1.2")),
            ("cms", json!({"type": "Drupal"})),
            ("lcMessages", json!("en_US")),
            ("result", json!(42)),
            ("Contact.getcount.result", json!(42)),
            ("Extension.get.values.1.key", json!("b")),
        ] {
            assert_eq!(find(&kept(), path), Ok(Some(expected)), "{path}");
        }
        for path in
            ["Version", "Contact.getcount.version", "php.tz.x", "Extension.get.values.2.key", "key", ".", "php."]
        {
            assert_eq!(find(&kept(), path), Ok(None), "{path}");
        }
    }

    #[test]
    fn a_name_that_several_calls_have_is_ambiguous() {
        let full = ["System.get.count", "Setting.get.count", "Extension.get.count"].map(str::to_owned).to_vec();
        assert_eq!(find(&kept(), "count"), Err(Ambiguous(full)));
        assert_eq!(find(&kept(), "System.get.count"), Ok(Some(json!(1))));
    }

    #[test]
    fn what_a_program_keeps_is_found_as_it_is() {
        let kept = json!({"version": "5.75.0", "a.b": 1, "list": [{"x": null}], "reply": kept()["System.get"]});
        assert_eq!(find(&kept, "version"), Ok(Some(json!("5.75.0"))));
        assert_eq!(find(&kept, "a.b"), Ok(Some(json!(1))));
        assert_eq!(find(&kept, "list.0.x"), Ok(Some(Value::Null)));
        assert_eq!(find(&kept, "php"), Ok(Some(json!("8.1.2"))));
        assert_eq!(find(&kept["reply"], "version"), Ok(Some(json!("5.50.1"))));
        assert_eq!(find(&json!([1]), "version"), Ok(None));
        let number = json!({"php": {"version": 8}});
        assert_eq!(find(&number, "php"), Ok(Some(number["php"].clone())));
        let two = json!({"get": {"is_error": 0, "values": {"1": {"x": 1}, "2": {"x": 2}}}});
        assert_eq!(find(&two, "x"), Ok(None));
    }

    #[test]
    fn fields_are_named_as_they_are_found() {
        let mut names = BTreeSet::new();
        add_names(&kept(), &mut names);
        assert!(
            ["version", "php.tz", "lcMessages", "Contact.getcount.result"].iter().all(|name| names.contains(*name))
        );
        for name in names.iter().filter(|name| !name.contains("values")) {
            assert!(matches!(find(&kept(), name), Ok(Some(_))), "{name}");
        }
        let many: Value = (0..=MAX_NAMES).map(|number| (number.to_string(), json!(1))).collect();
        add_names(&many, &mut names);
        assert_eq!(names.len(), MAX_NAMES);
    }
}
