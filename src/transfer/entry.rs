//! One record on its way between a file and the store, and the JSON line that it is read from.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use url::Url;

use super::error::Problem;
use super::json_problem;
use super::poll_status::StatusEntry;
use super::position::Defect;
use crate::model::{AppId, BatchCode, Cxn, CxnId, JobName, PollStatus, Secret, ViaPort, is_callable};
use crate::store::{CxnPatch, FieldPatch, StatusPatch};
use crate::util::text::is_printable;

/// What one record of an input changes.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A connection.
    Cxn(Box<CxnPatch>),
    /// The poll statuses of a connection.
    Status(StatusPatch),
}

impl Record {
    /// Makes the record of a connection.
    ///
    /// # Errors
    /// [`Problem::PermTooLarge`]. A backup is read without this check, since it may hold what former builds imported.
    pub fn of_cxn(patch: CxnPatch) -> Result<Self, Problem> {
        match &patch.perm {
            FieldPatch::Set(perm) if perm.to_string().len() > MAX_PERM_BYTES => Err(Problem::PermTooLarge),
            _ => Ok(Self::Cxn(Box::new(patch))),
        }
    }

    /// Checks the names and URLs that others chose, which former builds did not.
    ///
    /// A backup is restored without this check, so that those of former builds stay usable.
    ///
    /// # Errors
    /// [`Problem::InvalidName`] and [`Problem::NotAWebUrl`].
    pub fn check_new(&self) -> Result<(), Problem> {
        let statuses = match self {
            Self::Cxn(patch) => {
                patch.cxn_id.check_new().map_err(Problem::InvalidName)?;
                check_web_url("appUrl", &patch.app_url)?;
                check_web_url("siteUrl", patch.site_url.with_credentials())?;
                &patch.poll_status
            }
            // Its connection is in the input or in the store.
            Self::Status(patch) => &patch.poll_status,
        };
        statuses.iter().try_for_each(|(job, _)| job.check_new()).map_err(Problem::InvalidName)
    }
}

/// A record as the text of a JSON object on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Raw {
    /// A connection.
    Cxn(String),
    /// The poll statuses of a connection.
    Status(String),
}

impl Raw {
    /// Parses the record.
    ///
    /// # Errors
    /// What is wrong with it, without a secret.
    pub fn parse(&self) -> Result<Record, Defect> {
        match self {
            Self::Cxn(text) => Ok(Record::of_cxn(CxnEntry::read(text)?.into_patch(None)?)?),
            Self::Status(text) => {
                let entry: StatusesEntry = json_problem::parse(text)?;
                Ok(Record::Status(StatusPatch { cxn_id: entry.cxn_id, poll_status: statuses(entry.poll_status)? }))
            }
        }
    }
}

/// The longest URL that is imported, in bytes.
pub const MAX_URL_BYTES: usize = 2048;

/// The largest perm that is imported, in bytes of JSON.
pub const MAX_PERM_BYTES: usize = 1 << 20;

/// A connection as a JSON object. Keys after the first five are left out where they have their default.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a JSON object")]
pub struct CxnEntry {
    /// In the file store of cxnapp, an entry may have it only as its key.
    #[serde(default)]
    pub cxn_id: Option<CxnId>,
    secret: String,
    app_id: AppId,
    app_url: String,
    site_url: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    perm: Nullable<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    via_port: Nullable<ViaPort>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch_code: Option<BatchCode>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    disabled: Nullable<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    poll_status: Option<BTreeMap<JobName, StatusEntry>>,
}

/// A missing key, `null`, or a value. This is how serde tells the first two apart.
type Nullable<T> = Option<Option<T>>;

/// The poll statuses of a connection as a JSON object.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a JSON object")]
struct StatusesEntry {
    cxn_id: CxnId,
    poll_status: BTreeMap<JobName, StatusEntry>,
}

fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Nullable<T>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn field<T>(value: Nullable<T>) -> FieldPatch<T> {
    value.map_or(FieldPatch::Keep, |value| value.map_or(FieldPatch::Clear, FieldPatch::Set))
}

/// Parses a connection from one line.
///
/// # Errors
/// What is wrong with it, without the secret.
pub fn parse(text: &str) -> Result<CxnPatch, Problem> {
    CxnEntry::read(text).and_then(|entry| Ok(entry.into_patch(None)?)).map_err(|defect| defect.problem)
}

