//! The logic that events are handed to.
//!
//! A poll fires the event of its job and then the general one, `civi_cxn.poll`; a run that has something to poll fires
//! pre-poll and post-poll events around them. The listeners of each are called in order of priority, highest first. The
//! first that fails ends the event, and one that stops propagation keeps it from all that come after, those of the general
//! event too. Without any listener a poll is `System.get`, which proves that the connection lives.

mod calls;
mod event;
mod name;
mod program;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::error::{Error, Kind, panic_text};
use crate::model::{AppId, Failure, FailureClass, JobName, Outcome};
use program::{Host, Running, Verdict};

pub(crate) use calls::{Call, Method};
pub use event::{PollEvent, RunEvent};
pub(crate) use name::EventName;
pub use name::Phase;
pub(crate) use program::Program;

/// The target of messages for who polls one site by hand; they are in no log.
pub(crate) const BY_HAND: &str = "cxnpoll::by-hand";

/// What is called when an event is fired.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) event: EventName,
    /// The highest comes first; among equals, the one that was written first.
    pub(crate) priority: i32,
    /// Whether nobody gets an event after this listener has had it.
    pub(crate) stop: bool,
    pub(crate) action: Action,
}

/// What a listener does.
pub(crate) enum Action {
    /// API calls, whose replies are perhaps kept.
    Calls { calls: Vec<Call>, keep: bool },
    /// A program.
    Program(Program),
    /// A function for visits to sites.
    Poll(Box<PollFn>),
    /// A function for the beginnings and ends of runs.
    Run(Box<RunFn>),
}

/// A listener in Rust for visits to sites.
pub(crate) type PollFn = dyn Fn(&mut PollEvent<'_>) -> Outcome + Send + Sync;
/// A listener in Rust for the beginnings and ends of runs.
pub(crate) type RunFn = dyn Fn(&mut RunEvent<'_>) -> Outcome + Send + Sync;

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Calls { .. } => "Calls",
            Self::Program(_) => "Program",
            Self::Poll(_) => "Poll",
            Self::Run(_) => "Run",
        })
    }
}

/// All listeners that there are.
#[derive(Debug, Clone, Default)]
pub struct Listeners(Vec<Arc<Listener>>);

impl Listeners {
    /// Adds one.
    pub(crate) fn add(&mut self, listener: Listener) {
        self.0.push(Arc::new(listener));
    }

    /// The events that are listened to, in the order of the listeners.
    pub(crate) fn events(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|listener| listener.event.to_string())
    }

    /// Those of an event of a job, in the order in which they are called: those of the job before the general ones.
    #[must_use]
    pub fn of(&self, app_id: &AppId, job: &JobName, phase: Phase) -> Chain {
        let is_mine = |name: &EventName| name.job.as_ref().is_none_or(|(app, name)| app == app_id && name == job);
        let mine = self.0.iter().filter(|listener| listener.event.phase == phase && is_mine(&listener.event));
        let mut chain: Vec<_> = mine.map(Arc::clone).collect();
        chain.sort_by_key(|listener| (listener.event.job.is_none(), std::cmp::Reverse(listener.priority)));
        Chain(chain)
    }
}

/// The listeners of one event, in their order.
#[derive(Debug, Clone)]
pub struct Chain(Vec<Arc<Listener>>);

impl Chain {
    /// One who calls them, with programs of its own.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller { chain: self.clone(), running: self.0.iter().map(|_| None).collect() }
    }

    /// Whether any is a program.
    pub(crate) fn has_programs(&self) -> bool {
        self.0.iter().any(|listener| matches!(listener.action, Action::Program(_)))
    }

    /// Kills the programs that still run.
    pub(crate) fn kill(&self) {
        for listener in &self.0 {
            if let Action::Program(program) = &listener.action {
                program.kill();
            }
        }
    }
}

/// Calls listeners, and holds the programs that serve event after event.
pub struct Caller {
    chain: Chain,
    running: Vec<Option<Running>>,
}

