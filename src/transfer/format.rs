//! The formats of files with connections.

/// A format of a file with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line.
    Jsonl,
    /// `{cxnId: {…}}`, as the file store of cxnapp has it.
    Json,
    /// Comma-separated values with a header.
    Csv,
    /// Tab-separated values with headers, as `mysql -B` prints the tables `Cxn` and `PollStatus` of cxnapp.
    Tsv,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::Jsonl, Self::Json, Self::Csv, Self::Tsv];

    /// The name of the format, which is also the extension of its files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Tsv => "tsv",
        }
    }

    /// The format whose files have an extension, in any case; `None` if there is none.
    #[must_use]
    pub fn from_extension(extension: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name().eq_ignore_ascii_case(extension))
    }
}

/// The longest record that is read, in bytes, far above what any connection needs.
pub const MAX_RECORD_BYTES: usize = 32 << 20;

/// What may separate the fields of a table.
pub const SEPARATORS: [u8; 3] = [b',', b';', b'\t'];

/// The field of a table that stands for no value.
pub const NULL: &str = "NULL";

/// How many of the first [`KEYS`] are required.
pub const REQUIRED_KEYS: usize = 5;

/// The keys of a connection, the required ones first.
pub const KEYS: [&str; 10] =
    ["cxnId", "secret", "appId", "appUrl", "siteUrl", "perm", "viaPort", "batchCode", "disabled", "pollStatus"];
