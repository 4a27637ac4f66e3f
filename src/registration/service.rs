//! What requests are answered with, and what an answer is.

use super::error::{Error, Result};
use super::reply::Reply;
use crate::config::Config;
use crate::listener::Listeners;
use crate::model::CxnId;
use crate::store::Store;

/// What requests are answered with.
pub struct Service<'a> {
    /// The apps, their keys, and the limits.
    pub config: &'a Config,
    /// The listeners of registrations, among others.
    pub listeners: &'a Listeners,
    /// Opens the store. It is not called for a request that needs none.
    pub open_store: &'a dyn Fn() -> Result<Store>,
}

/// What a request is answered with.
#[derive(Debug)]
pub struct Answer {
    /// What the client gets.
    pub reply: Reply,
    /// What the log gets.
    pub note: Note,
    /// What the administrator gets; `None` if nothing is wrong on this side.
    pub fault: Option<Error>,
}

/// What may be logged of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Note {
    /// What became of it. It holds no value of the request.
    pub outcome: String,
    /// The connection, once the signature was right.
    pub cxn_id: Option<CxnId>,
    /// The host of its site, if it registers.
    pub host: Option<String>,
}
