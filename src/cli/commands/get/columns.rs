//! The columns of `get`: what each shows of a connection, and how it sorts.

use std::cmp::Ordering;

use clap::ValueEnum;

use super::past::{Past, Pasts};
use crate::cli::selection::{JobState, Match, status_of};
use crate::cli::ui::time;
use crate::model::{Attempt, JobName, PollStatus, UnixTime};
use crate::retry::State;
use crate::store::Statuses;
use crate::util::text::sanitize;

/// What a cell shows if there is nothing to show.
const NOTHING: &str = "-";

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Column {
    /// Id of the connection
    Cxn,
    /// App
    App,
    /// siteUrl and viaPort; long ones are shortened at a terminal
    Site,
    /// Host of the siteUrl, or of viaPort
    Host,
    /// Batch code, from 0 to 10000
    BatchCode,
    /// Job that the following columns are about
    Job,
    /// State; sorts given-up, retrying, deferred, new, healthy, disabled
    State,
    /// Level of the retry expression; 0 is the first
    Level,
    /// Failures in a row at this level
    Count,
    /// When it was last polled
    LastRun,
    /// ok, or the class of the failure
    LastOutcome,
    /// How long the last poll took
    Took,
    /// Why the last poll failed
    Message,
    /// When a poll last succeeded
    LastSuccess,
    /// When it is due
    NextDue,
    /// Since when it fails, from history
    FailingSince,
    /// Part of the known time of the last 30 days in which it was up, from history
    Availability,
}

impl Column {
    /// The columns of the table by default.
    pub(super) const DEFAULT: [Self; 5] = [Self::Site, Self::State, Self::LastOutcome, Self::NextDue, Self::Cxn];

    /// Whether it needs history.
    pub(super) fn is_of_history(self) -> bool {
        matches!(self, Self::FailingSince | Self::Availability)
    }

    /// Its name in the header.
    pub(super) fn header(self) -> String {
        let name = self.to_possible_value().map(|value| value.get_name().replace('-', " ").to_uppercase());
        name.unwrap_or_default()
    }

    /// Whether its cells are shortened at a terminal that is too narrow.
    pub(super) fn is_shortened(self) -> bool {
        matches!(self, Self::Site | Self::Message)
    }
}

/// A connection with the job that its row is about.
pub(super) struct Row<'a> {
    found: &'a Match,
    /// The job with the worst state; `None` if the app has run no job.
    job: Option<&'a JobState>,
    state: State,
    /// The status for that job.
    status: &'a PollStatus,
    /// What history has of it for that job; `None` if that was not asked for.
    past: Option<&'a Past>,
}

/// The states in their order, the worst first.
const BY_URGENCY: [State; 6] =
    [State::GivenUp, State::Retrying, State::Deferred, State::New, State::Healthy, State::Disabled];

fn urgency(state: State) -> usize {
    BY_URGENCY.iter().take_while(|other| **other != state).count()
}

impl<'a> Row<'a> {
    /// Makes the row of a connection; `never_polled` is its status for jobs that did not poll it.
    pub(super) fn new(
        found: &'a Match,
        statuses: &'a Statuses,
        never_polled: &'a PollStatus,
        history: Option<&'a Pasts>,
    ) -> Self {
        let job = found.jobs.iter().min_by_key(|job| (urgency(job.state), job.name != JobName::default()));
        let state = if found.cxn.disabled { State::Disabled } else { State::New };
        let status = job.and_then(|job| status_of(statuses, &job.name));
        let past = history.zip(job).and_then(|(history, job)| history.of(&found.cxn.cxn_id, &job.name));
        Self { found, job, state: job.map_or(state, |job| job.state), status: status.unwrap_or(never_polled), past }
    }

