//! Since when a connection fails, and how available it was in the last 30 days.

use serde_json::{Map, Value, json};

use crate::cli::availability::{incidents_json, last_30_days_json};
use crate::cli::error::Result;
use crate::cli::ui::{days, time};
use crate::model::{Cxn, PollStatus, UnixTime};
use crate::report::{SiteReport, Slice, of_connection};
use crate::retry::Policy;
use crate::store::{History, Job};
use crate::util::text::count;

/// What history and the kept attempts show of a connection.
pub(super) struct Recent {
    site: SiteReport,
    days: Vec<Slice>,
    /// Whether the present incident may have begun earlier, before what history and the attempts show.
    may_be_older: bool,
}

impl Recent {
    /// Reads history; `None` if there is nothing about the connection.
    ///
    /// # Errors
    /// History cannot be read.
    pub(super) fn read(
        history: &History,
        now: UnixTime,
        cxn: &Cxn,
        of: (&Job, &Policy, &PollStatus),
    ) -> Result<Option<Self>> {
        let ledger = of_connection(history, now, cxn, &[of])?;
        let report = ledger.report(0);
        let (Some(site), Some(job)) = (ledger.sites().next(), report.jobs.into_iter().next()) else { return Ok(None) };
        let since = site.failing_since();
        let is_certain = |since| {
            let succeeded = of.2.attempts.iter().any(|attempt| attempt.class.is_none() && attempt.at < since);
            succeeded || report.began.is_some_and(|began| began < since)
        };
        Ok(Some(Self { may_be_older: since.is_some_and(|since| !is_certain(since)), site, days: job.slices }))
    }

    /// `Failing since 2026-01-31 12:00:00Z (3 d ago).`
    pub(super) fn failing(&self, now: UnixTime) -> Option<String> {
        let since = self.site.failing_since()?;
        let or_longer = if self.may_be_older { ", or longer" } else { "" };
        Some(format!("Failing since {} ({}){or_longer}.", time::utc(since), time::relative(since, now)))
    }

    /// The availability as a number and a bar of days; nothing if it is not known.
    pub(super) fn availability(&self) -> Vec<String> {
        let Some(percent) = self.site.times.percent() else { return Vec::new() };
        let incidents = count(self.site.incidents.len() as u64, "incident");
        vec![
            format!("Up {percent} of the known time of the last 30 days, with {incidents}:"),
            format!("  {}  (a mark for each day)", days::bar(&self.days)),
        ]
    }

    /// The keys for scripts; `last30Days` is null if nothing is known of that time.
    pub(super) fn json(recent: Option<&Self>) -> Map<String, Value> {
        let last =
            recent.map(|Self { site, .. }| last_30_days_json(&site.times, Some(incidents_json(&site.incidents))));
        let since = recent.and_then(|recent| recent.site.failing_since());
        [("failingSince".to_owned(), json!(since)), ("last30Days".to_owned(), json!(last))].into_iter().collect()
    }
}