impl Caller {
    /// Hands out a poll event. A listener that fails, is slow or panics costs this poll alone.
    ///
    /// # Errors
    /// [`Kind::Config`] where a program doesn't work at all: that is no fault of the site.
    pub fn poll(&mut self, event: &mut PollEvent) -> Result<Outcome, Error> {
        if self.running.is_empty() {
            return Ok(guarded(&event.name(), || system_get(event)));
        }
        let name = event.name();
        for (listener, running) in self.chain.0.iter().zip(&mut self.running) {
            let outcome = match &listener.action {
                Action::Calls { calls, keep } => calls::make(calls, *keep, event),
                Action::Poll(function) => guarded(&name, || function(event)),
                Action::Program(program) => {
                    event.call_failure = None;
                    let line = event.to_json();
                    match program.handle(running, &line, event) {
                        Verdict::Ok { stop } => {
                            event.stopped |= stop;
                            Ok(())
                        }
                        // Where the last call got no reply, that is why; the site may have asked to be left alone.
                        Verdict::Failed(message) => {
                            Err(event.call_failure.take().unwrap_or_else(|| safe(event, &message)))
                        }
                        Verdict::Lost(message) => Err(message.into()),
                        Verdict::Broken(message) => return Err(broken(&message)),
                    }
                }
                Action::Run(_) => Ok(()),
            };
            if outcome.is_err() || listener.stop || event.stopped {
                return Ok(outcome);
            }
        }
        Ok(Ok(()))
    }

    /// Hands out the event of a run's beginning or end.
    ///
    /// # Errors
    /// [`Kind::Config`] where a listener fails.
    pub(crate) fn run(&mut self, event: &mut RunEvent) -> Result<(), Error> {
        let name = event.name();
        for (listener, running) in self.chain.0.iter().zip(&mut self.running) {
            let outcome = match &listener.action {
                Action::Run(function) => guarded(&name, || function(event)),
                Action::Program(program) => match program.handle(running, &event.to_json(), &mut NoSite) {
                    Verdict::Ok { stop } => {
                        event.stopped |= stop;
                        Ok(())
                    }
                    Verdict::Failed(message) | Verdict::Lost(message) => Err(message.into()),
                    Verdict::Broken(message) => return Err(broken(&message)),
                },
                Action::Calls { .. } | Action::Poll(_) => Ok(()),
            };
            outcome.map_err(|failure| Error::new(Kind::Config, format!("{name} failed: {}", failure.message)))?;
            if listener.stop || event.stopped {
                break;
            }
        }
        Ok(())
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        for (listener, running) in self.chain.0.iter().zip(&mut self.running) {
            if let (Action::Program(program), Some(running)) = (&listener.action, running.take()) {
                program.end(running, Duration::from_secs(2));
            }
        }
    }
}

/// Calls a function that may panic.
fn guarded(event: &str, listener: impl FnOnce() -> Outcome) -> Outcome {
    catch_unwind(AssertUnwindSafe(listener))
        .unwrap_or_else(|panic| Err(format!("the listener of {event} panicked: {}", panic_text(&*panic)).into()))
}

/// The built-in listener: `System.get`, which proves that the connection lives.
fn system_get(event: &mut PollEvent) -> Outcome {
    event.call("System", "get", Value::Null).map(drop)
}

/// The failure that a program speaks of; its message may hold what the site said.
fn safe(event: &PollEvent, message: &str) -> Failure {
    let message = crate::protocol::scrubbed(Value::from(message), &event.cxn.secret);
    Failure::new(FailureClass::Listener, message.as_str().unwrap_or_default())
}

fn broken(message: &str) -> Error {
    Error::new(Kind::Config, message).hint("`cxnpoll event APP --cxn ID` prints an event to feed into it by hand")
}

impl Host for PollEvent<'_> {
    fn call(&mut self, method: &str, params: Map<String, Value>) -> Value {
        let reply = match Method::try_from(method.to_owned()) {
            Ok(Method { entity, action }) => self.call_any(&entity, &action, Value::Object(params)),
            Err(error) => Err(format!("'{method}': {error}").into()),
        };
        match reply {
            Ok(reply) => json!({"reply": reply}),
            Err(failure) => json!({"failure": {"class": failure.class, "message": failure.message}}),
        }
    }

    fn keep(&mut self, value: Value) {
        PollEvent::keep(self, value);
    }
}

/// Stands where there is no site to call.
struct NoSite;

impl Host for NoSite {
    fn call(&mut self, _: &str, _: Map<String, Value>) -> Value {
        json!({"failure": {"class": FailureClass::Listener, "message": "there is no site to call"}})
    }

