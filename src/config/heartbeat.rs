//! The URL that is called after successful runs.

use std::fmt;

use serde::Deserialize;

/// The environment variable that holds the heartbeat URL.
pub(crate) const HEARTBEAT_VARIABLE: &str = "CXNPOLL_HEARTBEAT";

/// A heartbeat URL, valid or not. It may hold a key, so its debug output leaves it out.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct HeartbeatUrl(pub String);

impl fmt::Debug for HeartbeatUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeartbeatUrl(…)")
    }
}
