//! The metadata of an app as sites get it, and what keeps sites from registering with it.

use serde_json::{Value, json};
use url::Url;
use x509_cert::Certificate;
use x509_cert::der::Encode;
use x509_cert::ext::pkix::KeyUsage;

use super::certificate::first_certificate;
use super::error::{MissingMetadata, RegistrationDefect};
use super::file::Config;
use crate::model::{AppId, AppMeta, is_callable};
use crate::protocol::{AppKey, is_app_public_key};

/// The document that a site reads before it registers.
///
/// It is the app's metadata with `appId`, `appCert` and `appUrl`.
///
/// # Errors
/// [`MissingMetadata`]: the app has no certificate, or another text in its place, or the configuration no URL of http or https
/// for it.
pub fn metadata_document(app: &AppMeta) -> Result<Value, MissingMetadata> {
    if app.app_cert.trim().is_empty() {
        return Err(MissingMetadata::Certificate);
    }
    if first_certificate(app).is_none() {
        return Err(MissingMetadata::UnreadableCertificate);
    }
    let app_url = app_url(app).ok_or(MissingMetadata::AppUrl)?;
    let mut document = if app.metadata.is_object() { app.metadata.clone() } else { json!({}) };
    document["appId"] = json!(app.app_id.as_str());
    document["appCert"] = json!(app.app_cert);
    document["appUrl"] = json!(app_url);
    Ok(document)
}

/// The URL of an app; `None` if it is none of http or https that a site would keep.
fn app_url(app: &AppMeta) -> Option<&str> {
    let text = app.metadata["appUrl"].as_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()))?;
    let url = Url::parse(text).ok()?;
    is_callable(&url).then_some(text)
}

/// Whether the certificate of an app, if it can be read, is that of another key.
#[must_use]
pub fn is_of_other_key(app: &AppMeta, key: &AppKey) -> bool {
    first_certificate(app).is_some_and(|certificate| public_key(&certificate) != key.public_der())
}

/// The public key of a certificate, as `SubjectPublicKeyInfo` in DER.
fn public_key(certificate: &Certificate) -> Vec<u8> {
    certificate.tbs_certificate().subject_public_key_info().to_der().unwrap_or_default()
}

impl Config {
    /// Lists what keeps sites from registering with an app, or from reading its links.
    ///
    /// `key` is its private key, if that can be read.
    #[must_use]
    pub fn registration_defects(&self, app: &AppMeta, key: Option<&AppKey>) -> Vec<RegistrationDefect> {
        let mut defects = Vec::new();
        if key.is_none() && (app.metadata["appUrl"].is_string() || app.metadata["perm"].is_object()) {
            defects.push(RegistrationDefect::NoKey);
        }
        match metadata_document(app) {
            Err(missing) => defects.push(RegistrationDefect::NoDocument(missing)),
            Ok(document) if !is_endpoint(&document["appUrl"], &app.app_id) => {
                defects.push(RegistrationDefect::OtherPath);
            }
            Ok(_) => {}
        }
        // A certificate that cannot be read is a problem of its own.
        if let Some(certificate) = first_certificate(app) {
            defects.extend(certificate_defects(&certificate, key));
        }
        if !app.app_id.short().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.') {
            defects.push(RegistrationDefect::AppId);
        }
        let missing = missing_fields(&app.metadata);
        if !missing.is_empty() {
            defects.push(RegistrationDefect::Fields(missing));
        }
        if self.app_table(&app.app_id).is_some_and(|table| !table.links.is_empty() && table.link_secret_file.is_none())
        {
            defects.push(RegistrationDefect::NoLinkSecret);
        }
        defects
    }
}

/// What is wrong with a certificate only where sites register.
fn certificate_defects(certificate: &Certificate, key: Option<&AppKey>) -> Vec<RegistrationDefect> {
    let body = certificate.tbs_certificate();
    let public = public_key(certificate);
    let mut defects = Vec::new();
    if !is_app_public_key(&public) {
        defects.push(RegistrationDefect::NoRsa2048);
    }
    if key.is_some_and(|key| key.public_der() != public) {
        defects.push(RegistrationDefect::OtherKey);
    }
    let usage = body.get_extension::<KeyUsage>().ok().flatten();
    if !usage.is_some_and(|(_, usage)| usage.key_encipherment()) {
        defects.push(RegistrationDefect::NoKeyEncipherment);
    }
    defects
}

/// Whether a URL is one at which the app answers: `…/appId/cxn` or `…/appId/cxn/register`.
fn is_endpoint(app_url: &Value, app_id: &AppId) -> bool {
    let url = app_url.as_str().and_then(|text| Url::parse(text).ok());
    let mut segments: Vec<_> =
        url.iter().flat_map(|url| url.path().split('/')).filter(|part| !part.is_empty()).collect();
    segments.pop_if(|last| *last == "register");
    let end = segments.split_off(segments.len().saturating_sub(2));
    matches!(end[..], [app, "cxn"] if app == app_id.short() || app == app_id.as_str())
}

/// The fields that sites want of an app, and that its metadata lacks. Those of [`metadata_document`] do not count.
fn missing_fields(metadata: &Value) -> Vec<&'static str> {
    let (title, perm) = (&metadata["title"], &metadata["perm"]);
    let fields = [
        ("title", title.as_str().is_some_and(|title| !title.is_empty())),
        ("perm.api", perm["api"].is_array() || perm["api"].is_object()),
        ("perm.grant", !perm["grant"].is_null()),
    ];
    fields.into_iter().filter(|(_, is_there)| !is_there).map(|(field, _)| field).collect()
}

