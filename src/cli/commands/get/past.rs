//! Since when connections fail, and how available they were in the last 30 days.

use std::collections::HashMap;

use crate::cli::context::Context;
use crate::cli::cxn_arg::CxnArg;
use crate::cli::error::Result;
use crate::cli::selection::Filter;
use crate::model::{CxnId, JobName, UnixTime};
use crate::report::{RECENT_S, SiteReport, Times};
use crate::store::{CxnHash, Store};

/// What history has of connections, by connection and job.
pub(super) struct Pasts(HashMap<(CxnHash, JobName), Past>);

/// What history has of a connection for a job.
pub(super) struct Past {
    /// Since when it fails; `None` if it does not.
    pub(super) failing_since: Option<UnixTime>,
    /// The last 30 days.
    pub(super) times: Times,
}

impl Pasts {
    /// Reads history for the connections of a filter. With `all`, incidents have their true start, which takes longer.
    ///
    /// # Errors
    /// Those of [`Filter::collector`].
    pub(super) fn read(context: &Context, store: &Store, filter: &Filter, named: &[CxnArg], all: bool) -> Result<Self> {
        let from = filter.now(context).saturating_sub(RECENT_S);
        let collector = filter.collector(context, store, named, from)?;
        let history = store.history();
        let ledger = if all { collector.read(&history)? } else { collector.read_recent(&history)? };
        let past = |site: SiteReport| {
            let past = Past { failing_since: site.failing_since(), times: site.times };
            ((CxnHash::from(&site.cxn_id), site.job), past)
        };
        Ok(Self(ledger.sites().map(past).collect()))
    }

    /// That of a connection for a job; `None` if it was added meanwhile.
    pub(super) fn of(&self, cxn_id: &CxnId, job: &JobName) -> Option<&Past> {
        self.0.get(&(CxnHash::from(cxn_id), job.clone()))
    }
}

impl Past {
    /// The availability for sorting; `None` if nothing is known.
    pub(super) fn billionths(&self) -> Option<i64> {
        let (up, known) = (u128::from(self.times.up_s), u128::from(self.times.up_s) + u128::from(self.times.down_s));
        i64::try_from((up * 1_000_000_000).checked_div(known)?).ok()
    }
}
