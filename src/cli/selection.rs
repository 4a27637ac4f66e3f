//! The connections that a command is about: named, or selected by a filter.

use std::collections::{BTreeMap, HashMap, HashSet};

use clap::Args;
use serde_json::{Value, json};
use wildmatch::WildMatchPattern;

use super::context::{Context, ScheduleArgs};
use super::cxn_arg::CxnArg;
use super::error::{Error, Result};
use super::named;
use super::values::{self, Since};
use crate::model::{AppId, Cxn, CxnId, FailureClass, JobName, PollStatus, UnixTime};
use crate::report::Collector;
use crate::retry::{Period, Policy, State};
use crate::store::{self, AppNo, CxnHash, CxnKey, Job, JobNo, ReadSession, Statuses, Store};
use crate::util::text::sanitize;

/// The conditions of a filter; a connection must meet all of them.
#[derive(Args, Default)]
pub(in crate::cli) struct Filter {
    /// Select connections of this app
    #[arg(long, value_name = "APP", value_parser = values::app, help_heading = "Which connections")]
    app: Option<AppId>,
    /// Apply --state, --failure, --older-than and --failing-since to this job [default: any]
    #[arg(long, value_name = "J", value_parser = values::job, help_heading = "Which connections")]
    name: Option<JobName>,
    /// Select by state; several are separated by commas
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = named::states(), help_heading = "Which connections")]
    state: Vec<State>,
    /// Select by the failure class of the last poll; several are separated by commas
    #[arg(long, value_name = "CLASS", value_delimiter = ',', value_parser = named::classes(), help_heading = "Which connections")]
    failure: Vec<FailureClass>,
    /// Select by host: a name, an address, or a pattern such as *.example.org
    #[arg(long, value_name = "HOST", value_parser = pattern, help_heading = "Which connections")]
    host: Option<Pattern>,
    /// Select by siteUrl; * matches anything
    #[arg(long, value_name = "PATTERN", value_parser = pattern, help_heading = "Which connections")]
    url: Option<Pattern>,
    /// Select connections that were last polled longer ago than this: 90d, 36h, '6 month'
    #[arg(long, value_name = "AGE", value_parser = values::age, help_heading = "Which connections")]
    older_than: Option<Period>,
    /// Select connections whose polls have all failed for so long, such as 7d, or since a time in RFC 3339. Reads history
    #[arg(long, value_name = "TIME", value_parser = values::since, help_heading = "Which connections")]
    failing_since: Option<Since>,
    #[command(flatten)]
    schedule: ScheduleArgs,
}

/// What the conditions are checked with.
struct Criteria {
    now: UnixTime,
    /// The jobs of the wanted name and app, by app.
    jobs: BTreeMap<AppNo, Vec<(AppId, Job, Policy)>>,
    /// The connections and jobs that have failed for long enough; `None` without that condition.
    failing: Option<HashSet<(CxnHash, JobName)>>,
}

/// A pattern in lower case: `*` matches anything. `?` matches itself, because URLs contain it.
type Pattern = WildMatchPattern<'*', '\0'>;

/// A connection that passed a filter.
pub(in crate::cli) struct Match {
    pub(in crate::cli) key: CxnKey,
    pub(in crate::cli) cxn: Cxn,
    /// The jobs of its app for which the conditions hold.
    pub(in crate::cli) jobs: Vec<JobState>,
}

/// The state of a connection for a job.
pub(in crate::cli) struct JobState {
    pub(in crate::cli) no: JobNo,
    pub(in crate::cli) name: JobName,
    pub(in crate::cli) state: State,
    /// When it is due next, or since when it is due. `None` is never.
    pub(in crate::cli) next_due: Option<UnixTime>,
}

impl JobState {
    /// The state, with the name of a job other than `default`: `nightly healthy`.
    pub(in crate::cli) fn text(&self) -> String {
        match self.name.as_str() {
            "default" => self.state.to_string(),
            _ => format!("{} {}", self.name, self.state),
        }
    }
}

impl Match {
    /// The states in those jobs: `given-up, nightly healthy`.
    pub(in crate::cli) fn states(&self) -> String {
        if self.cxn.disabled {
            return State::Disabled.to_string();
        }
        self.jobs.iter().map(JobState::text).collect::<Vec<_>>().join(", ")
    }
}

/// A connection on one line: id, app and site.
pub(in crate::cli) fn describe(cxn: &Cxn) -> String {
    format!("{}  {}  {}", cxn.cxn_id, cxn.app_id.short(), sanitize(&cxn.site_url.to_string()))
}

/// The last outcome of a connection as JSON; `null` if it was never polled.
pub(in crate::cli) fn last_outcome(status: &PollStatus) -> Value {
    let Some(last) = status.attempts.last() else { return Value::Null };
    json!({"at": last.at, "class": last.class_name(), "message": status.last_message()})
}

impl Filter {
    /// Whether there is no condition, so that every connection passes.
    pub(in crate::cli) fn is_empty(&self) -> bool {
        self.app.is_none() && self.name.is_none() && !self.selects_among_connections()
    }

