//! The whole command line as a library, with listeners in Rust.

use std::process::ExitCode;

use crate::cli;
use crate::listener::{Action, EventName, InvalidListener, Listener, Phase, PollEvent, RegistrationEvent, RunEvent};
use crate::model::Failure;

/// The whole command line of `cxnpoll`, with listeners of your own.
///
/// ```no_run
/// use cxnpoll::{App, Failure, PollEvent};
/// use serde_json::json;
///
/// fn count_contacts(event: &mut PollEvent) -> Result<(), Failure> {
///     let reply = event.call("Contact", "getcount", json!({"is_deleted": 0}))?;
///     let count = reply["result"].as_u64().ok_or("the reply has no number")?;
///     event.keep(json!({"contacts": count}));
///     Ok(())
/// }
///
/// fn main() -> std::process::ExitCode {
///     App::new().on("app:org.example.myapp:job=default:poll", count_contacts).run()
/// }
/// ```
#[derive(Debug, Default)]
#[must_use = "the command line does nothing until it is run"]
pub struct App {
    listeners: Vec<Listener>,
    /// Why the first listener that was refused cannot be added; `None` if none was.
    error: Option<InvalidListener>,
}

/// An event, with a priority if needed: `"civi_cxn.poll"`, or `("civi_cxn.poll", 10)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct On {
    event: String,
    priority: i32,
}

impl From<&str> for On {
    /// Makes an event with priority 0.
    fn from(event: &str) -> Self {
        (event, 0).into()
    }
}

impl From<(&str, i32)> for On {
    fn from((event, priority): (&str, i32)) -> Self {
        Self { event: event.to_owned(), priority }
    }
}

impl App {
    /// Makes the command line without listeners.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a function that is called at each poll of a site.
    ///
    /// The event is that of one job, such as `app:org.example.myapp:job=default:poll`, or that of all jobs,
    /// `civi_cxn.poll`. Listeners are called by priority, highest first. An error or a panic of the function fails only
    /// this poll. Several workers call the function at the same time.
    pub fn on<F>(self, on: impl Into<On>, listener: F) -> Self
    where
        F: Fn(&mut PollEvent<'_>) -> Result<(), Failure> + Send + Sync + 'static,
    {
        self.add(on.into(), Action::Poll(Box::new(listener)))
    }

    /// Adds a function that is called before the first poll of a run, or after the last.
    ///
    /// The event is `…:pre-poll` or `…:post-poll`. An error at `pre-poll` ends the run before the first poll. An error at
    /// either makes the exit code 78.
    pub fn around<F>(self, on: impl Into<On>, listener: F) -> Self
    where
        F: Fn(&mut RunEvent<'_>) -> Result<(), Failure> + Send + Sync + 'static,
    {
        self.add(on.into(), Action::Run(Box::new(listener)))
    }

    /// Adds a function that is called when a site connects, gets new details, or disconnects.
    ///
    /// The event is that of one app, `app:org.example.myapp:register` or `:unregister`, or that of all apps,
    /// `civi_cxn.register`. An error at `register` refuses the site, which gets its text. Errors at `unregister`, which
    /// comes once the site is disconnected, change nothing.
    pub fn on_registration<F>(self, on: impl Into<On>, listener: F) -> Self
    where
        F: Fn(&mut RegistrationEvent<'_>) -> Result<(), Failure> + Send + Sync + 'static,
    {
        self.add(on.into(), Action::Registration(Box::new(listener)))
    }

    fn add(mut self, on: On, action: Action) -> Self {
        match listener(on, action) {
            Ok(listener) => self.listeners.push(listener),
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
        self
    }

    /// Runs the command line with the arguments of the process.
    ///
    /// If an event was not valid, no command runs, and the exit code is 78.
    #[must_use = "cron needs the exit code"]
    pub fn run(self) -> ExitCode {
        cli::run_with(std::env::args_os(), self.error.map_or(Ok(self.listeners), Err)).into()
    }
}

/// Makes a listener of an action whose kind fits the event.
fn listener(On { event, priority }: On, action: Action) -> Result<Listener, InvalidListener> {
    let event: EventName = event.parse()?;
    let fits = match action {
        Action::Poll(_) => event.phase == Phase::Poll,
        Action::Registration(_) => event.phase.is_registration(),
        _ => matches!(event.phase, Phase::PrePoll | Phase::PostPoll),
    };
    if !fits {
        return Err(InvalidListener::WrongMethod(event));
    }
    Ok(Listener { event, priority, stop: false, action })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_misplaced_event_names_are_errors() {
        let app = |name: &str| App::new().on(name, |_| Ok(()));
        assert_eq!(app("civi_cxn.poll").error, None);
        assert!(matches!(app("civi_cxn.pol").error, Some(InvalidListener::Name(_))));
        assert!(matches!(app("civi_cxn.pre-poll").error, Some(InvalidListener::WrongMethod(_))));
        assert_eq!(App::new().around(("civi_cxn.pre-poll", 3), |_| Ok(())).error, None);
        for name in ["civi_cxn.poll", "civi_cxn.register"] {
            assert!(matches!(App::new().around(name, |_| Ok(())).error, Some(InvalidListener::WrongMethod(_))));
        }
        let registration = |name: &str| App::new().on_registration(name, |_| Ok(()));
        assert_eq!(registration("app:org.example.myapp:unregister").error, None);
        assert!(matches!(registration("civi_cxn.poll").error, Some(InvalidListener::WrongMethod(_))));
    }

    #[test]
    fn the_first_error_is_kept() {
        let app = App::new().on("civi_cxn.post-poll", |_| Ok(())).on("civi_cxn.pol", |_| Ok(()));
        let event = "civi_cxn.post-poll".parse().unwrap();
        assert_eq!(app.error, Some(InvalidListener::WrongMethod(event)));
    }
}
