//! When a site was up and down, from its transitions: pure rules.
//!
//! Times are seconds from the start of the report, so that a site takes less than a hundred bytes.

use crate::model::{Condition, FailureClass, PollStatus, Transition, UnixTime, was_recorded};
use crate::retry::{Policy, last_polled};

/// Seconds from the start of a report; negative before it.
pub(super) type Seconds = i32;

/// The time from which [`Seconds`] are counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin(pub(super) UnixTime);

impl Origin {
    /// The seconds of a time. Times that are 68 years away or more count as that.
    pub(super) fn seconds(self, at: UnixTime) -> Seconds {
        let seconds = at.saturating_sub(self.0);
        Seconds::try_from(seconds).unwrap_or(if seconds < 0 { Seconds::MIN } else { Seconds::MAX })
    }

    /// The time of seconds.
    pub(super) fn time(self, seconds: Seconds) -> UnixTime {
        self.0.saturating_add(seconds.into())
    }
}

/// The number of an address in the report; 0 if none is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub(super) struct HostNo(pub(super) u32);

/// What history has of a connection and job, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The condition changed.
    Changed {
        at: Seconds,
        /// From when on until `at` nothing is known; `at` if the condition before held until then.
        unknown_from: Seconds,
        from: Condition,
        to: Condition,
        class: Option<FailureClass>,
        host: HostNo,
    },
    /// The connection was removed. Only former programs did that without a change of its condition.
    Removed(Seconds),
}

/// What the store knows of a connection and job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Present {
    /// What its last counted poll showed.
    condition: Condition,
    /// When it was polled last.
    polled: Seconds,
    /// The time after which nothing is known until the next poll.
    unknown_from: Seconds,
    /// The first of the last attempts that all failed; after all times if the last one did not fail.
    failed_from: Seconds,
    /// The class of that failure; `None` if it is not known.
    class: Option<FailureClass>,
}

/// What a timeline is made of.
pub(super) trait Sink {
    /// A site was up, or down on a host, from a time until a later one.
    fn span(&mut self, is_up: bool, from: Seconds, to: Seconds, host: HostNo);

    /// An incident began, and ended unless it lasts.
    fn incident(&mut self, incident: Open, to: Option<Seconds>);
}

/// An incident that has not ended yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) from: Seconds,
    pub(super) class: Option<FailureClass>,
    pub(super) host: HostNo,
}

/// The way through the events of a connection and job.
///
/// An event takes effect with the next one, which shows whether the store recorded it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeline {
    /// Up to which time spans were passed on.
    cursor: Seconds,
    /// The condition from `cursor` on, until the last event.
    condition: Condition,
    last: Option<Event>,
    open: Option<Open>,
}

impl Event {
    /// A transition, with the number of the address that was connected to.
    pub(super) fn new(origin: Origin, transition: &Transition, host: HostNo) -> Self {
        let Transition { at, from, to, class, unknown_from } = *transition;
        // In a damaged file it may be later, and spans must not overlap.
        let unknown_from = origin.seconds(unknown_from.unwrap_or(at).min(at));
        Self::Changed { at: origin.seconds(at), unknown_from, from, to, class, host }
    }

    /// Whether the status of the connection went away.
    fn is_loss(&self) -> bool {
        matches!(self, Self::Changed { to: Condition::New, .. })
    }

    /// The time at which the condition changed, for a loss in view of the time of the next poll.
    ///
    /// A connection was removed before the next poll, whatever their clocks show. What was known before that stays, also if a
    /// status from an earlier time was imported.
    fn at(&self, next: Seconds) -> Seconds {
        match *self {
            Self::Changed { at, unknown_from, to: Condition::New, .. } => at.min(next).max(unknown_from),
            Self::Changed { at, .. } | Self::Removed(at) => at,
        }
    }
}

impl Present {
    /// What a status shows; `outages` are the times of the runs of the job that ended for our own fault.
    pub(super) fn of(
        origin: Origin,
        policy: &Policy,
        status: &PollStatus,
        outages: impl Iterator<Item = UnixTime>,
    ) -> Self {
        let failed = status.attempts.iter().rev().take_while(|attempt| attempt.class.is_some()).last();
        let seconds = |at: Option<UnixTime>, otherwise| at.map_or(otherwise, |at| origin.seconds(at));
        Self {
            condition: policy.condition(status),
            polled: seconds(last_polled(status), Seconds::MIN),
            unknown_from: seconds(policy.unknown_from(status, outages), Seconds::MIN),
            failed_from: seconds(failed.map(|attempt| attempt.at), Seconds::MAX),
            class: failed.and_then(|attempt| attempt.class),
        }
    }
}

