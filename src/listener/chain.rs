//! The listeners of a process, and which of them get an event in which order.

use std::fmt;
use std::sync::Arc;

use super::calls::Call;
use super::event::{PollEvent, RunEvent};
use super::name::{EventName, Phase};
use super::program::Program;
use super::registration::RegistrationEvent;
use crate::model::{AppId, JobName, Outcome};

/// What is called when an event is emitted.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) event: EventName,
    /// The highest comes first. Among equals, the one that was added first does.
    pub(crate) priority: i32,
    /// Whether the listeners after this one never get the event.
    pub(crate) stop: bool,
    pub(crate) action: Action,
}

/// What a listener does.
pub(crate) enum Action {
    /// Makes API calls, and perhaps keeps their replies.
    Calls { calls: Vec<Call>, keep: bool },
    /// Passes the event to a program.
    Program(Program),
    /// Calls a function at each poll of a site.
    Poll(Box<PollFn>),
    /// Calls a function at the start or end of a run.
    Run(Box<RunFn>),
    /// Calls a function at a registration.
    Registration(Box<RegistrationFn>),
}

/// A listener in Rust for polls of sites.
pub(crate) type PollFn = dyn Fn(&mut PollEvent<'_>) -> Outcome + Send + Sync;
/// A listener in Rust for the start and end of runs.
pub(crate) type RunFn = dyn Fn(&mut RunEvent<'_>) -> Outcome + Send + Sync;
/// A listener in Rust for registrations.
pub(crate) type RegistrationFn = dyn Fn(&mut RegistrationEvent<'_>) -> Outcome + Send + Sync;

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Calls { .. } => "Calls",
            Self::Program(_) => "Program",
            Self::Poll(_) => "Poll",
            Self::Run(_) => "Run",
            Self::Registration(_) => "Registration",
        })
    }
}

/// All listeners of a process.
#[derive(Debug, Clone, Default)]
pub struct Listeners(Vec<Arc<Listener>>);

impl Listeners {
    /// Adds a listener.
    pub(crate) fn add(&mut self, listener: Listener) {
        self.0.push(Arc::new(listener));
    }

    /// All listeners, in the order in which they were added.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Listener> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// The listeners of an event of a job, in the order in which they are called.
    ///
    /// Those of the job come before the general ones. Its programs can be started until [`ListenerChain::kill`].
    #[must_use]
    pub fn of(&self, app_id: &AppId, job: &JobName, phase: Phase) -> ListenerChain {
        self.chain(&EventName { app: Some(app_id.clone()), job: Some(job.clone()), phase })
    }

    /// The listeners of a registration at an app, in the order in which they are called.
    ///
    /// Those of the app come before the general ones.
    #[must_use]
    pub fn of_registration(&self, app_id: &AppId, phase: Phase) -> ListenerChain {
        self.chain(&EventName { app: Some(app_id.clone()), job: None, phase })
    }

    /// The listeners of an event of an app.
    fn chain(&self, event: &EventName) -> ListenerChain {
        let matches = |name: &EventName| name.app.is_none() || *name == *event;
        let listeners =
            self.0.iter().filter(|listener| listener.event.phase == event.phase && matches(&listener.event));
        let mut chain: Vec<_> = listeners.map(Arc::clone).collect();
        chain.sort_by_key(|listener| (listener.event.app.is_none(), std::cmp::Reverse(listener.priority)));
        let chain = ListenerChain(chain);
        chain.programs().for_each(Program::open);
        chain
    }
}

/// The listeners of one event, in their order.
#[derive(Debug, Clone)]
pub struct ListenerChain(pub(super) Vec<Arc<Listener>>);

impl ListenerChain {
    /// Whether the event has no listeners.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any listener is a program.
    pub(crate) fn has_programs(&self) -> bool {
        self.programs().next().is_some()
    }

    /// Kills the programs that still run. None is started afterwards.
    pub(crate) fn kill(&self) {
        self.programs().for_each(Program::kill);
    }

    fn programs(&self) -> impl Iterator<Item = &Program> {
        self.0.iter().filter_map(|listener| match &listener.action {
            Action::Program(program) => Some(program),
            _ => None,
        })
    }
}
