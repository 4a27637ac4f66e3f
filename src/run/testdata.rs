//! Tasks for the unit tests of a run.

use std::sync::Arc;

use crate::model::{BatchCode, Cxn, PollStatus, Secret};
use crate::store::{CxnLocator, HostHash, PollTask};

/// A connection that was never polled, with a sequence number, on a host.
pub(super) fn task(seq: u64, host: HostHash) -> PollTask {
    PollTask {
        locator: CxnLocator { batch_code: BatchCode::MIN, seq },
        host,
        due: 0,
        permille_late: 0,
        cxn: Cxn {
            cxn_id: format!("cxn:{seq}").parse().unwrap(),
            secret: Secret::from_bytes([0; 32]),
            app_id: "app:org.example.myapp".parse().unwrap(),
            app_url: "https://app.example.org/".into(),
            site_url: format!("https://host{host}.example.org/{seq}").into(),
            perm: Arc::default(),
            via_port: None,
            batch_code: BatchCode::MIN,
            disabled: false,
        },
        status: PollStatus::default(),
    }
}
