//! The host and port that a connection is reached through.

/// `host:port` to connect to in place of the site's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViaPort(String);

/// Why text is not a [`ViaPort`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("viaPort is not host:port")]
pub struct InvalidViaPort;
