//! The dispatcher: passes an event to its listeners, one after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Map, Value, json};

use super::calls::{self, Method};
use super::chain::{Action, ListenerChain};
use super::error::Error;
use super::event::{NO_SITE, PollEvent, RunEvent};
use super::program::{EXIT_GRACE, EventResult, Host, Process};
use super::registration::RegistrationEvent;
use crate::model::{Failure, FailureClass, Outcome};
use crate::protocol::redact_text;
use crate::util::text::panic_message;

/// Calls the listeners of an event, and holds the processes that serve event after event.
///
/// The processes get [`EXIT_GRACE`] to exit when it is dropped.
pub struct Dispatcher {
    chain: ListenerChain,
    /// The running process of each listener that is a program.
    processes: Vec<Option<Process>>,
}

impl ListenerChain {
    /// Makes a dispatcher with its own processes.
    #[must_use]
    pub fn dispatcher(&self) -> Dispatcher {
        Dispatcher { chain: self.clone(), processes: self.0.iter().map(|_| None).collect() }
    }
}

impl Dispatcher {
    /// Passes a poll event to the listeners.
    ///
    /// A listener that fails, panics or takes too long fails this poll and no other.
    ///
    /// # Errors
    /// [`Error::Program`] where a program does not work at all, which is no failure of the site.
    pub fn poll(&mut self, event: &mut PollEvent) -> Result<Outcome, Error> {
        if self.processes.is_empty() {
            return Ok(guarded(event, PollEvent::name, system_get));
        }
        for (listener, process) in self.chain.0.iter().zip(&mut self.processes) {
            let outcome = match &listener.action {
                Action::Calls { calls, keep } => calls::make(calls, *keep, event),
                Action::Poll(function) => guarded(event, PollEvent::name, function),
                Action::Program(program) => {
                    event.call_failure = None;
                    let line = event.to_json();
                    match program.handle(process, &line, event) {
                        EventResult::Ok { stop } => {
                            event.stopped |= stop;
                            Ok(())
                        }
                        // If the last call got no reply, its failure is the cause, and may hold a `Retry-After`.
                        EventResult::Failed(message) => {
                            Err(event.call_failure.take().unwrap_or_else(|| reported_failure(event, &message)))
                        }
                        EventResult::Lost(failure) => Err(failure.to_string().into()),
                        EventResult::Broken(failure) => return Err(Error::Program(failure)),
                    }
                }
                Action::Run(_) | Action::Registration(_) => Ok(()),
            };
            if outcome.is_err() || listener.stop || event.stopped {
                return Ok(outcome);
            }
        }
        Ok(Ok(()))
    }

    /// Passes the event of the start or end of a run to the listeners.
    ///
    /// # Errors
    /// The first listener that fails, and a program that does not work.
    pub(crate) fn run(&mut self, event: &mut RunEvent) -> Result<(), Error> {
        for (listener, process) in self.chain.0.iter().zip(&mut self.processes) {
            let outcome = match &listener.action {
                Action::Run(function) => guarded(event, RunEvent::name, function),
                Action::Program(program) => match program.handle(process, &event.to_json(), &mut NoSite) {
                    EventResult::Ok { stop } => {
                        event.stopped |= stop;
                        Ok(())
                    }
                    EventResult::Failed(message) => Err(message.into()),
                    EventResult::Lost(failure) => Err(failure.to_string().into()),
                    EventResult::Broken(failure) => return Err(Error::Program(failure)),
                },
                Action::Calls { .. } | Action::Poll(_) | Action::Registration(_) => Ok(()),
            };
            outcome.map_err(|failure| Error::Event { event: event.event_name(), failure })?;
            if listener.stop || event.stopped {
                break;
            }
        }
        Ok(())
    }
}