    /// Whether connections are selected by more than their app.
    pub(in crate::cli) fn selects_among_connections(&self) -> bool {
        let Self { app: _, name: _, state, failure, host, url, older_than, failing_since, schedule: _ } = self;
        let has_pattern = host.is_some() || url.is_some();
        !state.is_empty() || !failure.is_empty() || has_pattern || older_than.is_some() || failing_since.is_some()
    }

    /// The filter of a command that has no conditions but these.
    pub(in crate::cli) fn of_jobs(app: Option<AppId>, name: Option<JobName>, schedule: ScheduleArgs) -> Self {
        Self { app, name, schedule, ..Self::default() }
    }

    /// The same filter, for connections of an app.
    pub(in crate::cli) fn of_app(self, app: Option<AppId>) -> Self {
        Self { app: app.or(self.app), ..self }
    }

    /// Calls `emit` for each connection that passes; if some are `named`, only for those.
    ///
    /// Returns those of `named` that cannot be read and were skipped.
    ///
    /// # Errors
    /// Those of `emit`; [`Error::UnknownApp`], [`Error::UnknownJob`] and [`Error::UnknownCxn`] for what the store does not
    /// have; [`Error::NotBefore`]; the store or history cannot be read.
    pub(in crate::cli) fn each<E: From<Error> + From<store::Error>>(
        &self,
        context: &Context,
        store: &Store,
        named: &[CxnArg],
        emit: impl FnMut(Match, Statuses) -> Result<(), E>,
    ) -> Result<Vec<(CxnId, CxnKey)>, E> {
        self.each_of(store, &self.criteria(context, store)?, named, emit)
    }

    fn each_of<E: From<Error> + From<store::Error>>(
        &self,
        store: &Store,
        criteria: &Criteria,
        named: &[CxnArg],
        mut emit: impl FnMut(Match, Statuses) -> Result<(), E>,
    ) -> Result<Vec<(CxnId, CxnKey)>, E> {
        let mut pass = |key: CxnKey, cxn: Cxn, statuses: Statuses| match self.passes(criteria, key.app, &cxn, &statuses)
        {
            Some(jobs) => emit(Match { key, cxn, jobs }, statuses),
            None => Ok(()),
        };
        if named.is_empty() {
            store.for_each_cxn(pass)?;
            return Ok(Vec::new());
        }
        let (mut seen, mut skipped) = (HashSet::new(), Vec::new());
        for name in named {
            let found = store.read(|session| {
                let Some((cxn_id, key)) = name.find(session)? else { return Ok(None) };
                Ok(Some((cxn_id, key, session.connection(key)?)))
            })?;
            let (cxn_id, key, found) = found.ok_or_else(|| name.unknown())?;
            // A connection that is named twice counts once.
            match (seen.insert(key), found) {
                (true, Some((cxn, statuses))) => pass(key, cxn, statuses)?,
                (true, None) => skipped.push((cxn_id, key)),
                (false, _) => {}
            }
        }
        Ok(skipped)
    }

    /// Begins a report about the connections that pass, since `from`.
    ///
    /// If some are `named`, it is only about those.
    ///
    /// # Errors
    /// Those of [`Filter::each`].
    pub(in crate::cli) fn collector(
        &self,
        context: &Context,
        store: &Store,
        named: &[CxnArg],
        from: UnixTime,
    ) -> Result<Collector> {
        self.collect(store, &self.criteria(context, store)?, named, from)
    }

    fn collect(&self, store: &Store, criteria: &Criteria, named: &[CxnArg], from: UnixTime) -> Result<Collector> {
        let is_selection = !named.is_empty() || self.selects_among_connections();
        let mut collector = Collector::new(&store.history(), from, criteria.now, is_selection)?;
        let jobs = criteria.jobs.values().flatten();
        let jobs: HashMap<_, _> = jobs
            .map(|(app_id, job, policy)| (job.no, collector.add_job(app_id.clone(), job, policy.clone())))
            .collect();
        if !is_selection {
            let about = store.read(ReadSession::cxn_count_upper_bound)?;
            collector.reserve(usize::try_from(about).unwrap_or(0));
        }
        let never_polled = PollStatus::default();
        let mut add = |cxn: &Cxn, found: &[JobState], statuses: &Statuses| {
            let status = |job| status_of(statuses, job).unwrap_or(&never_polled);
            collector.add(cxn, found.iter().filter_map(|job| Some((*jobs.get(&job.no)?, status(&job.name)))));
        };
        if named.is_empty() {
            store.count_cxns(|key, cxn, statuses| {
                if let Some(found) = self.passes(criteria, key.app, &cxn, &statuses) {
                    add(&cxn, &found, &statuses);
                }
            })?;
        } else {
            self.each_of(store, criteria, named, |found, statuses| {
                add(&found.cxn, &found.jobs, &statuses);
                Ok::<_, Error>(())
            })?;
        }
        Ok(collector)
    }

    /// The time for which states are computed.
    pub(in crate::cli) fn now(&self, context: &Context) -> UnixTime {
        self.schedule.clock.now(context)
    }