impl CxnEntry {
    /// Parses an entry.
    ///
    /// # Errors
    /// What is wrong with it, without the secret.
    pub fn read(text: &str) -> Result<Self, Defect> {
        // serde accepts an array of all values in place of an object.
        if !text.trim_start().starts_with('{') {
            return Err(Problem::NotAnObject.into());
        }
        json_problem::parse(text)
    }

    /// Checks the entry and returns what it changes. `key` is the key that the entry has in the file store of cxnapp.
    ///
    /// # Errors
    /// What is wrong with it, without the secret.
    pub fn into_patch(self, key: Option<&CxnId>) -> Result<CxnPatch, Problem> {
        let cxn_id = match (self.cxn_id, key) {
            (Some(cxn_id), Some(key)) if cxn_id != *key => return Err(Problem::CxnIdDiffers),
            (None, None) => return Err(Problem::Json { reason: "missing field `cxnId`".to_owned() }),
            (Some(cxn_id), _) => cxn_id,
            (None, Some(key)) => key.clone(),
        };
        check_url("appUrl", &self.app_url)?;
        check_url("siteUrl", &self.site_url)?;
        Ok(CxnPatch {
            secret: Secret::from_base64(&self.secret).map_err(|_| Problem::InvalidSecret)?,
            poll_status: statuses(self.poll_status.unwrap_or_default())?,
            cxn_id,
            app_id: self.app_id,
            app_url: self.app_url,
            site_url: self.site_url.into(),
            perm: field(self.perm),
            via_port: field(self.via_port),
            batch_code: self.batch_code,
            disabled: field(self.disabled),
        })
    }
}

fn statuses(entries: BTreeMap<JobName, StatusEntry>) -> Result<Vec<(JobName, PollStatus)>, Problem> {
    entries.into_iter().map(|(job, entry)| Ok((job, entry.into_status()?))).collect()
}

/// Checks a siteUrl as an import does.
///
/// # Errors
/// [`Problem::InvalidUrl`] and [`Problem::NotAWebUrl`].
pub fn check_site_url(url: &str) -> Result<(), Problem> {
    check_url("siteUrl", url)?;
    check_web_url("siteUrl", url)
}

fn check_url(key: &'static str, url: &str) -> Result<(), Problem> {
    let is_valid = !url.is_empty() && url.len() <= MAX_URL_BYTES && !url.chars().any(char::is_control);
    if is_valid { Ok(()) } else { Err(Problem::InvalidUrl { key }) }
}

fn check_web_url(key: &'static str, url: &str) -> Result<(), Problem> {
    let is_web_url = is_printable(url) && url.trim() == url && Url::parse(url).is_ok_and(|url| is_callable(&url));
    if is_web_url { Ok(()) } else { Err(Problem::NotAWebUrl { key }) }
}

/// Formats a connection as one line, without the line's end.
#[must_use]
pub fn line(cxn: &Cxn, statuses: impl IntoIterator<Item = (JobName, PollStatus)>) -> String {
    let statuses: BTreeMap<_, _> = statuses.into_iter().map(|(job, status)| (job, (&status).into())).collect();
    let entry = CxnEntry {
        cxn_id: Some(cxn.cxn_id.clone()),
        secret: cxn.secret.to_base64(),
        app_id: cxn.app_id.clone(),
        app_url: cxn.app_url.to_string(),
        site_url: cxn.site_url.with_credentials().to_owned(),
        perm: (!cxn.perm.is_null()).then(|| Some((*cxn.perm).clone())),
        via_port: cxn.via_port.clone().map(Some),
        batch_code: Some(cxn.batch_code),
        disabled: cxn.disabled.then_some(Some(true)),
        poll_status: (!statuses.is_empty()).then_some(statuses),
    };
    // Serializing fails only for maps whose keys are not text, and there are none.
    serde_json::to_string(&entry).expect("an entry is JSON")
}

