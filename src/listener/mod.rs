//! Listeners: the logic that runs when events are emitted.
//!
//! A poll emits the event of its job and then the general one, `civi_cxn.poll`. A run that has something to poll emits
//! pre-poll and post-poll events before and after its polls. The listeners of an event are called in order of priority,
//! the highest first. The first that fails ends the event. One that stops propagation ends it as well, also for the
//! listeners of the general event. A poll without listeners calls `System.get`, which proves that the connection works.
//! A registration emits the event of its app and then the general one, `civi_cxn.register` or `civi_cxn.unregister`.

mod calls;
mod chain;
mod dispatch;
mod error;
mod event;
mod name;
mod program;
mod registration;

pub(crate) use calls::{Call, Method};
pub(crate) use chain::{Action, Listener};
pub use chain::{ListenerChain, Listeners};
pub use dispatch::Dispatcher;
pub use error::Error;
pub(crate) use error::InvalidListener;
pub(crate) use event::TERMINAL_ONLY;
pub use event::{PollEvent, RunEvent};
pub use name::{EventName, InvalidEventName, Phase};
pub(crate) use program::Program;
pub use program::{EXIT_GRACE, ProgramError, ProgramFailure, WireError};
pub use registration::RegistrationEvent;
