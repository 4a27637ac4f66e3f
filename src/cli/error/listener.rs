//! Errors of listeners: their text and hint.

use super::report::Report;
use crate::exit;
use crate::listener;

impl From<listener::Error> for Report {
    fn from(error: listener::Error) -> Self {
        match error {
            listener::Error::Event { event, failure } => {
                Self::new(exit::CONFIG, format!("{event} failed: {}", failure.message))
            }
            listener::Error::Program(failure) => Self::new(exit::CONFIG, failure.to_string())
                .hint("`cxnpoll event APP --cxn ID` prints an event to pass to the program by hand"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        };
        let error = Report::from(listener::Error::Program(failure));
        assert_eq!(error.exit_code, exit::CONFIG);
        assert_eq!(
            error.message,
            "the program sh listener.sh took longer than 1.5 s; its last line on stderr: waiting"
        );
        assert!(error.hint.unwrap().starts_with("`cxnpoll event APP --cxn ID` prints "));
    }
}
