//! API calls: the plaintext of a request, and whether a reply is an error.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode_str;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use crate::model::{Failure, FailureClass, Secret};

/// The plaintext of a call: `[entity, action, params, appCert]`.
///
/// `version` 3 is added to params that lack it.
#[must_use]
pub fn request(entity: &str, action: &str, mut params: Map<String, Value>, app_cert: &str) -> Vec<u8> {
    params.entry("version").or_insert(json!(3));
    // Encoding fails only where a map has keys that are not text.
    serde_json::to_vec(&(entity, action, params, app_cert)).expect("the keys are text")
}

/// The failure that a reply reports; `None` if `is_error` is false as PHP sees it, as `"0"` is.
///
/// The message is the site's `error_message`, unless it contains the secret.
#[must_use]
pub fn api_failure(reply: &Value, secret: &Secret) -> Option<Failure> {
    let is_error = Checked::deserialize(&reply["is_error"]).is_ok_and(|checked| checked.is_true);
    failure(is_error, reply["error_message"].as_str(), secret)
}

fn failure(is_error: bool, message: Option<&str>, secret: &Secret) -> Option<Failure> {
    let message = message.unwrap_or("the site's API returned no error message");
    is_error.then(|| Failure::new(FailureClass::Api, redact_text(message, secret)))
}

/// A value that was checked, of which only what an outcome needs is kept.
///
/// It is refused where a [`Value`] would be: `serde::de::IgnoredAny` would accept texts that are not UTF-8.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Checked<'de> {
    /// Whether PHP takes the value for true.
    is_true: bool,
    /// The value, if it is a text.
    text: Option<Cow<'de, str>>,
    /// Of an object: whether PHP takes its `is_error` for true.
    is_error: bool,
    /// Of an object: its `error_message`, if it is a text.
    error_message: Option<Cow<'de, str>>,
}

impl Checked<'_> {
    /// The failure that this reply reports, as in [`api_failure`].
    pub(super) fn failure(&self, secret: &Secret) -> Option<Failure> {
        failure(self.is_error, self.error_message.as_deref(), secret)
    }

    fn scalar(is_true: bool) -> Self {
        Self { is_true, ..Self::default() }
    }
}

impl<'de> Checked<'de> {
    fn of_text(text: Cow<'de, str>) -> Self {
        Self { is_true: !text.is_empty() && text != "0", text: Some(text), ..Self::default() }
    }
}

impl<'de> Deserialize<'de> for Checked<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CheckedVisitor)
    }
}

struct CheckedVisitor;

impl<'de> Visitor<'de> for CheckedVisitor {
    type Value = Checked<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Checked<'de>, E> {
        Ok(Checked::default())
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Checked<'de>, E> {
        Ok(Checked::scalar(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Checked<'de>, E> {
        Ok(Checked::scalar(number != 0))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Checked<'de>, E> {
        Ok(Checked::scalar(number != 0))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Checked<'de>, E> {
        Ok(Checked::scalar(number != 0.0))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Checked<'de>, E> {
        Ok(Checked::of_text(text.into()))
    }

    // A text with escapes.
    fn visit_str<E>(self, text: &str) -> Result<Checked<'de>, E> {
        Ok(Checked::of_text(text.to_owned().into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Checked<'de>, A::Error> {
        while list.next_element::<Checked<'_>>()?.is_some() {}
        Ok(Checked::scalar(true))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Checked<'de>, A::Error> {
        let mut checked = Checked::scalar(true);
        while let Some((key, value)) = map.next_entry::<Checked<'_>, Checked<'_>>()? {
            match key.text.as_deref() {
                Some("is_error") => checked.is_error = value.is_true,
                Some("error_message") => checked.error_message = value.text,
                _ => {}
            }
        }
        Ok(checked)
    }
}

/// How many characters of the start of a secret make a text unsafe to show.
const REDACT_PREFIX_LEN: usize = 8;

/// Stands for a text that contains the start of the secret.
const REDACTED: &str = "(text that contains the connection's secret)";

/// Returns the text, or a note instead of a text that contains the start of the secret.
pub(crate) fn redact_text<'a>(text: &'a str, secret: &Secret) -> &'a str {
    let start = &secret.to_base64()[..REDACT_PREFIX_LEN];
    // JSON may have a backslash before a slash, and a URL may encode each of its characters.
    let is_encoded =
        || text.replace("\\/", "/").contains(start) || percent_decode_str(text).decode_utf8_lossy().contains(start);
    if text.contains(start) || is_encoded() { REDACTED } else { text }
}

