//! Requests for the certificate of an app, and certificates for development sites.

use std::time::Duration;

use rsa::pkcs1v15::SigningKey;
use sha2::Sha256;
use x509_cert::TbsCertificate;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{self, Builder, CertificateBuilder};
use x509_cert::der::asn1::Utf8StringRef;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::oid::db::rfc4519::{COMMON_NAME, ORGANIZATION_NAME};
use x509_cert::der::pem::LineEnding;
use x509_cert::der::{self, Decode, Encode, EncodePem};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{KeyUsage, KeyUsages};
use x509_cert::name::{Name, RdnSequence};
use x509_cert::request::RequestBuilder;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{SubjectPublicKeyInfo, SubjectPublicKeyInfoRef};
use x509_cert::time::Validity;

use super::app_key::AppKey;
use crate::model::{AppId, UnixTime};

/// How long a certificate for development sites is valid. Those of civicrm.org have the same time.
const VALIDITY: Duration = Duration::from_secs(365 * 86_400);

/// The request for a certificate of an app, PKCS#10 in PEM.
///
/// Its subject is the organization and the app id, and its key usage keyEncipherment.
///
/// # Errors
/// The organization has no encoding, or the system has no random numbers.
pub fn certificate_request(key: &AppKey, app_id: &AppId, organization: &str) -> builder::Result<String> {
    let mut request = RequestBuilder::new(subject(app_id, organization)?)?;
    request.add_extension(&usage())?;
    Ok(request.build(&signer(key))?.to_pem(LineEnding::LF)?)
}

/// A certificate of an app that it signs itself, X.509 in PEM, for sites that check none.
///
/// # Errors
/// Those of [`certificate_request`]; the year is after 9999.
pub fn self_signed(key: &AppKey, app_id: &AppId, organization: &str, now: UnixTime) -> builder::Result<String> {
    let since = Duration::from_secs(u64::try_from(now).unwrap_or_default());
    let time = |since| der::DateTime::from_unix_duration(since).map(Into::into);
    let validity = Validity::new(time(since)?, time(since + VALIDITY)?);
    let serial_number = SerialNumber::from(since.as_secs());
    let public = SubjectPublicKeyInfo::from_der(&key.public_der())?;
    let profile = SelfSigned(subject(app_id, organization)?);
    let mut certificate = CertificateBuilder::new(profile, serial_number, validity, public)?;
    certificate.add_extension(&usage())?;
    Ok(certificate.build(&signer(key))?.to_pem(LineEnding::LF)?)
}

/// A certificate whose issuer is its subject.
struct SelfSigned(Name);

impl BuilderProfile for SelfSigned {
    fn get_issuer(&self, subject: &Name) -> Name {
        subject.clone()
    }

    fn get_subject(&self) -> Name {
        self.0.clone()
    }

    fn build_extensions(
        &self,
        _: SubjectPublicKeyInfoRef<'_>,
        _: SubjectPublicKeyInfoRef<'_>,
        _: &TbsCertificate,
    ) -> builder::Result<Vec<Extension>> {
        Ok(Vec::new())
    }
}

fn signer(key: &AppKey) -> SigningKey<Sha256> {
    SigningKey::new(key.private().clone())
}

fn usage() -> KeyUsage {
    KeyUsage(KeyUsages::KeyEncipherment.into())
}

/// The subject of an app: `O=organization, CN=appId`.
fn subject(app_id: &AppId, organization: &str) -> der::Result<Name> {
    let mut names = RdnSequence::default();
    for (oid, value) in [(ORGANIZATION_NAME, organization), (COMMON_NAME, app_id.as_str())] {
        names.push(attribute(oid, value)?.try_into()?);
    }
    Name::from_der(&names.to_der()?)
}

fn attribute(oid: ObjectIdentifier, value: &str) -> der::Result<Vec<AttributeTypeAndValue>> {
    Ok(vec![AttributeTypeAndValue { oid, value: Utf8StringRef::new(value)?.into() }])
}