    fn keep(&mut self, _: Value) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AppMeta, Cxn, Secret, Tls};
    use std::sync::Mutex;

    /// An event, a priority, a word for it, and what it does.
    type Function = (&'static str, i32, &'static str, fn(&mut PollEvent) -> Outcome);

    /// Hands one poll event to functions, and tells which were called.
    fn poll(functions: Vec<Function>) -> (Outcome, Vec<&'static str>) {
        let called = Arc::new(Mutex::new(Vec::new()));
        let mut listeners = Listeners::default();
        for (event, priority, word, function) in functions {
            let called = Arc::clone(&called);
            let action = Action::Poll(Box::new(move |event| {
                called.lock().unwrap().push(word);
                function(event)
            }));
            listeners.add(Listener { event: event.parse().unwrap(), priority, stop: false, action });
        }
        let app_id: AppId = "app:org.example.myapp".parse().unwrap();
        let app = AppMeta {
            app_id: app_id.clone(),
            app_cert: String::new(),
            disabled: false,
            tls: Tls::Verify,
            metadata: Value::Null,
        };
        let cxn = Cxn {
            cxn_id: "cxn:1".parse().unwrap(),
            secret: Secret::from_bytes([7; 32]),
            app_id,
            app_url: "https://app.example.org".into(),
            site_url: "https://site.example.org".to_owned(),
            perm: Arc::new(Value::Null),
            via_port: None,
            batch_code: 7.try_into().unwrap(),
            disabled: false,
        };
        let job = JobName::default();
        let mut event = PollEvent::new(&app, &job, &cxn, 0, None, false);
        let outcome = listeners.of(&app.app_id, &job, Phase::Poll).caller().poll(&mut event).unwrap();
        let called = called.lock().unwrap().clone();
        (outcome, called)
    }

    const MINE: &str = "app:org.example.myapp:job=default:poll";

    #[test]
    fn the_highest_priority_comes_first_and_can_stop_the_others() {
        let (outcome, called) = poll(vec![
            ("civi_cxn.poll", 99, "general", |_| Ok(())),
            (MINE, 0, "low", |_| Ok(())),
            (MINE, 5, "high", |_| Ok(())),
            ("app:org.example.other:job=default:poll", 5, "other", |_| Ok(())),
        ]);
        assert_eq!((outcome, called), (Ok(()), vec!["high", "low", "general"]));
        let (outcome, called) = poll(vec![
            (MINE, 0, "low", |_| Ok(())),
            (MINE, 5, "high", |event| {
                event.stop_propagation();
                Ok(())
            }),
        ]);
        assert_eq!((outcome, called), (Ok(()), vec!["high"]));
    }

    #[test]
    fn a_panic_and_an_error_are_failures_of_the_poll() {
        let (outcome, called) = poll(vec![(MINE, 1, "one", |_| panic!("what\nnow")), (MINE, 0, "two", |_| Ok(()))]);
        let failure = outcome.unwrap_err();
        assert_eq!((failure.class, called), (FailureClass::Listener, vec!["one"]));
        assert!(failure.message.ends_with("panicked: what now"), "{failure}");
        let (outcome, _) = poll(vec![(MINE, 0, "one", |event| event.call("System", "get", json!(3)).map(drop))]);
        assert!(outcome.unwrap_err().message.contains("no object"));
        let (outcome, _) = poll(vec![(MINE, 0, "one", |_| Err("nothing there".into()))]);
        assert_eq!(outcome.unwrap_err().to_string(), "listener: nothing there");
    }

    #[test]
    fn what_is_kept_shows_no_secret() {
        let (outcome, _) = poll(vec![(MINE, 0, "one", |event| {
            let leak = format!("key={}", event.cxn.secret.to_base64());
            event.keep(json!({"a": [leak.clone()], leak: 1}));
            event.keep(json!({"b": 2}));
            let kept = event.kept.clone().unwrap_or_default();
            let safe = !kept.to_string().contains(&event.cxn.secret.to_base64()[..8]);
            if safe && kept["b"] == 2 && kept.get("a").is_some() { Ok(()) } else { Err(kept.to_string().into()) }
        })]);
        assert_eq!(outcome, Ok(()));
    }
}
