//! Changes of what is known of a connection for a job, which are all that history has of polls.

use super::{FailureClass, UnixTime};

/// What the last counted poll of a connection showed.
///
/// The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Condition {
    /// It was never polled, or its status went away since.
    New = 0,
    /// The last poll succeeded.
    Up = 1,
    /// The last poll failed.
    Failing = 2,
    /// The last poll failed, and the connection is not due again.
    GivenUp = 3,
}

impl Condition {
    /// All conditions, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::New, Self::Up, Self::Failing, Self::GivenUp];

    /// Whether the last poll failed.
    #[must_use]
    pub fn is_down(self) -> bool {
        matches!(self, Self::Failing | Self::GivenUp)
    }

    /// Whether the last poll succeeded; `None` if there was none.
    #[must_use]
    pub fn is_up(self) -> Option<bool> {
        (self != Self::New).then(|| !self.is_down())
    }

    /// The name in exports and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Up => "up",
            Self::Failing => "failing",
            Self::GivenUp => "given-up",
        }
    }

    /// The condition of a stored number; `None` for an unknown number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|condition| *condition as u8 == number)
    }
}

/// A change of a connection's condition, or a time about which nothing is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// The time of the poll after which the condition is known again, UTC seconds.
    ///
    /// If `to` is [`Condition::New`], it may also be the time at which the connection was removed.
    pub at: UnixTime,
    /// The condition before.
    pub from: Condition,
    /// The condition from `at` on.
    pub to: Condition,
    /// The class of the failure; `None` if the poll succeeded, or if it is not known.
    pub class: Option<FailureClass>,
    /// From when on until `at` nothing is known; `None` if the condition before held until `at`.
    pub unknown_from: Option<UnixTime>,
}

impl Transition {
    /// Whether the condition changed, or was not known for a while.
    #[must_use]
    pub fn is_news(&self) -> bool {
        self.from != self.to || self.unknown_from.is_some()
    }
}

/// Whether the store recorded a change, by what is known after it.
///
/// The history has a change before the store records it. If the process was killed in between, what is known afterwards
/// contradicts the change, and is as before it. Conditions are compared as the caller distinguishes them.
#[must_use]
pub fn was_recorded<T: PartialEq>(before: &T, after: &T, known: &T) -> bool {
    known == after || known != before
}
