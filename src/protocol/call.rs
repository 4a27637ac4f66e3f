//! API calls: the plaintext of a request, and whether a reply is an error.

use serde_json::{Map, Value, json};

use crate::model::{Failure, FailureClass, Secret};

/// The plaintext of a call: `[entity, action, params, appCert]`.
///
/// `version` 3 is added to params that lack it.
#[must_use]
pub fn request(entity: &str, action: &str, mut params: Map<String, Value>, app_cert: &str) -> Vec<u8> {
    params.entry("version").or_insert(json!(3));
    json!([entity, action, params, app_cert]).to_string().into_bytes()
}

/// The failure that a reply reports; `None` if `is_error` is false as PHP sees it, as `"0"` is.
///
/// The message is the site's `error_message`, unless it contains the secret.
#[must_use]
pub fn api_failure(reply: &Value, secret: &Secret) -> Option<Failure> {
    let is_error = match &reply["is_error"] {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty() && text != "0",
        Value::Array(_) | Value::Object(_) => true,
    };
    is_error.then(|| {
        let message = reply["error_message"].as_str().unwrap_or("the site's API returned no error message");
        Failure::new(FailureClass::Api, redact_text(message, secret))
    })
}

/// How many characters of the start of a secret make a text unsafe to show.
const REDACT_PREFIX_LEN: usize = 8;

/// Returns the text, or a note instead of a text that contains the start of the secret.
pub(crate) fn redact_text<'a>(text: &'a str, secret: &Secret) -> &'a str {
    if text.contains(&secret.to_base64()[..REDACT_PREFIX_LEN]) {
        "(text that contains the connection's secret)"
    } else {
        text
    }
}

/// Returns the value with every text and key in it redacted, as [`redact_text`] does.
pub(crate) fn redact(value: Value, secret: &Secret) -> Value {
    match value {
        Value::String(text) => redact_text(&text, secret).into(),
        Value::Array(list) => list.into_iter().map(|value| redact(value, secret)).collect(),
        Value::Object(map) => {
            let member = |(key, value): (String, Value)| (redact_text(&key, secret).to_owned(), redact(value, secret));
            map.into_iter().map(member).collect()
        }
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_four_parts_and_version_3() {
        let params = Map::from_iter([("limit".to_owned(), json!(1))]);
        let sent: Value = serde_json::from_slice(&request("Contact", "get", params, "CERT")).unwrap();
        assert_eq!(sent, json!(["Contact", "get", {"limit": 1, "version": 3}, "CERT"]));
        let params = Map::from_iter([("version".to_owned(), json!(4))]);
        let sent: Value = serde_json::from_slice(&request("System", "get", params, "")).unwrap();
        assert_eq!(sent[2], json!({"version": 4}));
    }

    #[test]
    fn is_error_is_true_where_php_takes_it_for_true() {
        let secret = Secret::from_bytes([1; 32]);
        for ok in [json!({}), json!(null), json!([]), json!({"is_error": 0}), json!({"is_error": "0"}), json!(7)] {
            assert_eq!(api_failure(&ok, &secret), None, "{ok}");
        }
        for bad in [json!(1), json!("1"), json!(true), json!("yes"), json!([0])] {
            let failure = api_failure(&json!({"is_error": bad, "error_message": "no\nway"}), &secret).unwrap();
            assert_eq!((failure.class, failure.message.as_str()), (FailureClass::Api, "no way"));
        }
    }

    #[test]
    fn a_message_never_contains_the_secret() {
        let secret = Secret::from_bytes([0xAB; 32]);
        let leak = format!("decode({}...)", &secret.to_base64()[..15]);
        let failure = api_failure(&json!({"is_error": 1, "error_message": leak}), &secret).unwrap();
        assert!(!failure.message.contains(&secret.to_base64()[..8]));
    }
}