impl Dispatcher {
    /// Passes the event of a registration to the listeners. The inner error is the refusal of one of them.
    ///
    /// The text of a refusal is that of a program, or of a function, and may hold anything.
    ///
    /// # Errors
    /// A program that does not answer, and a function that panics: no fault of the site.
    pub(crate) fn registration(&mut self, event: &mut RegistrationEvent) -> Result<Outcome, Error> {
        for (listener, process) in self.chain.0.iter().zip(&mut self.processes) {
            let outcome = match &listener.action {
                Action::Registration(function) => {
                    // The message of a panic may hold anything of the event.
                    let called = catch_unwind(AssertUnwindSafe(|| function(event)));
                    called.map_err(|_| Error::Event { event: event.event_name(), failure: "it panicked".into() })?
                }
                Action::Program(program) => match program.handle(process, &event.to_json(), &mut NoSite) {
                    EventResult::Ok { stop } => {
                        event.stopped |= stop;
                        Ok(())
                    }
                    EventResult::Failed(message) => Err(message.into()),
                    EventResult::Lost(failure) | EventResult::Broken(failure) => return Err(Error::Program(failure)),
                },
                Action::Calls { .. } | Action::Poll(_) | Action::Run(_) => Ok(()),
            };
            if outcome.is_err() || listener.stop || event.stopped {
                return Ok(outcome);
            }
        }
        Ok(Ok(()))
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        for (listener, process) in self.chain.0.iter().zip(&mut self.processes) {
            if let (Action::Program(program), Some(process)) = (&listener.action, process.take()) {
                program.end(process, EXIT_GRACE);
            }
        }
    }
}

/// Calls a listener and turns a panic into a failure.
fn guarded<E>(event: &mut E, name: impl Fn(&E) -> String, listener: impl Fn(&mut E) -> Outcome) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| listener(event))).unwrap_or_else(|panic| {
        Err(format!("the listener of {} panicked: {}", name(event), panic_message(&*panic)).into())
    })
}

/// The built-in listener: `System.get`, which proves that the connection works.
fn system_get(event: &mut PollEvent) -> Outcome {
    event.check("System", "get", Map::new(), false)
}

/// The failure that a program reported. Its message may quote the site, and so the secret.
fn reported_failure(event: &PollEvent, message: &str) -> Failure {
    Failure::new(FailureClass::Listener, redact_text(message, &event.cxn.secret))
}

impl Host for PollEvent<'_> {
    fn call(&mut self, method: &str, params: Map<String, Value>) -> Value {
        let reply = match Method::try_from(method.to_owned()) {
            Ok(Method { entity, action }) => self.call_any(&entity, &action, Value::Object(params)),
            Err(error) => Err(format!("'{method}': {error}").into()),
        };
        match reply {
            // `json!` would copy the reply.
            Ok(reply) => Value::Object(Map::from_iter([("reply".to_owned(), reply)])),
            Err(failure) => json!({"failure": {"class": failure.class, "message": failure.message}}),
        }
    }

    fn keep(&mut self, value: Value) {
        PollEvent::keep(self, value);
    }
}

/// The host of an event without a site.
struct NoSite;

impl Host for NoSite {
    fn call(&mut self, _: &str, _: Map<String, Value>) -> Value {
        json!({"failure": {"class": FailureClass::Listener, "message": NO_SITE}})
    }

    fn keep(&mut self, _: Value) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Batch;
    use crate::listener::{Listener, Listeners, Phase, Program, ProgramError};
    use crate::model::{AppMeta, Cxn, JobName, Secret};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    /// An event, a priority, a label, and what the function does.
    type Function = (&'static str, i32, &'static str, fn(&mut PollEvent) -> Outcome);

    fn app() -> AppMeta {
        AppMeta::bare("app:org.example.myapp".parse().unwrap())
    }

    fn connection() -> (AppMeta, Cxn) {
        let app = app();
        let cxn = Cxn {
            cxn_id: "cxn:1".parse().unwrap(),
            secret: Secret::from_bytes([7; 32]),
            app_id: app.app_id.clone(),
            app_url: "https://app.example.org".into(),
            site_url: "https://site.example.org".into(),
            perm: Arc::new(Value::Null),
            via_port: None,
            batch_code: 7.try_into().unwrap(),
            disabled: false,
        };
        (app, cxn)
    }

    /// Passes one poll event to functions; returns the outcome and the labels of those that were called.
    fn poll(functions: Vec<Function>) -> (Outcome, Vec<&'static str>) {
        let called = Arc::new(Mutex::new(Vec::new()));
        let mut listeners = Listeners::default();
        for (event, priority, label, function) in functions {
            let called = Arc::clone(&called);
            let action = Action::Poll(Box::new(move |event| {
                called.lock().unwrap().push(label);
                function(event)
            }));
            listeners.add(Listener { event: event.parse().unwrap(), priority, stop: false, action });
        }
        let (app, cxn) = connection();
        let job = JobName::default();
        let mut event = PollEvent::new(&app, &job, &cxn, 0, None, false);
        let outcome = listeners.of(&app.app_id, &job, Phase::Poll).dispatcher().poll(&mut event).unwrap();
        let called = called.lock().unwrap().clone();
        (outcome, called)
    }

