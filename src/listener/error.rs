//! Errors of listeners that no site causes.

use super::name::{EventName, InvalidEventName};
use super::program::ProgramFailure;
use crate::model::Failure;

/// An error of a listener that stops a run.
#[derive(Debug)]
pub enum Error {
    /// A listener of the start or end of a run failed.
    Event {
        /// The event.
        event: EventName,
        /// Why it failed.
        failure: Failure,
    },
    /// A program does not work at all: it has not answered any event of this process.
    Program(ProgramFailure),
}

/// Why a function cannot be a listener.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum InvalidListener {
    /// The name of its event is not valid.
    Name(InvalidEventName),
    /// It was added with the method for other events.
    WrongMethod(EventName),
}

impl From<InvalidEventName> for InvalidListener {
    fn from(error: InvalidEventName) -> Self {
        Self::Name(error)
    }
}
