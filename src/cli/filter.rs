//! Which connections a command is about: named, or told by what they are like.

use std::collections::{HashMap, HashSet};

use clap::Args;
use wildmatch::WildMatchPattern;

use super::{Context, Judge};
use crate::error::{Error, Kind, Result};
use crate::model::{AppId, Cxn, FailureClass, JobName, PollStatus, UnixTime};
use crate::retry::{Period, Policy, State};
use crate::store::{AppNo, CxnKey, Job, Statuses, Store};

/// The conditions, all of which must hold.
#[derive(Args)]
pub(super) struct Filter {
    /// Connections of this app
    #[arg(long, value_name = "APP", value_parser = super::app, help_heading = "Which connections")]
    app: Option<AppId>,
    /// What --state, --failure and --older-than look at is this job [default: any]
    #[arg(long, value_name = "J", value_parser = super::job, help_heading = "Which connections")]
    name: Option<JobName>,
    /// Those in one of these states: new, healthy, retrying, given-up, disabled, deferred
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = state, help_heading = "Which connections")]
    state: Vec<State>,
    /// Those whose last poll failed in one of these classes: timeout, tls, http…
    #[arg(long, value_name = "CLASS", value_delimiter = ',', value_parser = class, help_heading = "Which connections")]
    failure: Vec<FailureClass>,
    /// Those that are reached at this host: a name, an address, or *.example.org
    #[arg(long, value_name = "HOST", value_parser = pattern, help_heading = "Which connections")]
    host: Option<Pattern>,
    /// Those whose siteUrl matches this pattern, in which * stands for anything
    #[arg(long, value_name = "PATTERN", value_parser = pattern, help_heading = "Which connections")]
    url: Option<Pattern>,
    /// Those that were polled, but not within this time: '90 day'
    #[arg(long, value_name = "AGE", value_parser = age, help_heading = "Which connections")]
    older_than: Option<Period>,
    #[command(flatten)]
    judge: Judge,
}

/// `*` is anything; capitals are all the same. `?` is no wildcard: URLs hold it.
type Pattern = WildMatchPattern<'*', '\0'>;

/// A connection that a filter lets through.
pub(super) struct Match {
    pub(super) key: CxnKey,
    pub(super) cxn: Cxn,
    /// The jobs of its app in which the conditions hold, with where it stands.
    pub(super) jobs: Vec<(Job, State)>,
}

impl Match {
    /// The states in which it passes, with the job where that is not the default one: `given-up, nightly healthy`.
    pub(super) fn states(&self) -> String {
        if self.cxn.disabled {
            return State::Disabled.to_string();
        }
        let states = self.jobs.iter().map(|(job, state)| match job.name.as_str() {
            "default" => state.to_string(),
            name => format!("{name} {state}"),
        });
        states.collect::<Vec<_>>().join(", ")
    }
}

impl Filter {
    /// Whether every connection passes.
    pub(super) fn is_empty(&self) -> bool {
        let Self { app, name, state, failure, host, url, older_than, judge: _ } = self;
        (app.is_none(), name.is_none(), state.is_empty(), failure.is_empty()) == (true, true, true, true)
            && (host.is_none(), url.is_none(), older_than.is_none()) == (true, true, true)
    }

    /// Hands out what passes, or of the connections that are named what passes, in slices.
    pub(super) fn each(
        &self,
        context: &Context,
        store: &Store,
        named: &[String],
        mut emit: impl FnMut(Match, Statuses) -> Result<()>,
    ) -> Result<()> {
        if let Some(app_id) = &self.app {
            context.app(store, app_id)?;
        }
        let now = self.judge.now(context);
        let jobs = self.jobs(store)?;
        let mut pass = |key: CxnKey, cxn: Cxn, statuses: Statuses| {
            let jobs = jobs.get(&key.app).map_or(&[][..], Vec::as_slice);
            match self.passes(jobs, &cxn, &statuses, now) {
                Some(jobs) => emit(Match { key, cxn, jobs }, statuses),
                None => Ok(()),
            }
        };
        if named.is_empty() {
            return store.connections(pass);
        }
        let mut seen = HashSet::new();
        for text in named {
            let found = store.session(|session| {
                let key = Context::find(session, text)?;
                Ok(session.connection(key)?.map(|found| (key, found)))
            })?;
            // Who is named twice is one all the same.
            if let Some((key, (cxn, statuses))) = found.filter(|(key, _)| seen.insert(*key)) {
                pass(key, cxn, statuses)?;
            }
        }
        Ok(())
    }