    /// The text of a cell.
    pub(super) fn cell(&self, column: Column, now: UnixTime) -> String {
        let cxn = &self.found.cxn;
        let relative = |at| time::relative(at, now);
        let text = match column {
            Column::Cxn => Some(cxn.cxn_id.to_string()),
            Column::App => Some(cxn.app_id.short().to_owned()),
            Column::Site => {
                let via = cxn.via_port.as_ref().map(|via_port| format!(" via {via_port}"));
                Some(sanitize(&cxn.site_url.to_string()) + &via.unwrap_or_default())
            }
            Column::Host => Some(sanitize(&cxn.host())),
            Column::BatchCode => Some(cxn.batch_code.get().to_string()),
            Column::Job => self.job.map(|job| job.name.to_string()),
            Column::State => {
                Some(self.job.filter(|_| !cxn.disabled).map_or_else(|| self.state.to_string(), JobState::text))
            }
            Column::Level => self.job.map(|_| self.status.level.to_string()),
            Column::Count => self.job.map(|_| self.status.count.to_string()),
            Column::LastRun => self.last_run().map(relative),
            Column::LastOutcome => self.status.attempts.last().map(|last| last.class_name().to_owned()),
            Column::Took => self.duration_ms().map(|ms| format!("{:.1} s", f64::from(ms) / 1e3)),
            Column::Message => self.status.last_message().map(sanitize),
            Column::LastSuccess => self.status.last_success.map(relative),
            Column::NextDue => self.job.map(|job| match job.next_due {
                None => "never".to_owned(),
                Some(due) if due <= now => "now".to_owned(),
                Some(due) => relative(due),
            }),
            Column::FailingSince => self.past.and_then(|past| past.failing_since).map(relative),
            Column::Availability => self.past.and_then(|past| past.times.percent()),
        };
        text.unwrap_or_else(|| NOTHING.to_owned())
    }

    /// By what the rows sort in the order of a column; `None` sorts last.
    pub(super) fn sort_value(&self, column: Column) -> Option<SortValue> {
        let cxn = &self.found.cxn;
        let number = |number: i64| Some(SortValue::Number(number));
        let text = |text: String| Some(SortValue::Text(text));
        match column {
            Column::Cxn => text(cxn.cxn_id.to_string()),
            Column::App => text(cxn.app_id.to_string()),
            Column::Site => text(cxn.site_url.to_string()),
            Column::Host => text(cxn.host()),
            Column::BatchCode => number(cxn.batch_code.get().into()),
            Column::Job => text(self.job?.name.to_string()),
            Column::State => number(i64::try_from(urgency(self.state)).unwrap_or(i64::MAX)),
            Column::Level => self.job.and_then(|_| number(self.status.level.into())),
            Column::Count => self.job.and_then(|_| number(self.status.count.into())),
            Column::LastRun => number(self.last_run()?),
            Column::LastOutcome => text(self.status.attempts.last().map(Attempt::class_name)?.to_owned()),
            Column::Took => number(self.duration_ms()?.into()),
            Column::Message => text(self.status.last_message()?.to_owned()),
            Column::LastSuccess => number(self.status.last_success?),
            Column::NextDue => number(self.job?.next_due?),
            Column::FailingSince => number(self.past?.failing_since?),
            Column::Availability => number(self.past?.billionths()?),
        }
    }

    fn last_run(&self) -> Option<UnixTime> {
        (!self.status.is_new()).then_some(self.status.last_run)
    }

    fn duration_ms(&self) -> Option<u32> {
        Some(self.status.last_duration_ms()).filter(|ms| *ms > 0)
    }
}

/// What a row sorts by.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SortValue {
    /// A number or a time.
    Number(i64),
    /// A text.
    Text(String),
}

/// The place of a row in the order. No two rows have the same.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SortKey {
    /// `None` sorts last.
    pub(super) value: Option<SortValue>,
    /// Whether greater values come first.
    pub(super) reverse: bool,
    /// The number of the row in the order of the store, by which equal values sort.
    pub(super) number: u64,
}

impl Ord for SortKey {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_value = match (&self.value, &other.value) {
            (Some(value), Some(other)) if self.reverse => other.cmp(value),
            (Some(value), Some(other)) => value.cmp(other),
            (value, other) => value.is_none().cmp(&other.is_none()),
        };
        by_value.then(self.number.cmp(&other.number))
    }
}

impl PartialOrd for SortKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_values_sort_last_and_equal_ones_as_in_the_store() {
        for (reverse, expected) in [(false, [3, 1, 2, 0, 4]), (true, [1, 2, 3, 0, 4])] {
            let values = [None, Some(7), Some(7), Some(5), None];
            let mut keys: Vec<_> = (0..)
                .zip(values)
                .map(|(number, value)| SortKey { value: value.map(SortValue::Number), reverse, number })
                .collect();
            keys.sort();
            assert_eq!(keys.iter().map(|key| key.number).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn every_state_has_an_urgency() {
        assert!(State::ALL.into_iter().all(|state| urgency(state) < BY_URGENCY.len()));
        assert!(urgency(State::GivenUp) < urgency(State::Healthy));
    }
}