#[cfg(test)]
mod tests {
    use super::RegistrationDefect as D;
    use super::*;
    use crate::protocol::{certificate_request, json, self_signed};

    fn vectors() -> Value {
        json::read_kept(include_bytes!("../../fixtures/registration-vectors.json")).unwrap()
    }

    /// The app of the vectors, and its key.
    fn app() -> (AppMeta, AppKey) {
        let vectors = vectors();
        let name = vectors["metadata"]["app"].as_str().unwrap();
        let metadata: Value = serde_json::from_str(vectors["metadata"]["metadata_json"].as_str().unwrap()).unwrap();
        let app_cert = vectors["apps"][name]["appCert"].as_str().unwrap().to_owned();
        let metadata = metadata[name].clone();
        let key = AppKey::from_text(vectors["keys_json"].as_str().unwrap()).unwrap();
        (AppMeta { app_cert, metadata, ..AppMeta::bare(name.parse().unwrap()) }, key)
    }

    #[test]
    fn the_document_is_that_of_cxnapp() {
        let (mut app, _) = app();
        assert_eq!(metadata_document(&app), Err(MissingMetadata::AppUrl));
        let expected: Value = serde_json::from_str(vectors()["metadata"]["json"].as_str().unwrap()).unwrap();
        app.metadata["appUrl"] = expected["appUrl"].clone();
        let document = metadata_document(&app).unwrap();
        assert_eq!(document.to_string(), expected.to_string());
        for url in ["", "ftp://a.example/", "https://", "https://a.example/ä", "https://a.example/ x", "*PLACEHOLDER*"]
        {
            app.metadata["appUrl"] = json!(url);
            assert_eq!(metadata_document(&app), Err(MissingMetadata::AppUrl), "{url}");
        }
        let bare = AppMeta { metadata: Value::Null, ..app.clone() };
        assert_eq!(metadata_document(&bare), Err(MissingMetadata::AppUrl));
        assert_eq!(metadata_document(&AppMeta { app_cert: "\n".into(), ..app }), Err(MissingMetadata::Certificate));
    }

    #[test]
    fn an_app_that_sites_accept_has_no_defects() {
        let (mut app, key) = app();
        let defects = |app: &AppMeta| Config::default().registration_defects(app, Some(&key));
        for end in ["app:org.example.poll/cxn", "org.example.poll/cxn/register", "app:org.example.poll/cxn/register/"] {
            app.metadata["appUrl"] = json!(format!("https://app.example.org/a/{end}"));
            assert_eq!(defects(&app), []);
        }
        assert_eq!(Config::default().registration_defects(&app, None), [D::NoKey]);
        for end in ["", "cxn", "app:org.example.other/cxn", "org.example.poll/cxn/metadata.json", "org.example.poll"] {
            app.metadata["appUrl"] = json!(format!("https://app.example.org/{end}"));
            assert_eq!(defects(&app), [D::OtherPath], "{end}");
        }
    }

    #[test]
    fn each_defect_is_found() {
        let (mut app, key) = app();
        app.metadata["appUrl"] = json!("https://app.example.org/org.example.poll/cxn");
        let good = app.clone();
        app.metadata["perm"] = json!({"api": "x", "grant": null});
        app.metadata["title"] = json!("");
        let defects = |app: &AppMeta| Config::default().registration_defects(app, Some(&key));
        assert_eq!(defects(&app), [D::Fields(vec!["title", "perm.api", "perm.grant"])]);
        app = good.clone();
        app.app_cert.clear();
        assert_eq!(defects(&app), [D::NoDocument(MissingMetadata::Certificate)]);
        app.app_cert = include_str!("../../fixtures/app.crt").to_owned();
        assert_eq!(defects(&app), [D::NoRsa2048, D::OtherKey, D::NoKeyEncipherment]);
        let vectors = vectors();
        let other = vectors["apps"].as_object().unwrap().values().find(|app| app["appCert"] != good.app_cert.as_str());
        app.app_cert = other.unwrap()["appCert"].as_str().unwrap().to_owned();
        assert_eq!(defects(&app), [D::OtherKey]);
        app = AppMeta { app_id: "app:org.example-poll".parse().unwrap(), ..good };
        app.metadata["appUrl"] = json!("https://app.example.org/org.example-poll/cxn");
        assert_eq!(defects(&app), [D::AppId]);
        let links = "[apps.\"org.example-poll\".links]\na = 'https://a.example/'";
        let config = Config::parse(links, std::path::Path::new("")).unwrap();
        assert_eq!(config.registration_defects(&app, Some(&key)), [D::AppId, D::NoLinkSecret]);
    }

    #[test]
    fn a_certificate_that_is_self_signed_has_no_defects() {
        let (mut app, key) = app();
        app.metadata["appUrl"] = json!("https://app.example.org/org.example.poll/cxn");
        let now = 1_798_761_600;
        app.app_cert = self_signed(&key, &app.app_id, "Exämple, Inc.", now).unwrap();
        let config = Config::default();
        assert_eq!(config.registration_defects(&app, Some(&key)), []);
        assert_eq!(config.certificate_problems(&app, now), []);
        assert!(!config.certificate_problems(&app, now - 1).is_empty());
        assert!(!config.certificate_problems(&app, now + 366 * 86_400).is_empty());
        let request = certificate_request(&key, &app.app_id, "Example").unwrap();
        assert!(request.starts_with("-----BEGIN CERTIFICATE REQUEST-----\n"), "{request}");
    }
}