impl Timeline {
    /// Begins where history does; `None` if there is none. Nothing is known of the time before.
    pub(super) fn new(origin: Origin, began: Option<UnixTime>) -> Self {
        let cursor = origin.seconds(began.unwrap_or(UnixTime::MAX));
        Self { cursor, condition: Condition::New, last: None, open: None }
    }

    /// Takes the next event.
    pub(super) fn event(&mut self, event: Event, sink: &mut impl Sink) {
        match (self.last.replace(event), event) {
            (None, _) => {}
            (Some(last), Event::Changed { at, from, .. }) => {
                let is_recorded = self.settle(last, from, at, sink);
                if let Some(Event::Changed { at: next, .. }) = &mut self.last
                    && is_recorded
                    && last.is_loss()
                {
                    *next = last.at(at).max(at);
                }
            }
            // The loss before is what history has of this removal, if it was recorded.
            (Some(last), Event::Removed(_)) if last.is_loss() => self.last = Some(last),
            // It does not show the condition before.
            (Some(last), Event::Removed(at)) => self.apply(last, at, sink),
        }
    }

    /// Ends with what the store knows now.
    pub(super) fn end(mut self, present: &Present, sink: &mut impl Sink) {
        if let Some(last) = self.last.take() {
            // One that was not polled since shows nothing about the time of a loss.
            let is_lost = last.is_loss() && present.condition == Condition::New;
            self.settle(last, present.condition, if is_lost { Seconds::MAX } else { present.polled }, sink);
        }
        if present.condition.is_down() && self.open.is_none() {
            let from = present.failed_from.min(self.cursor);
            self.open = Some(Open { from, class: present.class, host: HostNo::default() });
        }
        self.condition = present.condition;
        self.span_to(present.unknown_from, sink);
        if let Some(open) = self.open {
            sink.incident(open, None);
        }
    }

    /// Lets an event take effect, unless it was never recorded.
    ///
    /// `condition` is what the store knew at `until`. If it is neither that before nor that after the event, something is missing
    /// in between, and that is unknown. Returns whether it was recorded.
    fn settle(&mut self, event: Event, condition: Condition, until: Seconds, sink: &mut impl Sink) -> bool {
        let (before, after) = match event {
            Event::Changed { from, to, .. } => (from, to),
            Event::Removed(_) => (self.condition, Condition::New),
        };
        let (before, after, known) = (before.is_up(), after.is_up(), condition.is_up());
        let is_recorded = was_recorded(&before, &after, &known);
        if is_recorded {
            self.apply(event, until, sink);
            if known != after {
                self.pass(until, condition, sink);
            }
        }
        is_recorded
    }

    /// Lets an event take effect. `next` is the time of the next one.
    fn apply(&mut self, event: Event, next: Seconds, sink: &mut impl Sink) {
        let at = event.at(next);
        match event {
            Event::Removed(_) => {
                self.span_to(at, sink);
                self.pass(at, Condition::New, sink);
            }
            Event::Changed { unknown_from, from, to, class, host, .. } => {
                if from.is_down() && self.open.is_none() && self.cursor < at {
                    self.open = Some(Open { from: self.cursor, class, host });
                }
                self.condition = from;
                self.span_to(unknown_from, sink);
                self.pass(at, to, sink);
                if to.is_down() && self.open.is_none() {
                    self.open = Some(Open { from: at, class, host });
                }
            }
        }
    }

    /// Passes on the time up to `to`, in which the condition is known.
    fn span_to(&self, to: Seconds, sink: &mut impl Sink) {
        if let Some(is_up) = self.condition.is_up().filter(|_| self.cursor < to) {
            sink.span(is_up, self.cursor, to, self.open.map(|open| open.host).unwrap_or_default());
        }
    }

    /// Goes on with a condition from `at` on, or from the cursor if that is later.
    fn pass(&mut self, at: Seconds, condition: Condition, sink: &mut impl Sink) {
        (self.cursor, self.condition) = (self.cursor.max(at), condition);
        if !condition.is_down()
            && let Some(open) = self.open.take()
        {
            sink.incident(open, Some(self.cursor));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_never_unknown_from_later_than_the_poll() {
        let of = |unknown_from| {
            let transition = Transition { at: 10, from: Condition::Up, to: Condition::Up, class: None, unknown_from };
            match Event::new(Origin(0), &transition, HostNo::default()) {
                Event::Changed { unknown_from, .. } => unknown_from,
                Event::Removed(_) => panic!("a transition is no removal"),
            }
        };
        assert_eq!([None, Some(7), Some(99), Some(i64::MAX)].map(of), [10, 7, 10, 10]);
    }
}
