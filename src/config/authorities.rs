//! Certificates of authorities that are trusted in addition to those of the platform.

use std::fs;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::error::{Error, Result};
use super::file::Config;
use crate::util::text::BYTE_ORDER_MARK;

impl Config {
    /// Reads the certificates of `ca-file`, in DER; empty if no file is named.
    ///
    /// # Errors
    /// Fails if the file cannot be read or holds no certificate.
    pub fn authorities(&self) -> Result<Vec<Vec<u8>>> {
        let Some(path) = &self.ca_file else { return Ok(Vec::new()) };
        let pem = fs::read(path).map_err(|source| Error::UnreadableAuthorities { path: path.clone(), source })?;
        // Bundles hold comments, and certificates that no library reads. Both are skipped.
        let pem = pem.strip_prefix(BYTE_ORDER_MARK.as_bytes()).unwrap_or(&pem);
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .filter_map(|certificate| certificate.ok().map(|der| der.to_vec()))
            .filter(|der| Certificate::from_der(der).is_ok())
            .collect();
        if certificates.is_empty() {
            return Err(Error::NoAuthorities { path: path.clone() });
        }
        Ok(certificates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_in_a_bundle_are_skipped_and_an_empty_bundle_is_an_error() {
        assert!(Config::default().authorities().unwrap().is_empty());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let config = Config { ca_file: Some(path.clone()), ..Config::default() };
        assert!(matches!(config.authorities(), Err(Error::UnreadableAuthorities { .. })));
        fs::write(&path, "# no certificate\n").unwrap();
        assert!(matches!(config.authorities(), Err(Error::NoAuthorities { .. })));
        let good = include_str!("../../fixtures/app.crt");
        fs::write(&path, format!("# two of them\n{good}\n# and again\n{good}")).unwrap();
        assert_eq!(config.authorities().unwrap().len(), 2);
        fs::write(&path, format!("\u{feff}{}", good.replace('\n', "\r\n"))).unwrap();
        assert_eq!(config.authorities().unwrap().len(), 1);
    }
}
