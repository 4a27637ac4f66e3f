//! The whole command line as a library, with listeners in Rust.

use std::process::ExitCode;

use crate::cli;
use crate::listener::{Action, EventName, Listener, Phase, PollEvent, RunEvent};
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
    /// Why an event was refused; `None` if none was.
    error: Option<String>,
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

    fn add(mut self, On { event, priority }: On, action: Action) -> Self {
        let fits = |name: &EventName| (name.phase == Phase::Poll) == matches!(action, Action::Poll(_));
        match event.parse::<EventName>() {
            Ok(event) if fits(&event) => self.listeners.push(Listener { event, priority, stop: false, action }),
            Ok(event) => {
                self.error = Some(format!("{event}: use `on` for polls, and `around` for the start and end of runs"));
            }
            Err(error) => self.error = Some(error.to_string()),
        }
        self
    }

    /// Runs the command line with the arguments of the process.
    #[must_use = "cron needs the exit code"]
    pub fn run(self) -> ExitCode {
        if let Some(error) = self.error {
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("error: {error}\n"));
            return crate::exit::CONFIG.into();
        }
        cli::run_with(std::env::args_os(), self.listeners).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_misplaced_event_names_are_errors() {
        let app = |name: &str| App::new().on(name, |_| Ok(()));
        assert_eq!(app("civi_cxn.poll").error, None);
        assert!(app("civi_cxn.pol").error.is_some());
        assert!(app("civi_cxn.pre-poll").error.is_some());
        assert!(App::new().around(("civi_cxn.pre-poll", 3), |_| Ok(())).error.is_none());
        assert!(App::new().around("civi_cxn.poll", |_| Ok(())).error.is_some());
    }
}
