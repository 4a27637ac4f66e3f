//! The URL that is called after successful runs.

use std::env;

use super::error::{Error, HeartbeatOrigin, Result};
use super::file::Config;
use crate::site::Endpoint;

/// The environment variable that holds the heartbeat URL.
pub(crate) const HEARTBEAT_VARIABLE: &str = "CXNPOLL_HEARTBEAT";

impl Config {
    /// The heartbeat URL and its origin; `None` if there is none.
    ///
    /// That is the one that is named, or else `CXNPOLL_HEARTBEAT`, or the configuration's.
    ///
    /// # Errors
    /// [`Error::InvalidHeartbeat`] if it is not an http or https URL.
    pub fn heartbeat(&self, named: Option<&str>) -> Result<Option<(String, HeartbeatOrigin)>> {
        let variable = || env::var_os(HEARTBEAT_VARIABLE).filter(|value| !value.is_empty());
        let found = named
            .map(|url| (url.to_owned(), HeartbeatOrigin::Option))
            .or_else(|| variable().map(|url| (url.to_string_lossy().into_owned(), HeartbeatOrigin::Variable)))
            .or_else(|| self.heartbeat.clone().map(|url| (url, HeartbeatOrigin::File)));
        match found {
            Some((url, origin)) if Endpoint::new(&url, None).is_err() => Err(Error::InvalidHeartbeat(origin)),
            found => Ok(found),
        }
    }
}
