//! The channels, and how each delivers a message.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mail_builder::MessageBuilder;
use mail_builder::headers::raw::Raw;

use super::error::DeliveryError;
use super::message::Message;
use super::{program, webhook};
use crate::config::{self, NotifyTable};
use crate::site::Client;
use crate::util::time::unix_now;

/// The program that sends mail by default.
const SENDMAIL: &str = "/usr/sbin/sendmail";

/// A way to deliver messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// A program that reads JSON.
    Command,
    /// A URL that JSON is posted to.
    Webhook,
    /// Mail.
    Sendmail,
}

impl Channel {
    /// All channels.
    pub const ALL: [Self; 3] = [Self::Command, Self::Webhook, Self::Sendmail];

    /// The name, which is that of its key.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Webhook => "webhook",
            Self::Sendmail => "sendmail",
        }
    }

    /// The channels of a table.
    #[must_use]
    pub fn of(table: &NotifyTable) -> Vec<Self> {
        let is_there = |channel: &Self| match channel {
            Self::Command => table.command.is_some(),
            Self::Webhook => table.webhook.is_some(),
            Self::Sendmail => table.sendmail.is_some(),
        };
        Self::ALL.into_iter().filter(is_there).collect()
    }
}

/// Delivers messages.
pub struct Sender<'a> {
    /// The table `[notify]`.
    pub table: &'a NotifyTable,
    /// The directory that a program starts in, and that its path is relative to.
    pub dir: &'a Path,
    /// Makes the client for the webhook.
    pub client: &'a dyn Fn() -> Result<Client, config::Error>,
    /// Becomes true once the process is to end.
    pub stop: Arc<AtomicBool>,
}

impl Sender<'_> {
    /// Delivers a message over a channel of the table.
    ///
    /// # Errors
    /// The channel did not accept it. It may have it nevertheless, if the process was asked to end, or a time limit passed.
    pub fn send(&self, channel: Channel, message: &Message) -> Result<(), DeliveryError> {
        let Self { table, dir, client, stop } = self;
        match channel {
            Channel::Command => {
                let command = table.command.as_deref().unwrap_or_default();
                let mut line = json(message);
                line.push(b'\n');
                program::run(command, dir, line, stop)
            }
            Channel::Webhook => {
                let Some(url) = &table.webhook else { return Ok(()) };
                let key = table.webhook_secret_file.as_deref().map(webhook::read_key).transpose()?;
                let client = client().map_err(DeliveryError::Client)?;
                webhook::post(client, url.0.clone(), key.as_deref(), &message.id, json(message), stop)
            }
            Channel::Sendmail => {
                let command = [&*sendmail_program(table), "-i", "-t"].map(str::to_owned);
                program::run(&command, dir, mail(table, message).map_err(DeliveryError::Mail)?, stop)
            }
        }
    }
}

/// The absolute path of the program that sends mail.
pub(crate) fn sendmail_program(table: &NotifyTable) -> String {
    let program = table.sendmail_program.as_deref().unwrap_or(Path::new(SENDMAIL));
    // It is relative to the current directory, and the program starts in that of the configuration.
    std::path::absolute(program).as_deref().unwrap_or(program).to_string_lossy().into_owned()
}

/// The JSON document of a message, without line ends.
fn json(message: &Message) -> Vec<u8> {
    serde_json::json!(message).to_string().into_bytes()
}

/// A message as mail, with the line ends that a local program expects.
fn mail(table: &NotifyTable, message: &Message) -> std::io::Result<Vec<u8>> {
    let addresses = |text: &str| text.split(',').map(|address| address.trim().to_owned()).collect::<Vec<_>>();
    let is_name = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let host: String = message.host.chars().filter(is_name).collect();
    let from = table.from.clone().unwrap_or_else(|| format!("cxnpoll@{host}"));
    let mail = MessageBuilder::new()
        .from(addresses(&from))
        .to(addresses(table.sendmail.as_deref().unwrap_or_default()))
        .subject(message.subject.as_str())
        .date(unix_now())
        .message_id(format!("{}@{host}", message.id))
        // Neither absence notes nor mailing lists answer it.
        .header("Auto-Submitted", Raw::new("auto-generated"))
        .text_body(message.text.as_str());
    Ok(mail.write_to_string()?.replace("\r\n", "\n").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::templates::sample;

    #[test]
    fn the_program_that_sends_mail_is_found_from_any_directory() {
        let program = |path: Option<&str>| {
            sendmail_program(&NotifyTable { sendmail_program: path.map(Into::into), ..NotifyTable::default() })
        };
        assert_eq!([program(None), program(Some("/opt/send"))], [SENDMAIL, "/opt/send"]);
        let relative = std::env::current_dir().unwrap().join("conf/send");
        assert_eq!(Path::new(&program(Some("conf/send"))), relative);
    }

    #[test]
    fn a_mail_has_one_header_per_line_whatever_the_subject_has() {
        let table = NotifyTable { sendmail: Some("ops@example.org, root".to_owned()), ..NotifyTable::default() };
        let message = Message {
            id: "1".to_owned(),
            subject: "ä\r\nBcc: x@example.org".to_owned(),
            text: "größer\n.\nFrom here\n".to_owned(),
            ..sample()
        };
        let mail = String::from_utf8(mail(&table, &message).unwrap()).unwrap();
        let (headers, body) = mail.split_once("\n\n").unwrap();
        let has = |line: &str| headers.lines().any(|header| header == line);
        assert!(has("To: <ops@example.org>, <root>") && has("From: <cxnpoll@host.example.org>"), "{headers}");
        assert!(has("Message-ID: <1@host.example.org>") && has("Auto-Submitted: auto-generated"), "{headers}");
        assert!(!headers.lines().any(|header| header.starts_with("Bcc")) && headers.is_ascii(), "{headers}");
        assert!(!mail.contains('\r') && body == "Z3LDtsOfZXIKLgpGcm9tIGhlcmUK\n", "{mail}");
    }
}
