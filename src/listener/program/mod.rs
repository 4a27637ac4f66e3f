//! Listeners that are programs in any language: JSON lines on their standard input and output.
//!
//! `docs/listeners.md` describes the protocol for the authors of programs.

mod check;
mod conversation;
mod error;
mod exit_watch;
mod guard;
mod process;
mod quota;
mod spawn;
mod wire;

pub(super) use conversation::{EventResult, Host};
pub use error::{ProgramError, ProgramFailure};
pub(super) use process::Process;
pub use spawn::EXIT_GRACE;
pub(crate) use spawn::Program;
pub use wire::WireError;
