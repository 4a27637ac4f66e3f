//! When a site was up and down, from its transitions: pure rules.

use crate::model::{Condition, FailureClass, PollStatus, Transition, UnixTime};
use crate::retry::{Policy, last_polled};

/// The number of an address in the report; 0 if none is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub(super) struct HostNo(pub(super) u32);

/// What history has of a connection and job, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The condition changed. The second is the address that was connected to.
    Transition(Transition, HostNo),
    /// The connection was removed.
    Removed(UnixTime),
}

/// What the store knows of a connection and job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Present {
    /// What its last counted poll showed.
    condition: Condition,
    /// When it was polled last.
    polled: UnixTime,
    /// The time after which nothing is known until the next poll.
    unknown_from: UnixTime,
    /// The first of the last attempts that all failed, with its class; `None` if the last one did not fail.
    failed: Option<Box<(UnixTime, Option<FailureClass>)>>,
}

/// What a timeline is made of.
pub(super) trait Sink {
    /// A site was up, or down on a host, from a time until a later one.
    fn span(&mut self, is_up: bool, from: UnixTime, to: UnixTime, host: HostNo);

    /// An incident began, and ended unless it lasts.
    fn incident(&mut self, incident: Open, to: Option<UnixTime>);
}

/// An incident that has not ended yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) from: UnixTime,
    pub(super) class: Option<FailureClass>,
    pub(super) host: HostNo,
}

/// The way through the events of a connection and job.
///
/// An event takes effect with the next one, which shows whether the store recorded it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeline {
    /// Up to which time spans were passed on.
    cursor: UnixTime,
    /// The condition from `cursor` on, until the last event.
    condition: Condition,
    last: Option<Event>,
    open: Option<Open>,
}

/// Whether a site is up, as far as conditions can contradict each other; `None` if it was never polled.
fn is_up(condition: Condition) -> Option<bool> {
    (condition != Condition::New).then(|| !condition.is_down())
}

impl Present {
    /// What a status shows; `outages` are the times of the runs of the job that ended for our own fault.
    pub(super) fn of(policy: &Policy, status: &PollStatus, outages: impl Iterator<Item = UnixTime>) -> Self {
        let failed = status.attempts.iter().rev().take_while(|attempt| attempt.class.is_some()).last();
        Self {
            condition: policy.condition(status),
            polled: last_polled(status).unwrap_or(UnixTime::MIN),
            unknown_from: policy.unknown_from(status, outages).unwrap_or(UnixTime::MIN),
            failed: failed.map(|attempt| Box::new((attempt.at, attempt.class))),
        }
    }
}

impl Timeline {
    /// Begins at the time before which nothing is known.
    pub(super) fn new(began: UnixTime) -> Self {
        Self { cursor: began, condition: Condition::New, last: None, open: None }
    }

    /// Takes the next event.
    pub(super) fn event(&mut self, event: Event, sink: &mut impl Sink) {
        match (self.last.replace(event), event) {
            (None, _) => {}
            (Some(last), Event::Transition(next, _)) => self.settle(last, next.from, next.at, sink),
            // It does not show the condition before.
            (Some(last), Event::Removed(_)) => self.apply(last, sink),
        }
    }

    /// Ends with what the store knows now.
    pub(super) fn end(mut self, present: &Present, sink: &mut impl Sink) {
        if let Some(last) = self.last.take() {
            self.settle(last, present.condition, present.polled, sink);
        }
        let Some(is_up) = is_up(present.condition) else { return };
        if !is_up && self.open.is_none() {
            let (from, class) = present.failed.as_deref().copied().unwrap_or((self.cursor, None));
            self.open = Some(Open { from: from.min(self.cursor), class, host: HostNo::default() });
        }
        self.condition = present.condition;
        self.span_to(present.unknown_from, sink);
        if let Some(open) = self.open {
            sink.incident(open, None);
        }
    }

    /// Lets an event take effect, unless it was never recorded.
    ///
    /// `condition` is what the store knew at `until`. If it contradicts the event and is that from before it, the process was
    /// killed before it recorded the outcome. If it is another one, something is missing in between, and that is unknown.
    fn settle(&mut self, event: Event, condition: Condition, until: UnixTime, sink: &mut impl Sink) {
        let (before, after) = match event {
            Event::Transition(Transition { from, to, .. }, _) => (from, to),
            Event::Removed(_) => (self.condition, Condition::New),
        };
        let is_recorded = is_up(condition) == is_up(after);
        if is_recorded || is_up(condition) != is_up(before) {
            self.apply(event, sink);
        }
        if !is_recorded && is_up(condition) != is_up(before) {
            let cursor = self.cursor.max(until);
            self.pass(cursor, condition, sink);
        }
    }

    fn apply(&mut self, event: Event, sink: &mut impl Sink) {
        match event {
            Event::Removed(at) => {
                self.span_to(at, sink);
                self.pass(at, Condition::New, sink);
            }
            Event::Transition(Transition { at, from, to, class, unknown_from }, host) => {
                if from.is_down() && self.open.is_none() {
                    self.open = Some(Open { from: self.cursor, class, host });
                }
                self.condition = from;
                self.span_to(unknown_from.unwrap_or(at), sink);
                self.pass(at, to, sink);
                if to.is_down() && self.open.is_none() {
                    self.open = Some(Open { from: at, class, host });
                }
            }
        }
    }

    /// Passes on the time up to `to`, in which the condition is known.
    fn span_to(&self, to: UnixTime, sink: &mut impl Sink) {
        if let Some(is_up) = is_up(self.condition).filter(|_| self.cursor < to) {
            sink.span(is_up, self.cursor, to, self.open.map(|open| open.host).unwrap_or_default());
        }
    }

    /// Goes on from `at` with a condition.
    fn pass(&mut self, at: UnixTime, condition: Condition, sink: &mut impl Sink) {
        (self.cursor, self.condition) = (self.cursor.max(at), condition);
        if !condition.is_down() {
            self.close(at, sink);
        }
    }

    fn close(&mut self, at: UnixTime, sink: &mut impl Sink) {
        if let Some(open) = self.open.take() {
            sink.incident(open, Some(at));
        }
    }
}
