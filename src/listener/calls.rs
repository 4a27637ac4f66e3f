//! Listeners that are nothing but API calls, as the configuration writes them.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::event::PollEvent;
use crate::model::{Failure, Outcome};
use crate::protocol::api_failure;

/// One API call, and what its reply must be.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Call {
    /// `Entity.action`.
    api: Method,
    /// A table, or text that holds a JSON object (for `null`, which TOML lacks).
    #[serde(default)]
    params: Params,
    /// What the reply must hold beside.
    #[serde(default)]
    expect: Vec<Expectation>,
    /// Whether a reply with a true `is_error` is a success like any other.
    #[serde(default)]
    allow_error: bool,
}

/// `Entity.action`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Method {
    pub(crate) entity: String,
    pub(crate) action: String,
}

impl TryFrom<String> for Method {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once('.') {
            Some((entity, action)) if !entity.is_empty() && !action.is_empty() && !action.contains('.') => {
                Ok(Self { entity: entity.to_owned(), action: action.to_owned() })
            }
            _ => Err("expected Entity.action, such as System.get".to_owned()),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(try_from = "Value")]
struct Params(Map<String, Value>);

impl TryFrom<Value> for Params {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let value = match value {
            Value::String(text) => serde_json::from_str(&text).map_err(|error| format!("params: not JSON: {error}"))?,
            value => value,
        };
        match without_dates(value) {
            Value::Object(params) => Ok(Self(params)),
            _ => Err("params: expected a table, or text that holds a JSON object".to_owned()),
        }
    }
}

/// Dates as text: TOML's are an object of their own in serde's eyes.
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
    /// What must be there; anything where it is not given.
    equals: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "String")]
struct Pointer(String);

impl TryFrom<String> for Pointer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_pointer = text.is_empty() || text.starts_with('/');
        if is_pointer { Ok(Self(text)) } else { Err("expected a JSON pointer, such as /values/0/version".to_owned()) }
    }
}

impl Expectation {
    fn check(&self, name: &str, reply: &Value) -> Outcome {
        let Pointer(at) = &self.at;
        match (reply.pointer(at), &self.equals) {
            (None, _) => Err(format!("the reply of {name} has nothing at {at}").into()),
            (Some(found), Some(expected)) if !same(found, expected) => {
                Err(format!("the reply of {name} has {found} at {at}, not {expected}").into())
            }
            _ => Ok(()),
        }
    }
}

/// Equal in value: 1 and 1.0 are.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || (a.as_f64().is_some() && a.as_f64() == b.as_f64()),
        _ => a == b,
    }
}

/// Makes the calls in their order, up to the first that fails; keeps the replies under the names of the calls.
pub(super) fn make(calls: &[Call], keep: bool, event: &mut PollEvent) -> Outcome {
    for Call { api: Method { entity, action }, params, expect, allow_error } in calls {
        let name = format!("{entity}.{action}");
        let reply = event.call_any(entity, action, Value::Object(params.0.clone()))?;
        if keep {
            event.keep(json!({ &name: reply }));
        }
        if let Some(failure) = api_failure(&reply, &event.cxn.secret).filter(|_| !allow_error) {
            return Err(failure);
        }
        let checked: Outcome = expect.iter().try_for_each(|expectation| expectation.check(&name, &reply));
        checked.map_err(|failure| {
            match api_failure(&json!({"is_error": 1, "error_message": failure.message}), &event.cxn.secret) {
                // What the site said is in the message: it may not show the secret.
                Some(safe) => Failure { message: safe.message, ..failure },
                None => failure,
            }
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn params_are_of_any_type() {
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
    fn a_reply_is_held_against_what_is_expected() {
        let reply = json!({"values": [{"version": "5.75.0", "n": 1}]});
        let check =
            |at: &str, equals: Option<Value>| Expectation { at: Pointer(at.to_owned()), equals }.check("A.b", &reply);
        assert!(check("/values/0/version", None).is_ok());
        assert!(check("/values/0/n", Some(json!(1.0))).is_ok());
        assert!(check("/values/1", None).unwrap_err().message.contains("nothing at /values/1"));
        assert!(check("/values/0/n", Some(json!(2))).unwrap_err().message.contains("has 1 at /values/0/n, not 2"));
    }
}