    const OF_JOB: &str = "app:org.example.myapp:job=default:poll";

    #[test]
    fn listeners_run_by_priority_and_can_stop_propagation() {
        let (outcome, called) = poll(vec![
            ("civi_cxn.poll", 99, "general", |_| Ok(())),
            (OF_JOB, 0, "low", |_| Ok(())),
            (OF_JOB, 5, "high", |_| Ok(())),
            ("app:org.example.other:job=default:poll", 5, "other", |_| Ok(())),
        ]);
        assert_eq!((outcome, called), (Ok(()), vec!["high", "low", "general"]));
        let (outcome, called) = poll(vec![
            (OF_JOB, 0, "low", |_| Ok(())),
            (OF_JOB, 5, "high", |event| {
                event.stop_propagation();
                Ok(())
            }),
        ]);
        assert_eq!((outcome, called), (Ok(()), vec!["high"]));
    }

    #[test]
    fn a_panic_and_an_error_are_failures_of_the_poll() {
        let (outcome, called) = poll(vec![(OF_JOB, 1, "one", |_| panic!("what\nnow")), (OF_JOB, 0, "two", |_| Ok(()))]);
        let failure = outcome.unwrap_err();
        assert_eq!((failure.class, called), (FailureClass::Listener, vec!["one"]));
        assert!(failure.message.ends_with("panicked: what now"), "{failure}");
        let (outcome, _) = poll(vec![(OF_JOB, 0, "one", |event| event.call("System", "get", json!(3)).map(drop))]);
        assert!(outcome.unwrap_err().message.contains("not an object"));
        let (outcome, _) = poll(vec![(OF_JOB, 0, "one", |_| Err("nothing there".into()))]);
        assert_eq!(outcome.unwrap_err().to_string(), "listener: nothing there");
    }

    #[test]
    fn kept_values_contain_no_secret() {
        let (outcome, _) = poll(vec![(OF_JOB, 0, "one", |event| {
            let leak = format!("key={}", event.cxn.secret.to_base64());
            event.keep(json!({"a": [leak.clone()], leak: 1}));
            event.keep(json!({"b": 2}));
            let kept = event.kept.clone().unwrap_or_default();
            let safe = !kept.to_string().contains(&event.cxn.secret.to_base64()[..8]);
            if safe && kept["b"] == 2 && kept.get("a").is_some() { Ok(()) } else { Err(kept.to_string().into()) }
        })]);
        assert_eq!(outcome, Ok(()));
    }

    /// Passes the event of a run's start to one listener.
    fn start_run(action: Action) -> Result<(), Error> {
        let mut listeners = Listeners::default();
        listeners.add(Listener { event: "civi_cxn.pre-poll".parse().unwrap(), priority: 0, stop: false, action });
        let (app, job) = (app(), JobName::default());
        let mut event = RunEvent::new(&app, &job, Batch::default(), 0, 1, None);
        listeners.of(&app.app_id, &job, Phase::PrePoll).dispatcher().run(&mut event)
    }

    fn shell(script: &str) -> Program {
        let command = ["sh", "-c", script].map(str::to_owned).into();
        Program { command, directory: ".".into(), timeout: Duration::from_secs(30), ..Program::default() }
    }

    #[test]
    fn a_failure_at_the_start_of_a_run_names_the_event() {
        let closed = |_: &mut RunEvent<'_>| Err("the warehouse is closed".into());
        for action in
            [Action::Run(Box::new(closed)), Action::Program(shell("echo '{\"error\":\"the warehouse is closed\"}'"))]
        {
            let Err(Error::Event { event, failure }) = start_run(action) else { panic!("it did not fail") };
            assert_eq!(event.to_string(), "app:org.example.myapp:job=default:pre-poll");
            assert_eq!(failure.message, "the warehouse is closed");
        }
    }

    #[test]
    fn a_run_has_no_site_to_call() {
        let script = "read -r event; echo '{\"call\":\"System.get\"}'; read -r reply; \
                      case $reply in *'there is no site'*) echo '{\"ok\":true}';; esac";
        assert!(start_run(Action::Program(shell(script))).is_ok());
    }

    #[test]
    fn a_program_that_does_not_work_is_a_program_error() {
        let missing = Program { command: vec!["./no-such-program".into()], ..shell("") };
        let error = start_run(Action::Program(missing)).unwrap_err();
        assert!(matches!(error, Error::Program(failure) if matches!(failure.error, ProgramError::Start { .. })));
    }
}