/// Returns the text up to the start of the secret, if it contains that.
pub(crate) fn before_secret<'a>(text: &'a str, secret: &Secret) -> Cow<'a, str> {
    match text.split_once(&secret.to_base64()[..REDACT_PREFIX_LEN]) {
        Some((before, _)) => format!("{}…", redact_text(before, secret)).into(),
        None => redact_text(text, secret).into(),
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
    use proptest::prelude::*;

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
        let checked = |reply: &Value| Checked::deserialize(reply).unwrap().failure(&secret);
        for ok in [json!({}), json!(null), json!([]), json!({"is_error": 0}), json!({"is_error": "0"}), json!(7)] {
            assert_eq!((api_failure(&ok, &secret), checked(&ok)), (None, None), "{ok}");
        }
        for bad in [json!(1), json!("1"), json!(true), json!("yes"), json!([0])] {
            let failure = api_failure(&json!({"is_error": bad, "error_message": "no\nway"}), &secret).unwrap();
            assert_eq!((failure.class, failure.message.as_str()), (FailureClass::Api, "no way"));
            assert_eq!(checked(&json!({"is_error": bad, "error_message": "no\nway"})), Some(failure));
        }
    }

    proptest! {
        #[test]
        fn a_check_accepts_what_a_value_can_be_built_of(
            text in r#"[\[{]?("[^"]{0,3}"|"\\\\u[dD8][8c0][0-9]{2}"|1e9{1,4}|-?[0-9]{1,2}|[:,{}\[\] ]|"is_error"|true|null){0,9}[\]}]?"#,
            other: Vec<u8>,
        ) {
            for text in [text.as_bytes(), &other, &[b"\"", other.as_slice(), b"\""].concat()] {
                let built: Option<Value> = serde_json::from_slice(text).ok();
                let checked: Option<Checked> = serde_json::from_slice(text).ok();
                prop_assert_eq!(built.is_some(), checked.is_some(), "{:?}", String::from_utf8_lossy(text));
                let secret = Secret::from_bytes([1; 32]);
                let failures = (built.and_then(|reply| api_failure(&reply, &secret)), checked.and_then(|c| c.failure(&secret)));
                prop_assert_eq!(failures.0, failures.1);
            }
        }
    }

    #[test]
    fn a_message_never_contains_the_secret() {
        let secret = Secret::from_bytes([0xAB; 32]);
        let leak = format!("decode({}...)", &secret.to_base64()[..15]);
        let failure = api_failure(&json!({"is_error": 1, "error_message": leak}), &secret).unwrap();
        assert!(!failure.message.contains(&secret.to_base64()[..8]));
    }

    #[test]
    fn a_secret_is_recognised_in_json_and_urls() {
        let secret = Secret::from_bytes([0xFF; 32]);
        assert!(secret.to_base64().starts_with("////////"));
        for text in ["a ////////x", "a \\/\\/\\/\\/\\/\\/\\/\\/x", "a %2F%2f////%2F/x"] {
            assert_eq!(redact_text(text, &secret), REDACTED);
        }
        assert_eq!(before_secret("a ////////x", &secret), "a …");
        assert_eq!(before_secret("a %2f/////// ////////x", &secret), format!("{REDACTED}…"));
        assert_eq!(before_secret("a //x", &secret), "a //x");
    }
}
