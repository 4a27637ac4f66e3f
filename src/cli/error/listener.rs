//! Errors of listeners: their text and hint.

use std::fmt;

use super::file;
use super::report::Report;
use crate::listener::{self, EventName, InvalidListener};
use crate::util::file_error::FileError;

/// What `config check` finds about a listener.
#[derive(Debug)]
pub(in crate::cli) enum ListenerProblem<'a> {
    /// A file that its program needs cannot be used.
    Program {
        /// The listener's event.
        event: &'a EventName,
        /// The file, and why.
        error: FileError,
    },
    /// Neither the configuration nor the store has the app of its event.
    UnknownApp {
        /// The listener's event.
        event: &'a EventName,
        /// A similar known name; `None` if there is none.
        suggestion: Option<&'a String>,
    },
}

impl fmt::Display for ListenerProblem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program { event, error } => write!(f, "the listener of {event}: {}", file::text(error)),
            Self::UnknownApp { event, suggestion } => {
                write!(f, "the listener of {event} is never called: there is no such app")?;
                suggestion.map_or(Ok(()), |name| write!(f, "; did you mean {name}?"))
            }
        }
    }
}

impl From<listener::Error> for Report {
    fn from(error: listener::Error) -> Self {
        match error {
            listener::Error::Event { event, failure } => Self::config(format!("{event} failed: {}", failure.message)),
            listener::Error::Program(failure) => Self::config(failure.to_string())
                .hint("`cxnpoll event APP --cxn ID` prints an event to pass to the program by hand"),
        }
    }
}

impl From<InvalidListener> for Report {
    fn from(error: InvalidListener) -> Self {
        match error {
            InvalidListener::Name(error) => Self::config(error.to_string()),
            InvalidListener::WrongMethod(event) => Self::config(format!(
                "the method that adds a listener does not fit the event {event}"
            ))
            .hint(
                "use `on` for polls, `around` for the start and end of runs, and `on_registration` for registrations",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit;
    use crate::listener::{ProgramError, ProgramFailure};
    use crate::model::{Failure, FailureClass};
    use std::time::Duration;

    #[test]
    fn a_failed_event_is_named_and_has_no_hint() {
        let failure = Failure::new(FailureClass::Listener, "the warehouse is closed");
        let event = "app:org.example.myapp:job=default:pre-poll".parse().unwrap();
        let error = Report::from(listener::Error::Event { event, failure });
        assert_eq!((error.exit_code, error.hint), (exit::CONFIG, None));
        assert_eq!(error.message, "app:org.example.myapp:job=default:pre-poll failed: the warehouse is closed");
    }

    #[test]
    fn a_broken_program_has_a_hint() {
        let failure = ProgramFailure {
            program: "sh listener.sh".into(),
            error: ProgramError::Timeout(Duration::from_millis(1500)),
            last_stderr_line: Some("waiting".into()),
            has_cut_line: false,
        };
        let error = Report::from(listener::Error::Program(failure));
        assert_eq!(error.exit_code, exit::CONFIG);
        assert_eq!(
            error.message,
            "the program sh listener.sh took longer than 1.5 s; its last line on stderr: waiting"
        );
        assert!(error.hint.unwrap().starts_with("`cxnpoll event APP --cxn ID` prints "));
    }

    #[test]
    fn a_problem_of_a_listener_names_its_event() {
        let event = "app:org.example.pol:job=default:poll".parse().unwrap();
        let unknown = |suggestion| ListenerProblem::UnknownApp { event: &event, suggestion }.to_string();
        let expected = "the listener of app:org.example.pol:job=default:poll is never called: there is no such app";
        assert_eq!(unknown(None), expected);
        assert_eq!(
            unknown(Some(&"org.example.poll".to_owned())),
            format!("{expected}; did you mean org.example.poll?")
        );
    }

    #[test]
    fn a_listener_that_cannot_be_added_names_its_event() {
        let invalid = "civi_cxn.pol".parse::<listener::EventName>().unwrap_err();
        let error = Report::from(InvalidListener::Name(invalid));
        assert_eq!((error.exit_code, error.hint), (exit::CONFIG, None));
        assert!(error.message.starts_with("unknown name 'pol' in the event 'civi_cxn.pol'"), "{}", error.message);
        let error = Report::from(InvalidListener::WrongMethod("civi_cxn.poll".parse().unwrap()));
        assert_eq!(error.exit_code, exit::CONFIG);
        assert!(error.message.ends_with(" civi_cxn.poll"), "{}", error.message);
        assert!(error.hint.unwrap().starts_with("use `on` for polls"));
    }
}
