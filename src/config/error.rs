//! What can be wrong with the configuration, with the data that a message needs.

use std::io;
use std::path::PathBuf;

use super::origin::Origin;
use crate::model::{AppId, UnixTime};
use crate::protocol::InvalidAppKey;
use crate::util::encryption::InvalidRecipient;
use crate::util::file_error::FileError;
use crate::util::home::InvalidTilde;

/// An error of the configuration.
#[derive(Debug)]
pub enum Error {
    /// The configuration file that was named does not exist.
    NoFile {
        /// The file.
        path: PathBuf,
    },
    /// A file of the configuration or of an app cannot be read.
    File(FileError),
    /// The configuration file is not valid TOML, or has a key or a value that is not known.
    Toml {
        /// The file.
        path: PathBuf,
        /// What is wrong, and in which line.
        source: toml::de::Error,
    },
    /// No store is named, and the user has no home directory for one.
    NoHome,
    /// An environment variable has a path that begins with `~` and cannot be used.
    InvalidTilde {
        /// The variable.
        variable: &'static str,
        /// Why not.
        source: InvalidTilde,
    },
    /// The heartbeat URL of this origin is not an http or https URL. It may hold a key, so it is left out.
    InvalidHeartbeat(Origin),
    /// An app's `metadata.json` is not JSON.
    MetadataJson {
        /// The file.
        path: PathBuf,
        /// What is wrong, and in which line.
        source: serde_json::Error,
    },
    /// An app's `metadata.json` has no object for the app.
    NoMetadata {
        /// The file.
        path: PathBuf,
        /// The app.
        app_id: AppId,
    },
    /// A file that is for sites holds a private key.
    KeyIsPublic {
        /// The file.
        path: PathBuf,
    },
    /// The certificate that `app-cert` names does not exist.
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// `ca-file` cannot be read.
    UnreadableAuthorities {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// `--recipient`, or a line of `recipients-file`, is no recipient of age. It may be a private key, so it is left out.
    InvalidRecipient {
        /// The file and the line, from 1; `None` for the option.
        place: Option<(PathBuf, usize)>,
        /// Why not.
        problem: InvalidRecipient,
    },
    /// `recipients-file` holds no recipient.
    NoRecipients {
        /// The file.
        path: PathBuf,
    },
    /// A file with a key or a secret cannot be used. Its text is left out.
    PrivateFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        problem: PrivateFileProblem,
    },
    /// `ca-file` holds no certificate.
    NoAuthorities {
        /// The file.
        path: PathBuf,
    },
}

/// Why a file with a key or a secret cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrivateFileProblem {
    /// It does not exist.
    Missing,
    /// Other users can read it or write to it.
    Shared {
        /// Its mode.
        mode: u32,
    },
    /// It belongs to a user that is neither this one nor root.
    Foreign {
        /// The number of that user.
        owner: u32,
    },
    /// It is too long for what it should be.
    TooLong,
    /// It is not text.
    NotUtf8,
    /// It has no text.
    Empty,
    /// It holds no key of an app.
    NoKey(InvalidAppKey),
}

/// The result of reading the configuration.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

/// Something that is wrong with the certificate of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateProblem {
    /// The app.
    pub app_id: AppId,
    /// What is wrong.
    pub defect: CertificateDefect,
}

/// What can be wrong with a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateDefect {
    /// Its file is blank.
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It is not X.509 in PEM.
    Unreadable,
    /// It is not valid yet.
    NotYetValid {
        /// Its first second.
        from: UnixTime,
    },
    /// It is not valid any more.
    Expired {
        /// Its last second.
        until: UnixTime,
    },
    /// It expires within [`super::EXPIRY_WARNING_DAYS`] days.
    ExpiresSoon {
        /// Its last second.
        until: UnixTime,
        /// Whole days until then.
        days: i64,
    },
    /// Its subject is not the app.
    OtherApp {
        /// The common name of its subject, as it is in the certificate; `None` if it has none.
        common_name: Option<String>,
    },
}

/// What sites need to register with an app, and it lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingMetadata {
    /// Its certificate.
    Certificate,
    /// A certificate in X.509 and PEM, in place of which there is another text.
    UnreadableCertificate,
    /// Its URL, of http or https.
    AppUrl,
}

/// What keeps sites from registering with an app, or from reading its links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistrationDefect {
    /// It has no private key.
    NoKey,
    /// Its metadata is not served.
    NoDocument(MissingMetadata),
    /// Its URL does not end as that of its endpoint.
    OtherPath,
    /// The key of its certificate is not RSA with 2048 bits.
    NoRsa2048,
    /// The key of its certificate is another one than its private key.
    OtherKey,
    /// Its certificate is not for enciphering keys.
    NoKeyEncipherment,
    /// Sites accept no such app id.
    AppId,
    /// Its metadata lacks fields that sites want.
    Fields(Vec<&'static str>),
    /// It has links, and no secret to sign them with.
    NoLinkSecret,
}

impl RegistrationDefect {
    /// Whether it makes requests fail. Others only concern some sites, or are as some operators want it.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::OtherKey | Self::NoLinkSecret)
    }
}
