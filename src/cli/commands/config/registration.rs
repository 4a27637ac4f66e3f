//! What keeps sites from registering with apps.

use crate::cli::commands::findings::{Check, Findings, unreadable};
use crate::cli::commands::users;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::config::{Config, Error as ConfigError, MissingMetadata, RegistrationDefect};
use crate::model::{AppId, AppMeta};

/// Checks the apps that take registrations, of all in the configuration.
///
/// They have a key, a secret or links in their table. With a table `[registration]`, that is every app.
pub(super) fn find(context: &Context, names: &[String], findings: &mut Findings) {
    let config = &context.config;
    let is_for_all = config.written().is_ok_and(|written| written.contains_key("registration"));
    let ids = names.iter().filter_map(|name| AppId::from_argument(name).ok());
    let apps: Vec<_> = ids.filter(|app_id| is_for_all || config.names_registration(app_id)).collect();
    if apps.is_empty() {
        return;
    }
    findings.check([Check::Registration]);
    for app_id in apps {
        let key = config.app_key(&app_id).map(|key| key.map(|(key, _)| key));
        // A key that cannot be read is there.
        let is_missing = matches!(key, Ok(None));
        let key = key.unwrap_or_else(|error| {
            add_error(error, findings);
            None
        });
        if let Err(error) = config.link_secret(&app_id) {
            add_error(error, findings);
        }
        // Metadata that cannot be read is a finding already.
        let Ok(Some(app)) = config.app(&app_id) else { continue };
        let defects = config.registration_defects(&app, key.as_ref());
        for defect in defects.into_iter().filter(|defect| is_missing || *defect != RegistrationDefect::NoKey) {
            let message = text(&app, &defect);
            if defect.is_fault() {
                findings.add(Check::Registration, message, remedy(config, &app_id, &defect));
            } else {
                findings.note(Check::Registration, message);
            }
        }
    }
    if let Ok(None) = context.existing_store(false) {
        let message = "there is no store, and `cxnpoll registration` never creates one";
        findings.add(Check::Registration, message, "create it: cxnpoll store create");
    }
}

fn add_error(error: ConfigError, findings: &mut Findings) {
    let error = Error::from(error);
    let access = unreadable(&error).and_then(users::access_remedy);
    findings.add_error(Check::Registration, error, access.as_deref().unwrap_or("correct the file"));
}

fn text(app: &AppMeta, defect: &RegistrationDefect) -> String {
    use RegistrationDefect as D;
    let app_id = &app.app_id;
    match defect {
        D::NoKey => format!("{app_id} has no private key, so that sites cannot register here"),
        D::NoDocument(MissingMetadata::Certificate) => {
            format!("{app_id} has no certificate, so that its metadata is not served")
        }
        D::NoDocument(MissingMetadata::UnreadableCertificate) => {
            format!("the certificate of {app_id} is not X.509 in PEM, so that its metadata is not served")
        }
        D::NoDocument(MissingMetadata::AppUrl) => {
            format!("{app_id} has no app-url of http or https, so that its metadata is not served")
        }
        D::OtherPath => {
            format!(
                "the app-url of {app_id} does not end in /{}/cxn, at which registrations are answered",
                app_id.short()
            )
        }
        D::NoRsa2048 => {
            format!("the certificate of {app_id} has no RSA key of 2048 bits, which sites need to register")
        }
        D::OtherKey => format!("the certificate of {app_id} belongs to another key than its private key"),
        D::NoKeyEncipherment => format!("the certificate of {app_id} lacks the key usage keyEncipherment"),
        D::AppId => format!("sites accept no app id with other characters than letters, digits and dots: {app_id}"),
        D::Fields(fields) => format!("sites refuse the metadata of {app_id}, which lacks {}", fields.join(", ")),
        D::NoLinkSecret => format!("{app_id} has links and no link-secret-file, so that sites get none"),
    }
}

/// What to do about a fault.
fn remedy(config: &Config, app_id: &AppId, defect: &RegistrationDefect) -> String {
    if *defect == RegistrationDefect::NoLinkSecret {
        return "name a file with the secret that the pages know as `link-secret-file`".to_owned();
    }
    let file = config.certificate_file(app_id).map_or("its file".to_owned(), |file| file.display().to_string());
    let app = app_id.short();
    format!("put the certificate of the key into {file}, or ask for one: cxnpoll config app-keys request {app}")
}