/// Formats the line of a connection anew, as [`line`] does.
///
/// Returns any other text as it is.
#[must_use]
pub fn reformat(text: &str) -> String {
    let formatted = CxnEntry::read(text).ok().and_then(|entry| serde_json::to_string(&entry).ok());
    formatted.unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Failure, FailureClass};
    use crate::protocol::registration::MAX_PERM_DEPTH;
    use serde_json::json;

    fn secret() -> String {
        Secret::from_bytes([3; 32]).to_base64()
    }

    fn minimal() -> Value {
        json!({
            "cxnId": "cxn:1", "secret": secret(), "appId": "app:org.example.myapp",
            "appUrl": "https://app.example.org/", "siteUrl": "https://site.example.org/civicrm/cxn/api",
        })
    }

    fn with(key: &str, value: Value) -> Result<CxnPatch, Problem> {
        let mut line = minimal();
        line[key] = value;
        parse(&line.to_string())
    }

    #[test]
    fn five_keys_are_enough() {
        let line = parse(&minimal().to_string()).unwrap();
        assert_eq!(
            (line.perm, line.via_port, line.batch_code, line.disabled),
            (FieldPatch::Keep, FieldPatch::Keep, None, FieldPatch::Keep)
        );
    }

    #[test]
    fn a_full_line_reads_back() {
        let mut status = PollStatus { level: 1, count: 2, last_run: 1_700_000_000, ..PollStatus::default() };
        status.remember(1_699_999_000, &Ok(()));
        status.remember(1_700_000_000, &Err(Failure::new(FailureClass::Timeout, "connecting")));
        let patch = with("pollStatus", json!({})).unwrap();
        let cxn = Cxn {
            cxn_id: patch.cxn_id,
            secret: patch.secret,
            app_id: patch.app_id,
            app_url: patch.app_url.into(),
            site_url: patch.site_url,
            perm: std::sync::Arc::new(json!({"z": 1, "a": [true]})),
            via_port: Some("proxy.example.org:1234".parse().unwrap()),
            batch_code: 77.try_into().unwrap(),
            disabled: true,
        };
        let text = line(&cxn, [(JobName::default(), status.clone())]);
        let read = parse(&text).unwrap();
        assert_eq!(read.poll_status, [(JobName::default(), status)]);
        let via_port = cxn.via_port.clone().map_or(FieldPatch::Keep, FieldPatch::Set);
        assert_eq!((read.via_port, read.disabled), (via_port, FieldPatch::Set(true)));
        assert_eq!(read.perm, FieldPatch::Set((*cxn.perm).clone()));
    }

    #[test]
    fn the_deepest_perm_of_a_registration_reads_back() {
        let perm = (0..MAX_PERM_DEPTH).fold(json!("x"), |inner, _| json!([inner]));
        let read = with("perm", perm.clone()).unwrap();
        assert_eq!(read.perm, FieldPatch::Set(perm));
    }

    #[test]
    fn names_and_urls_of_strangers_are_checked_and_read_without_the_check() {
        let status = |job: &str| json!({job: {"pollLevel": 1, "pollCount": 2, "lastRun": 3}});
        let invalid = |key: &'static str| Problem::NotAWebUrl { key };
        let name = |id: &str| Problem::InvalidName(id.parse::<CxnId>().unwrap().check_new().unwrap_err());
        let job = |name: &str| Problem::InvalidName(name.parse::<JobName>().unwrap().check_new().unwrap_err());
        for (key, value, problem) in [
            ("cxnId", json!("--all"), name("--all")),
            ("cxnId", json!("=HYPERLINK(A1)"), name("=")),
            ("cxnId", json!("cxn:\u{202e}1"), name("cxn:é")),
            ("pollStatus", status("--all"), job("--all")),
            ("pollStatus", status("a\u{2066}b"), job("a\u{2066}b")),
            ("siteUrl", json!("no url"), invalid("siteUrl")),
            ("siteUrl", json!("/civicrm"), invalid("siteUrl")),
            ("siteUrl", json!("http://"), invalid("siteUrl")),
            ("siteUrl", json!(" https://site.example/"), invalid("siteUrl")),
            ("siteUrl", json!("admin:geheim@site.example"), invalid("siteUrl")),
            ("siteUrl", json!("javascript:alert(1)"), invalid("siteUrl")),
            ("siteUrl", json!("https://site.example/\u{202e}gpj.exe"), invalid("siteUrl")),
            ("appUrl", json!("file:///etc/passwd"), invalid("appUrl")),
        ] {
            let record = Record::Cxn(Box::new(with(key, value.clone()).unwrap()));
            assert_eq!(record.check_new(), Err(problem), "{key} {value}");
        }
        for url in ["http://127.1/", "HTTPS://u:p@bücher.example:1/a b", "http://[::1]/"] {
            assert_eq!(Record::Cxn(Box::new(with("siteUrl", json!(url)).unwrap())).check_new(), Ok(()), "{url}");
        }
        let status = json!({"cxnId": "--all", "pollStatus": status("a\u{2066}b")}).to_string();
        assert_eq!(Raw::Status(status).parse().unwrap().check_new(), Err(job("a\u{2066}b")));
    }

    #[test]
    fn an_optional_value_that_is_null_is_cleared_or_kept() {
        let null = |key| with(key, Value::Null).unwrap();
        assert_eq!(null("viaPort").via_port, FieldPatch::Clear);
        assert_eq!(null("perm").perm, FieldPatch::Clear);
        assert_eq!(null("disabled").disabled, FieldPatch::Clear);
        let kept = parse(&minimal().to_string()).unwrap();
        assert_eq!([null("batchCode"), null("pollStatus")], [kept.clone(), kept]);
    }

    #[test]
    fn a_bad_line_has_a_problem_without_the_secret() {
        let json = |reason: &str| Problem::Json { reason: reason.to_owned() };
        let status = |level: u32, last_run: i64, class: &str| {
            let attempts = json!([{"at": 1, "class": class}]);
            json!({"default": {"pollLevel": level, "pollCount": 0, "lastRun": last_run, "attempts": attempts}})
        };
        for (key, value, expected) in [
            ("viaPort", json!("localhost"), json("viaPort is not host:port")),
            ("batchCode", json!(10_001), json("batchCode is above 10000")),
            ("appId", json!("org.example"), json("appId does not begin with 'app:'")),
            ("secret", json!(format!("{}x", secret())), Problem::InvalidSecret),
            ("disabled", json!(secret()), Problem::WrongType { expected: "a boolean".to_owned() }),
            ("siteUrl", json!(""), Problem::InvalidUrl { key: "siteUrl" }),
            ("siteUrl", json!("x".repeat(MAX_URL_BYTES + 1)), Problem::InvalidUrl { key: "siteUrl" }),
            ("appUrl", json!("a\u{1b}b"), Problem::InvalidUrl { key: "appUrl" }),
            ("pollStatus", status(0, -1, "ok"), Problem::TimeOutOfRange),
            ("pollStatus", status(1_000_001, 0, "ok"), Problem::LevelTooHigh),
            ("pollStatus", status(0, 0, "unheard-of"), Problem::UnknownFailureClass),
        ] {
            let problem = with(key, value).unwrap_err();
            assert_eq!(problem, expected, "{key}");
            assert!(!format!("{problem:?}").contains(&secret()[..8]), "{key}: {problem:?}");
        }
        assert_eq!(parse("[]"), Err(Problem::NotAnObject));
        assert_eq!(parse("{"), Err(Problem::Incomplete));
    }

    #[test]
    fn an_unknown_key_is_shown_only_if_it_cannot_be_a_secret() {
        for (key, shown) in [("viaport", Some("viaport")), (&secret(), None), ("\u{1b}[31m", None)] {
            let Err(Problem::UnknownKey { key: found, expected }) = with(key, json!(1)) else { panic!("{key}") };
            assert_eq!(found.as_deref(), shown);
            assert!(expected.starts_with("one of `cxnId`, ") && expected.ends_with("`pollStatus`"), "{expected}");
        }
    }

    #[test]
    fn a_record_of_statuses_has_no_other_keys() {
        let status = json!({"default": {"pollLevel": 1, "pollCount": 2, "lastRun": 3}});
        let raw = Raw::Status(json!({"cxnId": "cxn:1", "pollStatus": status}).to_string());
        let Ok(Record::Status(patch)) = raw.parse() else { panic!("{raw:?}") };
        assert_eq!(patch.poll_status.len(), 1);
        let raw = Raw::Status(minimal().to_string());
        assert!(matches!(raw.parse().unwrap_err().problem, Problem::UnknownKey { .. }));
    }
}