    /// The jobs of the wanted name and app, each with its app and policy.
    ///
    /// # Errors
    /// [`Error::UnknownJob`]; the store cannot be read.
    pub(in crate::cli) fn jobs_with_apps(&self, context: &Context, store: &Store) -> Result<Vec<(AppId, Job, Policy)>> {
        let mut jobs = Vec::new();
        for (app_id, job) in store.read(ReadSession::jobs_with_apps)? {
            if self.name.as_ref().is_none_or(|name| *name == job.name) {
                let policy = self.schedule.policy(&context.config, &app_id, &job.name, Some(&job))?;
                jobs.push((app_id, job, policy));
            }
        }
        if let Some(name) = self.name.as_ref().filter(|_| jobs.is_empty()) {
            return Err(Error::UnknownJob(name.clone()));
        }
        jobs.retain(|(app_id, ..)| self.app.as_ref().is_none_or(|app| app == app_id));
        Ok(jobs)
    }

    /// The time at which an option such as `--since` begins.
    ///
    /// # Errors
    /// [`Error::NotBefore`] if that is not before the current time of the filter.
    pub(in crate::cli) fn start(&self, context: &Context, option: &'static str, since: Since) -> Result<UnixTime> {
        let now = self.now(context);
        let at = since.before(now);
        if at < now { Ok(at) } else { Err(Error::NotBefore { option, at, now }) }
    }

    /// Reads what the conditions need.
    fn criteria(&self, context: &Context, store: &Store) -> Result<Criteria> {
        if let Some(app_id) = &self.app {
            context.app(store, app_id)?;
        }
        let mut jobs: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for job in self.jobs_with_apps(context, store)? {
            jobs.entry(job.1.app).or_default().push(job);
        }
        let mut criteria = Criteria { now: self.now(context), jobs, failing: None };
        if let Some(since) = self.failing_since {
            let since = self.start(context, "--failing-since", since)?;
            // The other conditions are met by all that is collected.
            let ledger = self.collect(store, &criteria, &[], since)?.read_recent(&store.history())?;
            let failing = ledger.sites().filter(|site| site.failing_since().is_some_and(|from| from <= since));
            criteria.failing = Some(failing.map(|site| (CxnHash::from(&site.cxn_id), site.job)).collect());
        }
        Ok(criteria)
    }

    /// The jobs for which the conditions hold; `None` if the connection does not pass.
    fn passes(
        &self,
        criteria: &Criteria,
        app: AppNo,
        cxn: &Cxn,
        statuses: &[(JobName, PollStatus)],
    ) -> Option<Vec<JobState>> {
        let now = criteria.now;
        let of_cxn = self.app.as_ref().is_none_or(|app| *app == cxn.app_id)
            && self.host.as_ref().is_none_or(|host| host.matches(cxn.host().trim_matches(['[', ']'])))
            && self.url.as_ref().is_none_or(|url| {
                // As it is shown, and as it is exported.
                let texts = [&cxn.site_url.to_string(), cxn.site_url.with_credentials()];
                texts.iter().any(|text| url.matches(&text.to_lowercase()))
            });
        if !of_cxn {
            return None;
        }
        let never_polled = PollStatus::default();
        let mut found = Vec::new();
        let jobs = criteria.jobs.get(&app).map_or(&[][..], Vec::as_slice);
        for (_, job, policy) in jobs {
            let status =
                statuses.iter().find(|(name, _)| *name == job.name).map_or(&never_polled, |(_, status)| status);
            let state = policy.state(status, cxn.disabled, now);
            let class = status.attempts.last().and_then(|attempt| attempt.class);
            let holds = (self.state.is_empty() || self.state.contains(&state))
                && (self.failure.is_empty() || class.is_some_and(|class| self.failure.contains(&class)))
                && self.older_than.is_none_or(|age| !status.is_new() && age.after(status.last_run) <= now)
                && criteria
                    .failing
                    .as_ref()
                    .is_none_or(|failing| failing.contains(&(CxnHash::from(&cxn.cxn_id), job.name.clone())));
            if holds {
                let next_due = policy.when_due(status, cxn.disabled, now);
                found.push(JobState { no: job.no, name: job.name.clone(), state, next_due });
            }
        }
        // As long as its app has run no job, a connection is new, or disabled.
        let state = if cxn.disabled { State::Disabled } else { State::New };
        let without_job = jobs.is_empty()
            && self.failure.is_empty()
            && self.older_than.is_none()
            && self.failing_since.is_none()
            && self.name.is_none()
            && (self.state.is_empty() || self.state.contains(&state));
        (!found.is_empty() || without_job).then_some(found)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "a value parser returns a result")]
fn pattern(text: &str) -> Result<Pattern, String> {
    Ok(Pattern::new(&text.to_lowercase()))
}

/// The status of a connection for a job; `None` if that never polled it.
pub(in crate::cli) fn status_of<'a>(statuses: &'a Statuses, job: &JobName) -> Option<&'a PollStatus> {
    statuses.iter().find(|(name, _)| name == job).map(|(_, status)| status)
}
