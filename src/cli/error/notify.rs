//! Texts, hints and exit codes about notifications.

use super::file;
use super::report::Report;
use crate::notify::{self, Channel, DeliveryError, TemplateError};
use crate::run::Summary;
use crate::util::text::count;

/// What to do about a template that fails.
pub(in crate::cli) const TEMPLATE_REMEDY: &str = "correct the template: see docs/notifications.md";

impl From<notify::Error> for Report {
    fn from(error: notify::Error) -> Self {
        match error {
            notify::Error::File(error) => crate::store::Error::File(error).into(),
            notify::Error::Store(error) => error.into(),
        }
    }
}

/// The report of a command that needs a channel. `channel` is `None` if none is configured at all.
pub(in crate::cli) fn no_channel(channel: Option<Channel>) -> Report {
    let message = match channel {
        Some(channel) => format!("notifications have no channel `{}`", channel.name()),
        None => "notifications have no channel".to_owned(),
    };
    Report::config(message)
        .hint("add one to the table [notify] of the configuration: `sendmail`, `webhook` or `command`")
}

/// The line about a message that a channel did not accept.
pub(in crate::cli) fn delivery_text(channel: Channel, error: DeliveryError) -> String {
    format!("the notification by {} was not delivered: {}", channel.name(), delivery_reason(error))
}

/// Why a channel cannot deliver.
pub(in crate::cli) fn delivery_reason(error: DeliveryError) -> String {
    match error {
        DeliveryError::Stopped => "the process was asked to end".to_owned(),
        DeliveryError::Start { program, source } => format!("cannot execute {program}: {source}"),
        DeliveryError::Exit { program, status, last_line } if last_line.is_empty() => {
            format!("{program} failed: {status}")
        }
        DeliveryError::Exit { program, status, last_line } => format!("{program} failed: {status}: {last_line}"),
        DeliveryError::Timeout { program, limit } => {
            format!("{program} was killed, because it took more than {} s", limit.as_secs())
        }
        DeliveryError::NoThread(error) => format!("cannot start a thread: {error}"),
        DeliveryError::Webhook(failure) => failure.to_string(),
        DeliveryError::File(error) => file::text(&error),
        DeliveryError::ExposedKey(path) => format!("all users may read the key {}", path.display()),
        DeliveryError::NoKey(path) => format!("{} has no key", path.display()),
        DeliveryError::Client(error) => Report::from(error).message,
        DeliveryError::Mail(error) => format!("cannot make the mail: {error}"),
    }
}

/// What is wrong with a template of the configuration.
pub(in crate::cli) fn template_text(error: &TemplateError) -> String {
    let TemplateError { key, line, reason } = error;
    let line = line.map_or_else(String::new, |line| format!(" (line {line})"));
    format!("notify: the template `{key}`{line}: {reason}")
}

/// The report of a command that needs templates that work.
pub(in crate::cli) fn bad_templates(errors: &[TemplateError]) -> Report {
    let texts: Vec<_> = errors.iter().map(template_text).collect();
    Report::config(texts.join("; ")).hint(TEMPLATE_REMEDY)
}

/// The line about sites that a run gave up.
pub(in crate::cli) fn given_up_text(summary: &Summary) -> String {
    let (given_up, named) = (summary.run.given_up, &summary.given_up_sites);
    let were = if given_up == 1 { "was" } else { "were" };
    let more = given_up.saturating_sub(named.len() as u64);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let job = format!("{} {}", summary.app_id.short(), summary.job);
    format!("{} of {job} {were} given up: {}{more}", count(given_up, "site"), named.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Failure, FailureClass};

    #[test]
    fn a_failed_delivery_names_the_channel_and_the_reason() {
        let failure = Failure::new(FailureClass::Connect, "connection refused");
        assert_eq!(
            delivery_text(Channel::Webhook, DeliveryError::Webhook(failure)),
            "the notification by webhook was not delivered: connect: connection refused"
        );
        let key = DeliveryError::ExposedKey("/etc/cxnpoll/key".into());
        assert_eq!(delivery_reason(key), "all users may read the key /etc/cxnpoll/key");
        assert_eq!(no_channel(Some(Channel::Command)).message, "notifications have no channel `command`");
    }
}
