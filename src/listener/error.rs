//! Errors of listeners that stop a run, because no site causes them.

use super::name::EventName;
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
