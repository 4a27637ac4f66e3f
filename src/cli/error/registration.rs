//! The texts, hints and exit codes of faults on this side when registrations are answered.

use super::report::Report;
use super::{Error, file};
use crate::config::MissingMetadata;
use crate::exit;
use crate::model::AppId;
use crate::registration;

impl From<registration::Error> for Error {
    fn from(error: registration::Error) -> Self {
        Self::Registration(error)
    }
}

impl From<registration::Error> for Report {
    fn from(error: registration::Error) -> Self {
        use registration::Error as E;
        match error {
            E::NoWebServer => Self::usage("no web server has started this command: REQUEST_METHOD is not set")
                .hint("set it up as a CGI program, as docs/registration.md shows"),
            E::Config(error) => error.into(),
            E::NoKey(app_id) => Self::config(format!("{app_id} has no private key, which opens registrations"))
                .hint(format!("name its file: private-key in [apps.\"{}\"]", app_id.short())),
            E::OtherKey(app_id) => Self::config(format!(
                "the certificate of {app_id} is not that of its private key, so that no site can register"
            ))
            .hint(format!("put the certificate of the key into app-cert in [apps.\"{}\"]", app_id.short())),
            E::NoMetadata { app_id, missing } => no_metadata(&app_id, missing),
            E::Store(error) => error.into(),
            E::RateFile(error) => Self::new(exit::STORE, file::text(&error))
                .hint("registrations need a store that they can write: run as its owner"),
            E::Listener(error) => error.into(),
            E::Random(error) => Self::new(exit::INTERNAL, format!("the system has no random numbers: {error}")),
        }
    }
}

fn no_metadata(app_id: &AppId, missing: MissingMetadata) -> Report {
    let lacks = |what: &str, key: &str| {
        Report::config(format!("{app_id} has no {what}, which its metadata must have"))
            .hint(format!("set {key} in [apps.\"{}\"]", app_id.short()))
    };
    match missing {
        MissingMetadata::Certificate => lacks("certificate", "app-cert"),
        MissingMetadata::AppUrl => lacks("URL of http or https", "app-url"),
        MissingMetadata::UnreadableCertificate => {
            Report::config(format!("the certificate of {app_id} is not X.509 in PEM, so that it is not shown to sites"))
                .hint("run `cxnpoll config check`")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_the_app_and_what_to_set() {
        let app_id = || "app:org.example.poll".parse().unwrap();
        let lacks = |missing| registration::Error::NoMetadata { app_id: app_id(), missing };
        for (error, code, expected) in [
            (registration::Error::NoWebServer, exit::USAGE, "CGI program"),
            (registration::Error::NoKey(app_id()), exit::CONFIG, "private-key in [apps.\"org.example.poll\"]"),
            (lacks(MissingMetadata::Certificate), exit::CONFIG, "app-cert in [apps.\"org.example.poll\"]"),
            (lacks(MissingMetadata::AppUrl), exit::CONFIG, "app-url in [apps.\"org.example.poll\"]"),
        ] {
            let report = Report::from(error);
            assert_eq!(report.exit_code, code);
            assert!(report.hint.as_ref().unwrap().contains(expected), "{report}");
        }
    }
}
