//! What the benches share: connections to simulated sites.

use std::error::Error;

use civisite::Site;
use cxnpoll::model::{CxnId, Secret};
use cxnpoll::store::{CxnLine, Store};

/// 2026-01-01T00:00:00Z
pub const MIDNIGHT: i64 = 1_767_225_600;
/// The app of simulated sites.
pub const APP: &str = "app:org.example.myapp";

pub type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// How many connections are written in one session, as an import does it.
const SLICE: usize = 4096;

/// Puts connections into a store.
pub fn put(store: &Store, lines: &[CxnLine]) -> Result<()> {
    for slice in lines.chunks(SLICE) {
        store.session(|session| session.put(slice, false))?;
    }
    Ok(())
}

/// A simulated site's connection, with no status yet.
pub fn line(site: &Site) -> Result<CxnLine> {
    Ok(CxnLine {
        cxn_id: site.cxn_id.parse::<CxnId>()?,
        secret: Secret::from_bytes(site.secret()),
        app_id: site.app_id.parse()?,
        app_url: site.app_url.clone(),
        site_url: site.site_url.clone(),
        perm: None,
        via_port: None,
        batch_code: None,
        disabled: None,
        poll_status: Vec::new(),
    })
}
