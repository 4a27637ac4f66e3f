//! JSON lines: one connection a line.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::model::{
    AppId, Attempt, BatchCode, Cxn, CxnId, Failure, FailureClass, JobName, PollStatus, Secret, UnixTime, ViaPort,
};
use crate::store::{CxnLine, StatusLine};

/// A line. All but the first five keys may be missing, and are left out where they are at their default.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a JSON object")]
struct Line {
    cxn_id: CxnId,
    secret: String,
    app_id: AppId,
    app_url: String,
    site_url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    perm: Option<Value>,
    /// `null` is told, a missing key is not.
    #[expect(clippy::option_option, reason = "not told, told to be none, told")]
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "told")]
    via_port: Option<Option<ViaPort>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    batch_code: Option<BatchCode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    disabled: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    poll_status: Option<BTreeMap<JobName, Status>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a JSON object")]
struct Status {
    poll_level: u32,
    poll_count: u32,
    last_run: UnixTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before: Option<UnixTime>,
    #[serde(default, skip_serializing_if = "is_zero")]
    deferrals: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_success: Option<UnixTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_failure: Option<LastFailure>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attempts: Vec<LineAttempt>,
    #[serde(default, skip_serializing_if = "is_zero")]
    took_ms: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LastFailure {
    at: UnixTime,
    class: String,
    message: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineAttempt {
    at: UnixTime,
    class: String,
}

/// The keys of a line.
pub(super) const KEYS: [&str; 10] =
    ["cxnId", "secret", "appId", "appUrl", "siteUrl", "perm", "viaPort", "batchCode", "disabled", "pollStatus"];

/// A line that tells of statuses alone.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a JSON object")]
struct OfStatus {
    cxn_id: CxnId,
    poll_status: BTreeMap<JobName, Status>,
}

/// The latest moment that a line may speak of: the end of the year 9999.
const LATEST: UnixTime = 253_402_300_799;
/// No expression has so many levels; the index of the store has a shelf for each up to here, and far beyond.
const HIGHEST_LEVEL: u32 = 1_000_000;

fn is_zero<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}

#[expect(clippy::option_option, reason = "as in `Line`")]
fn told<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<ViaPort>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Reads one line.
///
/// # Errors
/// What is wrong with it, in words that never show the secret.
pub fn parse(text: &str) -> Result<CxnLine, String> {
    // serde would take an array of all values for an object.
    if text.trim_start().starts_with('[') {
        return Err("expected a JSON object".to_owned());
    }
    let line: Line = serde_json::from_str(text).map_err(|error| describe(&error))?;
    for (key, url) in [("appUrl", &line.app_url), ("siteUrl", &line.site_url)] {
        if url.is_empty() || url.len() > 2048 || url.chars().any(char::is_control) {
            return Err(format!("{key} is empty, longer than 2048 bytes, or holds control characters"));
        }
    }
    let statuses = line.poll_status.into_iter().flatten().map(|(job, status)| Ok((job, status.read()?)));
    Ok(CxnLine {
        secret: Secret::from_base64(&line.secret).map_err(|error| error.to_string())?,
        poll_status: statuses.collect::<Result<_, String>>()?,
        cxn_id: line.cxn_id,
        app_id: line.app_id,
        app_url: line.app_url,
        site_url: line.site_url,
        perm: line.perm,
        via_port: line.via_port,
        batch_code: line.batch_code,
        disabled: line.disabled,
    })
}

/// Reads a line that tells of statuses alone.
///
/// # Errors
/// As [`parse`].
pub fn parse_status(text: &str) -> Result<StatusLine, String> {
    let line: OfStatus = serde_json::from_str(text).map_err(|error| describe(&error))?;
    let statuses = line.poll_status.into_iter().map(|(job, status)| Ok((job, status.read()?)));
    Ok(StatusLine { cxn_id: line.cxn_id, poll_status: statuses.collect::<Result<_, String>>()? })
}

/// serde's message, without the values and strange keys that it quotes: they may be a secret at the wrong place.
pub(super) fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let at = format!("column {}", error.column());
    match text.split_once(": ") {
        Some((problem @ ("invalid type" | "invalid value"), rest)) => {
            let expected = rest.split_once("expected ").map_or("something else", |(_, expected)| expected);
            let expected = expected.split(" at line ").next().unwrap_or_default();
            format!("{problem}, expected {expected}, at {at}")
        }
        _ => match text.split('`').nth(1) {
            Some(key) if key.len() > 20 || !key.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                format!("a key that is none of ours, at {at}")
            }
            _ => format!("{}, at {at}", text.split(" at line ").next().unwrap_or_default()),
        },
    }
}

/// Writes one line, without its end.
#[must_use]
pub fn line(cxn: &Cxn, statuses: impl IntoIterator<Item = (JobName, PollStatus)>) -> String {
    let statuses: BTreeMap<_, _> = statuses.into_iter().map(|(job, status)| (job, Status::write(&status))).collect();
    let line = Line {
        cxn_id: cxn.cxn_id.clone(),
        secret: cxn.secret.to_base64(),
        app_id: cxn.app_id.clone(),
        app_url: cxn.app_url.to_string(),
        site_url: cxn.site_url.clone(),
        perm: (!cxn.perm.is_null()).then(|| (*cxn.perm).clone()),
        via_port: cxn.via_port.clone().map(Some),
        batch_code: Some(cxn.batch_code),
        disabled: cxn.disabled.then_some(true),
        poll_status: (!statuses.is_empty()).then_some(statuses),
    };
    // Encoding fails only for maps whose keys aren't text, and ours are.
    serde_json::to_string(&line).expect("a line is JSON")
}

