//! Texts, hints and exit codes for errors of the configuration.

use std::fmt;
use std::path::Path;

use chrono::DateTime;
use rustix::process::geteuid;

use super::file;
use super::report::Report;
use crate::config::{self, CertificateDefect, CertificateProblem, HEARTBEAT_VARIABLE, Origin, PrivateFileProblem};
use crate::model::UnixTime;
use crate::util::text::{sanitize, shell_quoted};

/// Completes the message about an invalid heartbeat URL, which is not shown, as it may hold a key.
const NO_URL: &str = "is not an http or https URL";

/// Hides the part of each URL after its scheme: the line with an error may be that of the heartbeat.
pub(in crate::cli) fn hide_urls(text: &str) -> String {
    let mut parts = text.split("://");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |shown, part| {
        let end = part.find(['"', '\'', '\n', '`']).unwrap_or(part.len());
        format!("{shown}://…{}", &part[end..])
    })
}

/// Hides values in the lines that an error of TOML quotes: `1 | heartbeat = "…`.
fn hide_values(text: &str) -> String {
    let hide = |line: &str| match line.split_once(" | ") {
        Some((number, quoted)) if number.trim().parse::<u32>().is_ok() => {
            let end = quoted.find(['=', '"', '\'']).map_or(quoted.len(), |at| at + 1);
            let hidden = if end < quoted.len() { " …" } else { "" };
            format!("{number} | {}{hidden}", &quoted[..end])
        }
        _ => line.to_owned(),
    };
    text.lines().map(hide).collect::<Vec<_>>().join("\n")
}

/// Hides private keys of age, which may stand in the place of public ones.
fn hide_keys(text: &str) -> String {
    const PREFIX: &str = "age-secret-key-";
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.to_ascii_lowercase().find(PREFIX) {
        let (before, key) = rest.split_at(at + PREFIX.len());
        shown += before;
        shown.push('…');
        rest = key.trim_start_matches(|character: char| character.is_ascii_alphanumeric());
    }
    shown + rest
}

impl From<config::Error> for Report {
    fn from(error: config::Error) -> Self {
        use config::Error as E;
        match error {
            E::NoFile { path } => Self::not_found(format!("there is no configuration file {}", path.display())),
            E::File(error) => Self::config(file::text(&error)),
            E::Toml { path, source } => {
                let text = hide_keys(&hide_urls(&hide_values(source.to_string().trim_end())));
                Self::config(format!("in {}: {text}", path.display()))
            }
            E::NoHome => Self::config("no store is named and the user has no home directory")
                .hint("name one with --store, CXNPOLL_STORE or `store` in the configuration"),
            E::InvalidTilde { variable, source } => Self::config(format!("{variable}: {source}")),
            E::InvalidHeartbeat(Origin::Option) => Self::usage(format!("--heartbeat {NO_URL}")),
            E::InvalidHeartbeat(Origin::Variable) => Self::config(format!("{HEARTBEAT_VARIABLE} {NO_URL}")),
            E::InvalidHeartbeat(_) => Self::config(format!("heartbeat in the configuration {NO_URL}")),
            E::MetadataJson { path, source } => Self::config(format!("{}: {source}", path.display())),
            E::NoMetadata { path, app_id } => {
                Self::config(format!("{}: there is no object '{app_id}' in it", path.display()))
            }
            E::KeyIsPublic { path } => Self::config(format!(
                "{} holds a private key, and is a file that sites get",
                path.display()
            ))
            .hint(
                "keep the certificate and the private key in two files, and make a new key if sites have seen this one",
            ),
            E::NoCertificate { path } => Self::config(format!("there is no certificate {}", path.display())),
            E::UnreadableAuthorities { path, source } => {
                Self::config(format!("ca-file: {}: cannot be read: {source}", path.display()))
            }
            E::InvalidRecipient { place: None, problem } => Self::usage(format!("--recipient: {problem}")),
            E::InvalidRecipient { place: Some((path, line)), problem } => {
                Self::config(format!("recipients-file: {}, line {line}: {problem}", path.display()))
            }
            E::NoRecipients { path } => Self::config(format!("recipients-file: {}: holds no key", path.display()))
                .hint("write the public keys that age-keygen prints into it, or remove `recipients-file`"),
            E::PrivateFile { path, problem } => private_file(&path, problem),
            E::NoAuthorities { path } => Self::config(format!("ca-file: {}: holds no certificate", path.display()))
                .hint("use a file with certificates of authorities, X.509 in PEM"),
        }
    }
}

/// The report of a file with a key or a secret that cannot be used. No part of its text is shown.
fn private_file(path: &Path, problem: PrivateFileProblem) -> Report {
    use PrivateFileProblem as P;
    let (shown, quoted) = (path.display(), shell_quoted(path));
    match problem {
        P::Missing => Report::config(format!("there is no file {shown}"))
            .hint("put the key there, or correct its path in the configuration"),
        P::Shared { mode } => {
            Report::config(format!("other users can read or write {shown} (mode {mode:o}), which holds a secret"))
                .hint(format!("protect it: chmod 600 {quoted}"))
        }
        P::Foreign { owner } => {
            let user = geteuid().as_raw();
            Report::config(format!("{shown}, which holds a secret, belongs to another user (number {owner})"))
                .hint(format!("make it your own, as root: chown {user} {quoted}"))
        }
        P::TooLong => Report::config(format!("{shown} is too long for a key")),
        P::NotUtf8 => Report::config(format!("{shown} is not text")),
        P::Empty => Report::config(format!("{shown} is empty")).hint("write the secret into it"),
        P::NoKey(problem) => Report::config(format!("{shown}: {problem}"))
            .hint("make a key: cxnpoll config app-keys create APP, or put the keys.json of cxnapp there"),
    }
}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the certificate of {} ", self.app_id)?;
        match &self.defect {
            CertificateDefect::Empty { path } => write!(f, "is missing: {} is empty", path.display()),
            CertificateDefect::Unreadable => f.write_str("cannot be read: expected X.509 in PEM"),
            CertificateDefect::NotYetValid { from } => write!(f, "is not valid before {}", date(*from)),
            CertificateDefect::Expired { until } => write!(f, "expired on {}", date(*until)),
            CertificateDefect::ExpiresSoon { until, days } => {
                write!(f, "expires on {}, in {}", date(*until), days_text(*days))
            }
            CertificateDefect::OtherApp { common_name } => {
                let common_name = sanitize(common_name.as_deref().unwrap_or("missing"));
                write!(f, "is another app's: its common name is {common_name}")
            }
        }
    }
}

