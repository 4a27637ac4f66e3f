//! The connections of simulated sites.

use civisite::Site;
use cxnpoll::model::{CxnId, Secret};
use cxnpoll::store::{CxnPatch, FieldPatch};

use super::common::Result;

/// Returns the connection of a simulated site, without a poll status.
pub fn cxn_of(site: &Site) -> Result<CxnPatch> {
    Ok(CxnPatch {
        cxn_id: site.cxn_id.parse::<CxnId>()?,
        secret: Secret::from_bytes(site.secret()),
        app_id: site.app_id.parse()?,
        app_url: site.app_url.clone(),
        site_url: site.site_url.clone().into(),
        perm: FieldPatch::Keep,
        via_port: FieldPatch::Keep,
        batch_code: None,
        disabled: FieldPatch::Keep,
        poll_status: Vec::new(),
    })
}