    /// The jobs by app, each with the expression that it is judged by.
    fn jobs(&self, store: &Store) -> Result<HashMap<AppNo, Vec<(Job, Policy)>>> {
        let mut jobs: HashMap<_, Vec<_>> = HashMap::new();
        for job in store.session(|session| session.jobs(None))? {
            if self.name.as_ref().is_none_or(|name| *name == job.name) {
                let policy = self.judge.policy(Some(&job))?;
                jobs.entry(job.app).or_default().push((job, policy));
            }
        }
        if let Some(name) = self.name.as_ref().filter(|_| jobs.is_empty()) {
            return Err(
                Error::new(Kind::NotFound, format!("there is no job {name}")).hint("`cxnpoll status` lists them")
            );
        }
        Ok(jobs)
    }

    /// The jobs in which the conditions hold; `None` where the connection does not pass.
    fn passes(
        &self,
        jobs: &[(Job, Policy)],
        cxn: &Cxn,
        statuses: &[(JobName, PollStatus)],
        now: UnixTime,
    ) -> Option<Vec<(Job, State)>> {
        let of_cxn = self.app.as_ref().is_none_or(|app| *app == cxn.app_id)
            && self.host.as_ref().is_none_or(|host| host.matches(cxn.host().trim_matches(['[', ']'])))
            && self.url.as_ref().is_none_or(|url| url.matches(&cxn.site_url.to_lowercase()));
        if !of_cxn {
            return None;
        }
        let never_polled = PollStatus::default();
        let mut found = Vec::new();
        for (job, policy) in jobs {
            let status =
                statuses.iter().find(|(name, _)| *name == job.name).map_or(&never_polled, |(_, status)| status);
            let state = policy.state(status, cxn.disabled, now);
            let class = status.attempts.last().and_then(|attempt| attempt.class);
            let holds = (self.state.is_empty() || self.state.contains(&state))
                && (self.failure.is_empty() || class.is_some_and(|class| self.failure.contains(&class)))
                && self.older_than.is_none_or(|age| !status.is_new() && age.after(status.last_run) <= now);
            if holds {
                found.push((job.clone(), state));
            }
        }
        // Where its app has never run a job, a connection is new, or disabled.
        let state = if cxn.disabled { State::Disabled } else { State::New };
        let without_job = jobs.is_empty()
            && self.failure.is_empty()
            && self.older_than.is_none()
            && self.name.is_none()
            && (self.state.is_empty() || self.state.contains(&state));
        (!found.is_empty() || without_job).then_some(found)
    }
}

fn state(text: &str) -> Result<State, String> {
    State::ALL.into_iter().find(|state| state.name() == text).ok_or_else(|| one_of(State::ALL.map(State::name), text))
}

fn class(text: &str) -> Result<FailureClass, String> {
    FailureClass::from_name(text).ok_or_else(|| one_of(FailureClass::ALL.map(FailureClass::name), text))
}

/// What was expected, with a suggestion.
fn one_of<const N: usize>(names: [&'static str; N], text: &str) -> String {
    let close = super::closest(text, &names.map(str::to_owned)).map(|name| format!("; did you mean {name}?"));
    format!("expected one of {}{}", names.join(", "), close.unwrap_or_default())
}

#[expect(clippy::unnecessary_wraps, reason = "clap wants it so")]
fn pattern(text: &str) -> Result<Pattern, String> {
    Ok(Pattern::new(&text.to_lowercase()))
}

fn age(text: &str) -> Result<Period, String> {
    let expected = || "expected a time such as '90 day' or '6 month'".to_owned();
    let policy: Policy = format!("{text} (x1)").parse().map_err(|_| expected())?;
    policy.levels().first().filter(|_| !text.contains([';', '('])).map(|level| level.period).ok_or_else(expected)
}
