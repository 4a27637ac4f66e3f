//! The certificates of the authorities that this machine trusts.

use std::env;
use std::io;
use std::path::PathBuf;

use openssl_probe::{ENV_CERT_DIR, ENV_CERT_FILE, probe};
use rustls::RootCertStore;
use rustls_native_certs::{Error, ErrorKind, load_native_certs};

use super::shortage::shortage;
use crate::model::{Failure, Fault};
use crate::util::text::system_text;

/// Reads the certificates of this machine's authorities.
///
/// # Errors
/// Class `local` if it has none that can be used, or cannot open files.
pub(super) fn read() -> Result<RootCertStore, Failure> {
    let found = load_native_certs();
    // What is missing for now must not make sites fail that those certificates would verify.
    if let Some(failure) = io_errors(&found.errors).find_map(|(error, _)| shortage(error)) {
        return Err(failure);
    }
    // A certificate that cannot be read is left out.
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() { Err(missing(&found.errors)) } else { Ok(roots) }
}

/// Checks that this machine has certificates of authorities.
///
/// # Errors
/// Class `local` if it has none that can be used.
pub fn check() -> Result<(), Failure> {
    read().map(drop)
}

/// The failure of a machine without certificates. It names the files and directories that were read.
fn missing(errors: &[Error]) -> Failure {
    let mut places: Vec<PathBuf> = env::var_os(ENV_CERT_FILE).map(PathBuf::from).into_iter().collect();
    places.extend(env::var_os(ENV_CERT_DIR).iter().flat_map(env::split_paths));
    let mut remedy = "install ca-certificates, or correct SSL_CERT_FILE and SSL_CERT_DIR";
    if places.is_empty() {
        let usual = probe();
        places.extend(usual.cert_file.into_iter().chain(usual.cert_dir));
        remedy = "install ca-certificates";
    }
    let place = |place: &PathBuf| {
        let reason = io_errors(errors).find(|(_, path)| *path == place);
        let reason = reason.map_or_else(String::new, |(error, _)| format!(" ({})", system_text(error)));
        format!("{}{reason}", place.display())
    };
    let places = places.iter().map(place).collect::<Vec<_>>().join(", ");
    let places = if places.is_empty() { "any of the usual places".to_owned() } else { places };
    Failure::local(Fault::Authorities, format!("no CA certificates in {places}: {remedy}"))
}

/// The errors of the system, each with the file or directory.
fn io_errors(errors: &[Error]) -> impl Iterator<Item = (&io::Error, &PathBuf)> {
    errors.iter().filter_map(|error| match &error.kind {
        ErrorKind::Io { inner, path } => Some((inner, path)),
        _ => None,
    })
}