fn days_text(days: i64) -> String {
    crate::util::text::count(days.unsigned_abs(), "day")
}

/// The date of a time, UTC.
fn date(at: UnixTime) -> String {
    DateTime::from_timestamp(at, 0).map_or_else(|| at.to_string(), |time| time.format("%F").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::exit;
    use std::path::PathBuf;

    #[test]
    fn a_missing_file_is_not_found_and_all_else_is_a_configuration_error() {
        let path = PathBuf::from("/etc/cxnpoll/cxnpoll.toml");
        let missing = Report::from(config::Error::NoFile { path: path.clone() });
        assert_eq!(missing.exit_code, exit::NOT_FOUND);
        assert_eq!(missing.message, "there is no configuration file /etc/cxnpoll/cxnpoll.toml");
        let source = "x = ".parse::<toml::Table>().unwrap_err();
        let invalid = Report::from(config::Error::Toml { path, source });
        assert_eq!(invalid.exit_code, exit::CONFIG);
        assert!(invalid.message.starts_with("in /etc/cxnpoll/cxnpoll.toml: ") && invalid.message.contains("line 1"));
        assert!(Report::from(config::Error::NoHome).hint.is_some());
    }

    #[test]
    fn an_error_in_the_file_shows_no_url() {
        let text = |text: &str| {
            let source = toml::from_str::<Config>(text).unwrap_err();
            Report::from(config::Error::Toml { path: "c.toml".into(), source }).message
        };
        for (file, expected) in [
            ("hartbeat = \"https://a.example.org/T0KEN\"", "unknown field `hartbeat`"),
            ("heartbeat = \"https://a.example.org/T0KEN", "1 | heartbeat = …"),
            ("heartbeat = \"a.example.org/T0KEN\" j", "1 | heartbeat = …"),
            ("heartbeat = { url = \"https:\\u002f\\u002fa/T0KEN\" }", "1 | heartbeat = …"),
            ("heartbeat = [\"T0KEN\"]", "1 | heartbeat = …"),
            ("[jobs.\"a.b\".c]\nheartbeat = \"a.example.org/T0KEN\"", "2 | heartbeat = …"),
            ("[jobs.\"a.b\"]\nc = { heartbeat = \"https://T0KEN\", threads = 0 }", "2 | c = …"),
            ("jobs.\"a.b\".c.heartbeat = [\"T0KEN\"]", "1 | jobs.\" …"),
            ("[apps.\"T0KEN\"]\nsecret = 5", "secret = …"),
            ("[per-host]\nheartbeat = 'https://a.example.org/T0KEN'", "string \"https://…\", expected usize"),
        ] {
            let message = text(file);
            assert!(message.contains(expected) && !message.contains("T0KEN"), "{message}");
        }
    }

    #[test]
    fn a_file_with_a_secret_that_others_can_read_is_to_be_protected() {
        let report = |problem| Report::from(config::Error::PrivateFile { path: "/a b/keys.json".into(), problem });
        let shared = report(PrivateFileProblem::Shared { mode: 0o644 });
        assert_eq!(shared.exit_code, exit::CONFIG);
        assert_eq!(
            shared.to_string(),
            "other users can read or write /a b/keys.json (mode 644), which holds a secret\nhint: protect it: chmod 600 \
             '/a b/keys.json'"
        );
        let foreign = report(PrivateFileProblem::Foreign { owner: 4711 }).to_string();
        assert!(foreign.contains("(number 4711)") && foreign.contains("chown "), "{foreign}");
    }

    #[test]
    fn a_certificate_problem_names_the_app_and_the_date() {
        let text = |defect| CertificateProblem { app_id: "app:org.example.a".parse().unwrap(), defect }.to_string();
        let until = 1_798_761_600;
        for (defect, expected) in [
            (CertificateDefect::ExpiresSoon { until, days: 1 }, "expires on 2027-01-01, in 1 day"),
            (CertificateDefect::Expired { until }, "expired on 2027-01-01"),
            (CertificateDefect::NotYetValid { from: until }, "is not valid before 2027-01-01"),
            (CertificateDefect::Empty { path: "/a/app.crt".into() }, "is missing: /a/app.crt is empty"),
            (CertificateDefect::Unreadable, "cannot be read: expected X.509 in PEM"),
            (
                CertificateDefect::OtherApp { common_name: Some("app:\u{1b}b".to_owned()) },
                "is another app's: its common name is app: b",
            ),
            (CertificateDefect::OtherApp { common_name: None }, "is another app's: its common name is missing"),
        ] {
            assert_eq!(text(defect), format!("the certificate of app:org.example.a {expected}"));
        }
    }
}
