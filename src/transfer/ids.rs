//! What readers emit: records, and those that are rejected with the ids in them.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::entry::{Raw, Record};
use super::error::Problem;
use super::format::{REQUIRED_KEYS, SEPARATORS};
use super::position::Position;
use crate::model::{AppId, CxnId};

/// The ids in a record; `None` where one is missing or cannot be read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct RecordIds {
    /// The connection.
    pub cxn_id: Option<CxnId>,
    /// The app.
    pub app_id: Option<AppId>,
}

/// The values of a record. serde refuses a key that occurs twice: parts of two records may have become one.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Values {
    cxn_id: Value,
    app_id: Value,
    secret: Value,
    app_url: Value,
    site_url: Value,
    via_port: Value,
    #[serde(rename = "perm")]
    _perm: IgnoredAny,
    #[serde(rename = "batchCode")]
    _batch_code: IgnoredAny,
    #[serde(rename = "disabled")]
    _disabled: IgnoredAny,
    #[serde(rename = "pollStatus")]
    _poll_status: IgnoredAny,
}

impl RecordIds {
    /// Reads the ids of a record whose other values may be wrong.
    ///
    /// There are none if it may hold parts of other records.
    #[must_use]
    pub fn of(raw: &Raw) -> Self {
        let (Raw::Cxn(text) | Raw::Status(text)) = raw;
        Self::read(text).unwrap_or_default()
    }

    /// Reads the ids in the text of a record; `None` if it may hold parts of other records.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        // serde accepts an array of all values in place of an object.
        let values: Values = serde_json::from_str(text).ok().filter(|_| !text.trim_start().starts_with('['))?;
        let texts = [&values.cxn_id, &values.secret, &values.app_url, &values.site_url, &values.via_port];
        if texts.into_iter().filter_map(Value::as_str).any(may_hold_a_row) {
            return None;
        }
        Some(Self {
            cxn_id: values.cxn_id.as_str().and_then(|text| text.parse().ok()),
            app_id: values.app_id.as_str().and_then(|text| text.parse().ok()),
        })
    }

    /// Reads the ids of a connection that is not UTF-8, except those in which the wrong bytes are.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let Self { cxn_id, app_id } = Self::of(&Raw::Cxn(String::from_utf8_lossy(bytes).into_owned()));
        let is_whole = |text: &str| !text.contains(char::REPLACEMENT_CHARACTER);
        Self { cxn_id: cxn_id.filter(|id| is_whole(id.as_str())), app_id: app_id.filter(|id| is_whole(id.as_str())) }
    }
}

/// Whether a value may hold another row of a table, which a wrong quote put into it.
///
/// It has as many separators as a row of the required columns.
#[must_use]
pub fn may_hold_a_row(text: &str) -> bool {
    text.matches(SEPARATORS.map(char::from)).count() >= REQUIRED_KEYS - 1
}

/// A record that cannot be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// What is wrong with it.
    pub problem: Problem,
    /// The ids in it, as far as they can be trusted.
    pub ids: RecordIds,
}

impl From<Problem> for Rejected {
    /// A record that may be about any connection.
    fn from(problem: Problem) -> Self {
        Self { problem, ids: RecordIds::default() }
    }
}

/// Receives each record of an input with its text, or what is wrong with it, with its position.
pub type Emit<'a, E> = dyn FnMut(Position, Result<(Record, Raw), Rejected>) -> Result<(), E> + 'a;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_where_other_values_are_wrong_and_nowhere_else() {
        let both = r#""cxnId":"cxn:1","appId":"app:a""#;
        for (text, cxn_id, app_id) in [
            (format!(r#"{{{both},"secret":5,"unknown":[{{}}]}}"#), Some("cxn:1"), Some("app:a")),
            (r#"{"cxnId":"cxn:1","appId":"a"}"#.to_owned(), Some("cxn:1"), None),
            (r#"{"cxnId":"cxn:1","appId":["app:a"]}"#.to_owned(), Some("cxn:1"), None),
            (r#"{"cxnId":"","appId":"app:a"}"#.to_owned(), None, Some("app:a")),
            (r#"{"cxnId":"cxn:1"}"#.to_owned(), Some("cxn:1"), None),
            (format!(r#"{{{both},"appId":"app:b"}}"#), None, None),
            (format!(r#"{{{both},"siteUrl":"a","siteUrl":"b"}}"#), None, None),
            (format!(r#"{{{both},"siteUrl":"a\"cxn:2,b,c,d,e"}}"#), None, None),
            (format!("{{{both}"), None, None),
            (format!("{{{both}}} {{}}"), None, None),
            (r#"["cxn:1","app:a"]"#.to_owned(), None, None),
            (String::new(), None, None),
        ] {
            let ids = RecordIds::of(&Raw::Cxn(text.clone()));
            let found = (ids.cxn_id.as_ref().map(CxnId::as_str), ids.app_id.as_ref().map(AppId::as_str));
            assert_eq!(found, (cxn_id, app_id), "{text}");
            assert_eq!(RecordIds::of_bytes(text.as_bytes()), ids);
            assert_eq!(RecordIds::of(&Raw::Status(text)), ids);
        }
        let ids = RecordIds::of_bytes(b"{\"cxnId\":\"cxn:1\",\"appId\":\"app:\xff\",\"x\":\"\xff\"}");
        assert_eq!((ids.cxn_id.unwrap().as_str(), ids.app_id), ("cxn:1", None));
    }
}
