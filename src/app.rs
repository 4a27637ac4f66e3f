//! A program of one's own: the whole command line, with listeners in Rust.

use std::process::ExitCode;

use crate::cli;
use crate::listener::{Action, EventName, Listener, Phase, PollEvent, RunEvent};
use crate::model::Failure;

/// The whole command line of `cxnpoll`, with listeners in it.
///
/// ```no_run
/// use cxnpoll::{App, Failure, PollEvent};
/// use serde_json::json;
///
/// fn count_contacts(event: &mut PollEvent) -> Result<(), Failure> {
///     let reply = event.call("Contact", "getcount", json!({"is_deleted": 0}))?;
///     let count = reply["result"].as_u64().ok_or("the reply holds no number")?;
///     event.keep(json!({"contacts": count}));
///     Ok(())
/// }
///
/// fn main() -> std::process::ExitCode {
///     App::new().on("app:org.example.myapp:job=default:poll", count_contacts).run()
/// }
/// ```
#[derive(Debug, Default)]
#[must_use = "it does nothing until it is run"]
pub struct App {
    listeners: Vec<Listener>,
    mistake: Option<String>,
}

/// An event, and perhaps a priority: `"civi_cxn.poll"`, or `("civi_cxn.poll", 10)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct On {
    event: String,
    priority: i32,
}

impl From<&str> for On {
    /// Priority 0.
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
    /// The command line without any listener.
    pub fn new() -> Self {
        Self::default()
    }

    /// Has a function called at each visit to a site: for one job (`app:org.example.myapp:job=default:poll`), or for all
    /// (`civi_cxn.poll`). Listeners are called in order of priority, the highest first; what it returns as an error, and a
    /// panic, make the poll a failure and hurt no other. Several workers call it at the same time.
    pub fn on<F>(self, on: impl Into<On>, listener: F) -> Self
    where
        F: Fn(&mut PollEvent<'_>) -> Result<(), Failure> + Send + Sync + 'static,
    {
        self.add(on.into(), Action::Poll(Box::new(listener)))
    }

    /// Has a function called before the first poll of a run (`…:pre-poll`) or after its last (`…:post-poll`). An error
    /// before the first stops the run before any poll; its exit code is 78.
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
                self.mistake = Some(format!("{event}: visits to sites are for `on`, beginnings and ends for `around`"));
            }
            Err(error) => self.mistake = Some(error),
        }
        self
    }

    /// Runs the command line with the arguments of the process.
    #[must_use = "the exit code is what cron looks at"]
    pub fn run(self) -> ExitCode {
        if let Some(mistake) = self.mistake {
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("error: {mistake}\n"));
            return crate::exit::CONFIG.into();
        }
        cli::run_with(std::env::args_os(), self.listeners).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_event_has_is_a_mistake() {
        let app = |name: &str| App::new().on(name, |_| Ok(()));
        assert_eq!(app("civi_cxn.poll").mistake, None);
        assert!(app("civi_cxn.pol").mistake.is_some());
        assert!(app("civi_cxn.pre-poll").mistake.is_some());
        assert!(App::new().around(("civi_cxn.pre-poll", 3), |_| Ok(())).mistake.is_none());
        assert!(App::new().around("civi_cxn.poll", |_| Ok(())).mistake.is_some());
    }
}
