//! Why a program did not answer an event.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use super::wire::WireError;

/// A program that did not answer an event.
///
/// It displays as the message of the failure that a poll is recorded with.
#[derive(Debug)]
pub struct ProgramFailure {
    /// The program and its arguments, made safe to show.
    pub program: String,
    /// What happened.
    pub error: ProgramError,
    /// The last line that the program wrote to stderr; `None` if it wrote nothing.
    pub last_stderr_line: Option<String>,
    /// Whether the program wrote the start of a line to stdout, and not its end.
    pub has_cut_line: bool,
}

/// What happened to a program that did not answer.
#[derive(Debug)]
pub enum ProgramError {
    /// The program could not be started.
    Start {
        /// Its working directory.
        directory: PathBuf,
        /// Why it could not be started.
        source: io::Error,
    },
    /// The program did not answer within this time, and was killed.
    Timeout(Duration),
    /// No event was answered, and nothing came on stdout within this time; the program was killed.
    Silent(Duration),
    /// The program ended; with its status, unless it was killed first.
    Exited(Option<ExitStatus>),
    /// The program wrote something that the protocol does not allow, and was killed.
    Protocol(WireError),
    /// Waiting for the pipes of the program failed.
    Pipes(io::Error),
}

impl fmt::Display for ProgramFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = &self.program;
        match &self.error {
            ProgramError::Start { directory, source } => {
                write!(f, "cannot start the program {program} in {}: {source}", directory.display())?;
            }
            ProgramError::Timeout(limit) => {
                write!(f, "the program {program} took longer than {} s", limit.as_secs_f64())?;
            }
            ProgramError::Silent(limit) => {
                let limit = limit.as_secs_f64();
                write!(
                    f,
                    "the program {program} wrote nothing to stdout within {limit} s (does it flush its output?)"
                )?;
            }
            ProgramError::Exited(Some(status)) => {
                write!(f, "the program {program} ended ({status}) before it answered")?;
            }
            ProgramError::Exited(None) => write!(f, "the program {program} ended before it answered")?,
            ProgramError::Protocol(error) => write!(f, "the program {program} broke the protocol: {error}")?,
            ProgramError::Pipes(error) => write!(f, "cannot wait for the program {program}: {error}")?,
        }
        if self.has_cut_line {
            write!(f, "; its last line on stdout has no line end")?;
        }
        self.last_stderr_line.as_ref().map_or(Ok(()), |line| write!(f, "; its last line on stderr: {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::WireError;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn each_error_has_a_message_with_the_program_and_its_last_line() {
        let json = serde_json::from_str::<i32>("babble").unwrap_err();
        for (error, expected) in [
            (
                ProgramError::Start { directory: "/jobs".into(), source: io::Error::other("permission denied") },
                "cannot start the program ./x -v in /jobs: permission denied",
            ),
            (ProgramError::Timeout(Duration::from_millis(1500)), "the program ./x -v took longer than 1.5 s"),
            (
                ProgramError::Silent(Duration::from_secs(2)),
                "the program ./x -v wrote nothing to stdout within 2 s (does it flush its output?)",
            ),
            (
                ProgramError::Exited(Some(ExitStatus::from_raw(3 << 8))),
                "the program ./x -v ended (exit status: 3) before it answered",
            ),
            (ProgramError::Exited(None), "the program ./x -v ended before it answered"),
            (
                ProgramError::Protocol(WireError::Json { error: json, line: "babble".into() }),
                "the program ./x -v broke the protocol: expected value at line 1 column 1: babble",
            ),
            (
                ProgramError::Protocol(WireError::NoMessage),
                "the program ./x -v broke the protocol: a line without call, log, keep, ok or error",
            ),
            (
                ProgramError::Protocol(WireError::TooLong),
                "the program ./x -v broke the protocol: a line of more than 4194304 bytes",
            ),
            (ProgramError::Pipes(io::Error::other("bad file")), "cannot wait for the program ./x -v: bad file"),
        ] {
            let program = "./x -v".into();
            let mut failure = ProgramFailure { program, error, last_stderr_line: None, has_cut_line: false };
            assert_eq!(failure.to_string(), expected);
            failure.has_cut_line = true;
            assert_eq!(failure.to_string(), format!("{expected}; its last line on stdout has no line end"));
            failure.has_cut_line = false;
            failure.last_stderr_line = Some("no such module".into());
            assert_eq!(failure.to_string(), format!("{expected}; its last line on stderr: no such module"));
        }
    }
}
