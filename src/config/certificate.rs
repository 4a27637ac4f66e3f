//! Certificates: those of apps, which sites check and we only warn of, and those of authorities.

use std::fs;

use chrono::DateTime;
use ureq::tls::{PemItem, parse_pem};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;

use super::Config;
use crate::error::{Error, Kind, Result};
use crate::model::{AppMeta, UnixTime, safe_text};

/// The attribute of a subject that holds its common name (RFC 4519).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
/// How many days before its end a certificate is about to expire.
const SOON: i64 = 14;

impl AppMeta {
    /// What is wrong with the app's certificate at a moment, a sentence each: it can't be read, is not valid, is about to
    /// expire, or is another app's. An app without a certificate has none that could be wrong.
    #[must_use]
    pub fn certificate_problems(&self, now: UnixTime) -> Vec<String> {
        if self.app_cert.trim().is_empty() {
            return Vec::new();
        }
        let name = format!("the certificate of {}", self.app_id);
        // Further certificates are those of its issuers.
        let Some(certificate) =
            Certificate::load_pem_chain(self.app_cert.as_bytes()).ok().and_then(|chain| chain.into_iter().next())
        else {
            return vec![format!("{name} can't be read: expected X.509 in PEM")];
        };
        let mut problems = Vec::new();
        let body = certificate.tbs_certificate();
        let moment =
            |time: &x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
        let (from, until) = (moment(&body.validity().not_before), moment(&body.validity().not_after));
        let days = until.saturating_sub(now) / 86_400;
        if now < from {
            problems.push(format!("{name} is not valid before {}", date(from)));
        } else if until < now {
            problems.push(format!("{name} expired on {}", date(until)));
        } else if days <= SOON {
            problems.push(format!("{name} expires on {}, in {days} days", date(until)));
        }
        let mut subject = body.subject().iter();
        let common_name = subject.find(|attribute| attribute.oid == COMMON_NAME);
        let common_name = common_name.map(|attribute| String::from_utf8_lossy(attribute.value.value()).into_owned());
        if common_name.as_deref() != Some(self.app_id.as_str()) {
            let common_name = safe_text(common_name.as_deref().unwrap_or("missing"));
            problems.push(format!("{name} is another app's: its common name is {common_name}"));
        }
        problems
    }
}

impl Config {
    /// The certificates of `ca-file`, in DER; nothing where none is named.
    ///
    /// # Errors
    /// [`Kind::Config`] where the file can't be read or holds no certificate.
    pub fn authorities(&self) -> Result<Vec<Vec<u8>>> {
        let Some(path) = &self.ca_file else { return Ok(Vec::new()) };
        let wrong = |why: &str| Error::new(Kind::Config, format!("ca-file: {}: {why}", path.display()));
        let pem = fs::read(path).map_err(|error| wrong(&format!("can't be read: {error}")))?;
        // Bundles hold comments, and odd certificates that nobody could use: those are passed over.
        let certificates: Vec<_> = parse_pem(&pem)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate.der().to_vec()),
                _ => None,
            })
            .filter(|der| Certificate::from_der(der).is_ok())
            .collect();
        if certificates.is_empty() {
            return Err(wrong("holds no certificate").hint("expected those of authorities, X.509 in PEM"));
        }
        Ok(certificates)
    }
}

fn date(moment: UnixTime) -> String {
    DateTime::from_timestamp(moment, 0).map_or_else(|| moment.to_string(), |time| time.format("%F").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tls;
    use proptest::prelude::*;

    const GOOD: &str = include_str!("../../fixtures/app.crt");
    /// 2019-01-01T00:00:00Z
    const EARLY: UnixTime = 1_546_300_800;
    /// 2027-01-01T00:00:00Z
    const NOW: UnixTime = 1_798_761_600;

    fn problems(app_id: &str, app_cert: &str, now: UnixTime) -> Vec<String> {
        let (app_id, app_cert) = (app_id.parse().unwrap(), app_cert.to_owned());
        AppMeta { app_id, app_cert, disabled: false, tls: Tls::Verify, metadata: serde_json::Value::Null }
            .certificate_problems(now)
    }

    #[test]
    fn what_is_wrong_is_told() {
        let mine = "app:org.example.myapp";
        assert!(problems(mine, GOOD, NOW).is_empty() && problems(mine, " \n", NOW).is_empty());
        assert!(problems(mine, &format!("my app\n{GOOD}"), NOW).is_empty());
        assert!(problems(mine, GOOD, EARLY)[0].contains("not valid before 2020-01-01"));
        let century = NOW + 100 * 366 * 86_400;
        assert!(problems(mine, GOOD, century)[0].contains("expired on 2120-01-01"));
        let end = (NOW..century).step_by(86_400).find(|now| !problems(mine, GOOD, *now).is_empty()).unwrap();
        assert!(problems(mine, GOOD, end)[0].contains("in 14 days"), "{:?}", problems(mine, GOOD, end));
        let told = problems("app:org.example.other", GOOD, NOW);
        assert!(told[0].contains("its common name is app:org.example.myapp"), "{told:?}");
        for bad in ["-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "no", &GOOD[..100]] {
            assert!(problems(mine, bad, NOW)[0].contains("can't be read"), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "\\PC{0,200}", flip in 28..GOOD.len() - 28, with in "[A-Za-z0-9+/]") {
            problems("app:org.example.myapp", &text, NOW);
            let mut changed = GOOD.to_owned();
            changed.replace_range(flip..=flip, &with);
            problems("app:org.example.myapp", &changed, NOW);
        }
    }
}
