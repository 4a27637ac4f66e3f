//! The connections of the comparison, as the store and as SQLite get them.

use cxnpoll::model::{JobName, PollStatus, Secret};
use cxnpoll::store::{CxnPatch, FieldPatch};
use cxnpoll_sqlite::Row;

use crate::common::{APP, HOUR, MIDNIGHT, Result};
use crate::outcomes::healthy;

/// The size of a poll status in the store with ten attempts and a last success.
const HISTORY_BYTES: usize = 70;

/// Returns the connection with this number, as the store imports it.
pub fn cxn(number: u32) -> Result<CxnPatch> {
    let status = last_run(number).map_or_else(PollStatus::default, healthy);
    Ok(CxnPatch {
        cxn_id: cxn_id(number).parse()?,
        secret: Secret::from_bytes(secret(number)),
        app_id: APP.parse()?,
        app_url: "https://myapp.example.org/cxn".to_owned(),
        site_url: site_url(number).into(),
        perm: FieldPatch::Keep,
        via_port: FieldPatch::Keep,
        batch_code: Some(batch_code(number).try_into()?),
        disabled: FieldPatch::Keep,
        poll_status: vec![(JobName::default(), status)],
    })
}

/// Returns the connection with this number, as SQLite imports it.
pub fn row(number: u32) -> Row {
    let last_run = last_run(number);
    Row {
        number: number.into(),
        cxn_id: cxn_id(number),
        batch_code: batch_code(number),
        secret: secret(number),
        site_url: site_url(number),
        level: 0,
        count: 0,
        last_run: last_run.unwrap_or_default(),
        history: last_run.map(|_| vec![7; HISTORY_BYTES]).unwrap_or_default(),
    }
}

/// Returns when the site was last polled; `None` if it is new.
fn last_run(number: u32) -> Option<i64> {
    match number % 100 {
        0 => Some(MIDNIGHT),
        1 => None,
        _ => Some(MIDNIGHT + HOUR / 2),
    }
}

/// Returns a batch code. A multiplicative hash keeps those of neighbours apart, as random codes are.
fn batch_code(number: u32) -> u16 {
    u16::try_from(u64::from(number) * 2_654_435_761 % 10_001).expect("at most 10000")
}

fn cxn_id(number: u32) -> String {
    format!("cxn:{:016x}{number:016x}", u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn secret(number: u32) -> [u8; 32] {
    let mut secret = [0; 32];
    secret[..4].copy_from_slice(&number.to_be_bytes());
    secret
}

fn site_url(number: u32) -> String {
    format!("https://site-{number}.example.org/civicrm/cxn/api")
}
