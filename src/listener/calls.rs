//! Listeners that consist of API calls, as the configuration describes them.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::event::PollEvent;
use crate::model::{Failure, Outcome};
use crate::protocol::{api_failure, redact_text};

/// One API call, and what its reply must hold.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Call {
    /// `Entity.action`.
    api: Method,
    /// A table, or text that holds a JSON object (TOML has no `null`).
    #[serde(default)]
    params: Params,
    /// Conditions that the reply must meet.
    #[serde(default)]
    expect: Vec<Expectation>,
    /// Whether a reply with a true `is_error` is a success.
    #[serde(default)]
    allow_error: bool,
}

/// A method of the API: `Entity.action`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Method {
    pub(crate) entity: String,
    pub(crate) action: String,
}

/// Text that is not a method of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected Entity.action, such as System.get")]
pub(crate) struct InvalidMethod;

impl TryFrom<String> for Method {
    type Error = InvalidMethod;

    fn try_from(text: String) -> Result<Self, InvalidMethod> {
        match text.split_once('.') {
            Some((entity, action)) if !entity.is_empty() && !action.is_empty() && !action.contains('.') => {
                Ok(Self { entity: entity.to_owned(), action: action.to_owned() })
            }
            _ => Err(InvalidMethod),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(try_from = "Value")]
struct Params(Map<String, Value>);

/// Why a value cannot be the params of a call.
#[derive(Debug, thiserror::Error)]
enum InvalidParams {
    #[error("params: not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    #[error("params: expected a table, or text that holds a JSON object")]
    NoObject,
}

impl TryFrom<Value> for Params {
    type Error = InvalidParams;

    fn try_from(value: Value) -> Result<Self, InvalidParams> {
        let value = match value {
            Value::String(text) => serde_json::from_str(&text)?,
            value => value,
        };
        match without_dates(value) {
            Value::Object(params) => Ok(Self(params)),
            _ => Err(InvalidParams::NoObject),
        }
    }
}

/// Turns dates into text. serde presents a date of TOML as an object.
fn without_dates(value: Value) -> Value {
    match value {
        Value::Object(map) if map.len() == 1 && map.contains_key("$__toml_private_datetime") => {
            map.into_iter().map(|(_, date)| date).next().unwrap_or_default()
        }
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, without_dates(value))).collect(),
        Value::Array(list) => list.into_iter().map(without_dates).collect(),
        value => value,
    }
}

/// A condition on a reply.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    /// A JSON pointer (RFC 6901), such as `/values/0/version`.
    at: Pointer,
    /// The value that must be there; `None` is any value.
    equals: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "String")]
struct Pointer(String);

/// Text that is not a JSON pointer.
#[derive(Debug, thiserror::Error)]
#[error("expected a JSON pointer, such as /values/0/version")]
struct InvalidPointer;

impl TryFrom<String> for Pointer {
    type Error = InvalidPointer;

    fn try_from(text: String) -> Result<Self, InvalidPointer> {
        if text.is_empty() || text.starts_with('/') { Ok(Self(text)) } else { Err(InvalidPointer) }
    }
}

impl Expectation {
    fn check(&self, name: &str, reply: &Value) -> Outcome {
        let Pointer(at) = &self.at;
        match (reply.pointer(at), &self.equals) {
            (None, _) => Err(format!("the reply of {name} has nothing at {at}").into()),
            (Some(found), Some(expected)) if !is_equal(found, expected) => {
                Err(format!("the reply of {name} has {found} at {at}, not {expected}").into())
            }
            _ => Ok(()),
        }
    }
}

/// Whether two values are equal. 1 and 1.0 are.
fn is_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || (a.as_f64().is_some() && a.as_f64() == b.as_f64()),
        _ => a == b,
    }
}

/// Makes the calls in their order, up to the first that fails. With `keep` the replies are kept under their methods.
pub(super) fn make(calls: &[Call], keep: bool, event: &mut PollEvent) -> Outcome {
    for Call { api: Method { entity, action }, params, expect, allow_error } in calls {
        if !keep && expect.is_empty() {
            event.check(entity, action, params.0.clone(), *allow_error)?;
            continue;
        }
        let name = format!("{entity}.{action}");
        let reply = event.call_any(entity, action, Value::Object(params.0.clone()))?;
        let outcome = match api_failure(&reply, &event.cxn.secret).filter(|_| !allow_error) {
            Some(failure) => Err(failure),
            None => expect.iter().try_for_each(|expectation| expectation.check(&name, &reply)),
        };
        if keep {
            // `json!` would copy the reply.
            event.keep(Value::Object(Map::from_iter([(name, reply)])));
        }
        // The message shows a part of the reply, which may hold the secret.
        let safe = |message: &str| redact_text(message, &event.cxn.secret).to_owned();
        outcome.map_err(|failure| Failure::new(failure.class, safe(&failure.message)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_method_has_two_parts() {
        let method = |text: &str| Method::try_from(text.to_owned());
        assert_eq!(method("System.get"), Ok(Method { entity: "System".into(), action: "get".into() }));
        for bad in ["System", ".get", "System.", "a.b.c"] {
            assert!(method(bad).is_err(), "{bad}");
        }
    }

    fn call(text: &str) -> Result<Call, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn params_are_a_table_or_the_text_of_an_object() {
        let table =
            call("api = \"A.b\"\nparams = { a = 1, b = [true, 'x'], c = { d = 1.5 }, e = 2026-01-31 }").unwrap();
        assert_eq!(
            Value::Object(table.params.0),
            json!({"a": 1, "b": [true, "x"], "c": {"d": 1.5}, "e": "2026-01-31"})
        );
        let text = call("api = \"A.b\"\nparams = '{\"a\": null}'").unwrap();
        assert_eq!(Value::Object(text.params.0), json!({"a": null}));
        for bad in [
            "api = \"A\"",
            "api = \"A.b\"\nparams = 3",
            "api = \"A.b\"\nexpect = [{ at = \"x\" }]",
            "api = \"A.b\"\nx = 1",
        ] {
            assert!(call(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reply_must_meet_each_expectation() {
        let reply = json!({"values": [{"version": "5.75.0", "n": 1}]});
        let check =
            |at: &str, equals: Option<Value>| Expectation { at: Pointer(at.to_owned()), equals }.check("A.b", &reply);
        assert!(check("/values/0/version", None).is_ok());
        assert!(check("/values/0/n", Some(json!(1.0))).is_ok());
        assert!(check("/values/1", None).unwrap_err().message.contains("nothing at /values/1"));
        assert!(check("/values/0/n", Some(json!(2))).unwrap_err().message.contains("has 1 at /values/0/n, not 2"));
    }
}
