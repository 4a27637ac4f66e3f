//! The names that a session looks up repeatedly.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::keys::{AppNo, JobNo};
use crate::model::{AppId, JobName};

/// Names and shared values by their numbers, as far as a session has read them.
#[derive(Debug, Default)]
pub struct NameCache {
    /// The appIds.
    pub(super) apps: HashMap<AppNo, AppId>,
    /// The jobs of each app.
    pub(super) jobs: HashMap<AppNo, Arc<[(JobNo, JobName)]>>,
    /// What connections share.
    pub(super) shared: HashMap<u32, Shared>,
}

/// What connections share, decoded.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The appUrl.
    pub app_url: Arc<str>,
    /// The perm.
    pub perm: Arc<Value>,
}
