//! The certificates of apps. Sites verify them; this program only warns.

use x509_cert::Certificate;
use x509_cert::der::oid::ObjectIdentifier;

use super::error::{CertificateDefect, CertificateProblem};
use super::file::Config;
use crate::model::{AppMeta, UnixTime};

/// The attribute of a subject that holds its common name (RFC 4519).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
/// How many days before its end a certificate is reported.
pub const EXPIRY_WARNING_DAYS: i64 = 14;

impl Config {
    /// Lists what is wrong with the certificate of an app at the time `now`, in UTC seconds.
    ///
    /// An app without a certificate has no problems, unless a file for it is blank.
    #[must_use]
    pub fn certificate_problems(&self, app: &AppMeta, now: UnixTime) -> Vec<CertificateProblem> {
        let defects = if app.app_cert.trim().is_empty() {
            self.certificate_file(&app.app_id).map(|path| CertificateDefect::Empty { path }).into_iter().collect()
        } else {
            text_defects(app, now)
        };
        defects.into_iter().map(|defect| CertificateProblem { app_id: app.app_id.clone(), defect }).collect()
    }
}

/// What is wrong with the text of a certificate.
fn text_defects(app: &AppMeta, now: UnixTime) -> Vec<CertificateDefect> {
    match first_certificate(app) {
        Some(certificate) => defects(app, &certificate, now),
        None => vec![CertificateDefect::Unreadable],
    }
}

/// The certificate of an app; `None` if it cannot be read.
///
/// The certificates after the first are those of its issuers.
pub(super) fn first_certificate(app: &AppMeta) -> Option<Certificate> {
    Certificate::load_pem_chain(app.app_cert.as_bytes()).ok()?.into_iter().next()
}

fn defects(app: &AppMeta, certificate: &Certificate, now: UnixTime) -> Vec<CertificateDefect> {
    let body = certificate.tbs_certificate();
    let unix = |time: &x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    let (from, until) = (unix(&body.validity().not_before), unix(&body.validity().not_after));
    let days = until.saturating_sub(now) / 86_400;
    let mut defects = Vec::new();
    if now < from {
        defects.push(CertificateDefect::NotYetValid { from });
    } else if until < now {
        defects.push(CertificateDefect::Expired { until });
    } else if days <= EXPIRY_WARNING_DAYS {
        defects.push(CertificateDefect::ExpiresSoon { until, days });
    }
    let common_name = body.subject().iter().find(|attribute| attribute.oid == COMMON_NAME);
    let common_name = common_name.map(|attribute| String::from_utf8_lossy(attribute.value.value()).into_owned());
    if common_name.as_deref() != Some(app.app_id.as_str()) {
        defects.push(CertificateDefect::OtherApp { common_name });
    }
    defects
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = include_str!("../../fixtures/app.crt");
    const MINE: &str = "app:org.example.myapp";
    /// 2019-01-01T00:00:00Z
    const EARLY: UnixTime = 1_546_300_800;
    /// 2020-01-01T00:00:00Z
    const FIRST_SECOND: UnixTime = 1_577_836_800;
    /// 2027-01-01T00:00:00Z
    const NOW: UnixTime = 1_798_761_600;

    fn defects(app_id: &str, app_cert: &str, now: UnixTime) -> Vec<CertificateDefect> {
        let (app_id, app_cert) = (app_id.parse().unwrap(), app_cert.to_owned());
        let app = AppMeta { app_cert, ..AppMeta::bare(app_id) };
        Config::default().certificate_problems(&app, now).into_iter().map(|problem| problem.defect).collect()
    }

    #[test]
    fn a_valid_certificate_or_none_has_no_problems() {
        let windows = GOOD.replace('\n', "\r\n");
        for certificate in [GOOD, "", &format!("my app\n{GOOD}"), &windows] {
            assert_eq!(defects(MINE, certificate, NOW), []);
        }
    }

    #[test]
    fn validity_has_a_beginning_and_an_end() {
        assert_eq!(defects(MINE, GOOD, EARLY), [CertificateDefect::NotYetValid { from: FIRST_SECOND }]);
        let century = NOW + 100 * 366 * 86_400;
        let expired = defects(MINE, GOOD, century);
        let [CertificateDefect::Expired { until }] = expired[..] else { panic!("{expired:?}") };
        assert_eq!(defects(MINE, GOOD, until), [CertificateDefect::ExpiresSoon { until, days: 0 }]);
        let warned = until - EXPIRY_WARNING_DAYS * 86_400;
        assert_eq!(defects(MINE, GOOD, warned), [CertificateDefect::ExpiresSoon { until, days: 14 }]);
        assert_eq!(defects(MINE, GOOD, warned - 86_400), []);
    }

    #[test]
    fn the_common_name_is_the_app() {
        let common_name = Some(MINE.to_owned());
        assert_eq!(defects("app:org.example.other", GOOD, NOW), [CertificateDefect::OtherApp { common_name }]);
    }

    #[test]
    fn other_text_is_no_certificate() {
        for bad in ["-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "no", &GOOD[..100]] {
            assert_eq!(defects(MINE, bad, NOW), [CertificateDefect::Unreadable], "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,200}", flip in 28..GOOD.len() - 28, with in "[A-Za-z0-9+/]") {
            defects(MINE, &text, NOW);
            let mut changed = GOOD.to_owned();
            changed.replace_range(flip..=flip, &with);
            defects(MINE, &changed, NOW);
        }
    }
}
