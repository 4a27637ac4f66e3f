//! The texts, hints and exit codes of the errors of a run.

use super::report::{MORE_THREADS_HINT, Report, argument};
use super::{Error, file};
use crate::exit;
use crate::run;
use crate::util::text::count;

impl From<run::Error> for Report {
    fn from(error: run::Error) -> Self {
        use run::Error as E;
        match error {
            E::Declined { app_id, job, range } => {
                let codes = format!("batch codes {} to {}", range.start().get(), range.end().get());
                Self::new(exit::DECLINED, format!("another run is polling {app_id}, job {job}, {codes}"))
            }
            E::Lock(error) => Self::new(exit::STORE, file::text(&error)),
            E::NoSuchCxn(cxn_id) => Error::UnknownCxn(cxn_id.to_string()).into(),
            E::CxnOfOtherApp { cxn_id, app_id, polled } => Error::OtherApp { cxn_id, app_id, expected: polled }.into(),
            E::CxnDisabled(cxn_id) => Self::usage(format!("{cxn_id} is disabled"))
                .hint(format!("enable it first: cxnpoll enable {}", argument(cxn_id.as_str()))),
            E::OutOfTime => Self::new(
                exit::DECLINED,
                "the maximum runtime was over before the store could be read: nothing was polled",
            )
            .hint("raise --max-runtime, or see which command keeps the store busy"),
            E::NoThread(reason) => {
                Self::new(exit::INTERNAL, format!("cannot start a thread: {reason}")).hint(MORE_THREADS_HINT)
            }
            E::Listener(error) => error.into(),
            E::Store(error) => error.into(),
            E::NotRecorded { outcomes, error } => {
                let Self { message, hint, exit_code } = error.into();
                let outcomes = count(outcomes as u64, "outcome");
                let message = format!("cannot record {outcomes}, so the next run polls again: {message}");
                Self { message, hint, exit_code }
            }
        }
    }
}