/// What stands for success in the list of attempts.
const OK: &str = "ok";

impl Status {
    fn write(status: &PollStatus) -> Self {
        let attempt = |attempt: &Attempt| LineAttempt {
            at: attempt.at,
            class: attempt.class.map_or(OK, FailureClass::name).to_owned(),
        };
        Self {
            poll_level: status.level,
            poll_count: status.count,
            last_run: status.last_run,
            not_before: status.not_before,
            deferrals: status.deferrals,
            last_success: status.last_success,
            last_failure: status.last_failure.as_ref().map(|(at, failure)| LastFailure {
                at: *at,
                class: failure.class.to_string(),
                message: failure.message.clone(),
            }),
            attempts: status.attempts.iter().map(attempt).collect(),
            took_ms: status.took_ms,
        }
    }

    fn read(self) -> Result<PollStatus, String> {
        let class = |name: &str| {
            FailureClass::from_name(name).ok_or_else(|| "a class of failure in the pollStatus is unknown".to_owned())
        };
        if self.poll_level > HIGHEST_LEVEL {
            return Err(format!("the pollLevel is above {HIGHEST_LEVEL}"));
        }
        let moments = [Some(self.last_run), self.not_before, self.last_success];
        if moments.into_iter().flatten().any(|at| !(0..=LATEST).contains(&at)) {
            return Err("a time of the pollStatus is not between 1970 and 9999".to_owned());
        }
        let attempts = self.attempts.into_iter().rev().take(PollStatus::ATTEMPTS).rev();
        let attempt = |attempt: LineAttempt| {
            let class = if attempt.class == OK { None } else { Some(class(&attempt.class)?) };
            Ok(Attempt { at: attempt.at, class })
        };
        Ok(PollStatus {
            level: self.poll_level,
            count: self.poll_count,
            last_run: self.last_run,
            not_before: self.not_before,
            deferrals: self.deferrals,
            last_success: self.last_success,
            attempts: attempts.map(attempt).collect::<Result<_, String>>()?,
            took_ms: self.took_ms,
            last_failure: match self.last_failure {
                Some(failure) => Some((failure.at, Failure::new(class(&failure.class)?, failure.message))),
                None => None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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

    fn with(key: &str, value: Value) -> Result<CxnLine, String> {
        let mut line = minimal();
        line[key] = value;
        parse(&line.to_string())
    }

    #[test]
    fn five_keys_are_enough() {
        let line = parse(&minimal().to_string()).unwrap();
        assert_eq!((line.perm, line.via_port, line.batch_code, line.disabled), (None, None, None, None));
    }

    #[test]
    fn a_full_line_reads_back() {
        let mut status = PollStatus { level: 1, count: 2, last_run: 1_700_000_000, ..PollStatus::default() };
        status.remember(1_699_999_000, &Ok(()));
        status.remember(1_700_000_000, &Err(Failure::new(FailureClass::Timeout, "connecting")));
        let told = with("pollStatus", json!({})).unwrap();
        let cxn = Cxn {
            cxn_id: told.cxn_id,
            secret: told.secret,
            app_id: told.app_id,
            app_url: told.app_url.into(),
            site_url: told.site_url,
            perm: std::sync::Arc::new(json!({"z": 1, "a": [true]})),
            via_port: Some("proxy.example.org:1234".parse().unwrap()),
            batch_code: 77.try_into().unwrap(),
            disabled: true,
        };
        let text = line(&cxn, [(JobName::default(), status.clone())]);
        let read = parse(&text).unwrap();
        assert_eq!(read.poll_status, [(JobName::default(), status)]);
        assert_eq!((read.via_port, read.disabled), (Some(cxn.via_port.clone()), Some(true)));
        assert_eq!(read.perm.as_ref(), Some(&*cxn.perm));
    }

    #[test]
    fn null_takes_a_via_port_away() {
        assert_eq!(with("viaPort", Value::Null).unwrap().via_port, Some(None));
    }

    #[test]
    fn bad_lines_say_what_is_wrong_and_never_show_the_secret() {
        for (key, value, problem) in [
            ("viaport", json!("a.b:1"), "unknown field `viaport`"),
            ("viaPort", json!("localhost"), "viaPort"),
            ("batchCode", json!(10_001), "batchCode is above 10000"),
            ("appId", json!("org.example"), "appId does not begin with 'app:'"),
            ("secret", json!(format!("{}x", secret())), "secret is not the base64 of 32 bytes"),
            ("disabled", json!(secret()), "invalid type, expected a boolean"),
            (&secret(), json!(1), "a key that is none of ours"),
            ("\u{1b}[31m", json!(1), "a key that is none of ours"),
            ("siteUrl", json!(""), "siteUrl is empty"),
            ("pollStatus", json!({"default": {"pollLevel": 0, "pollCount": 0, "lastRun": -1}}), "1970"),
        ] {
            let error = with(key, value).unwrap_err();
            assert!(error.contains(problem), "{key}: {error}");
            assert!(!error.contains(&secret()[..8]), "{key}: {error}");
        }
        assert!(parse("{").is_err());
    }
}
