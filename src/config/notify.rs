//! Notifications as the configuration file defines them.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use crate::retry::duration::TimeLimit;
use crate::site::Endpoint;
use crate::util::home;

/// The table `[notify]`. Without a channel, nothing is sent.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct NotifyTable {
    /// A channel sends at most one message in this time, by the clock of the schedule.
    pub every: TimeLimit,
    /// A program, and its arguments, that gets each message on its standard input.
    #[serde(deserialize_with = "command")]
    pub command: Option<Vec<String>>,
    /// The URL that each message is posted to.
    pub webhook: Option<WebhookUrl>,
    /// The file of the key that messages to the URL are signed with.
    #[serde(deserialize_with = "home::deserialize")]
    pub webhook_secret_file: Option<PathBuf>,
    /// The addresses that get each message by mail, separated by commas.
    #[serde(deserialize_with = "addresses")]
    pub sendmail: Option<String>,
    /// The program that sends mail.
    #[serde(deserialize_with = "home::deserialize")]
    pub sendmail_program: Option<PathBuf>,
    /// The address that mail is from.
    #[serde(deserialize_with = "addresses")]
    pub from: Option<String>,
    /// The template of the subject.
    pub subject: Option<String>,
    /// The template of the text.
    pub body: Option<String>,
}

impl Default for NotifyTable {
    fn default() -> Self {
        Self {
            every: TimeLimit(Duration::from_secs(3600)),
            command: None,
            webhook: None,
            webhook_secret_file: None,
            sendmail: None,
            sendmail_program: None,
            from: None,
            subject: None,
            body: None,
        }
    }
}

impl NotifyTable {
    /// Whether messages are sent at all.
    #[must_use]
    pub fn has_channel(&self) -> bool {
        self.command.is_some() || self.webhook.is_some() || self.sendmail.is_some()
    }
}

/// The URL of a webhook, of http or https. It may hold a key, so its debug output leaves it out.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(pub String);

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookUrl(…)")
    }
}

impl<'de> Deserialize<'de> for WebhookUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let url = String::deserialize(deserializer)?;
        match Endpoint::new(&url, None) {
            Ok(_) => Ok(Self(url)),
            // The URL is not shown.
            Err(_) => Err(de::Error::custom("expected an http or https URL")),
        }
    }
}

fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    let command = Vec::<String>::deserialize(deserializer)?;
    if command.first().is_none_or(String::is_empty) {
        return Err(de::Error::custom("`command` is empty: expected a list such as [\"python3\", \"notify.py\"]"));
    }
    Ok(Some(command))
}

/// Reads addresses of mail, none of which could be taken for an option or for another header.
fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_address = |address: &str| {
        let is_plain = |c: char| c.is_ascii_graphic() && !"<>()[]\"\\,;:".contains(c);
        !address.is_empty() && !address.starts_with('-') && address.chars().all(is_plain)
    };
    if !text.split(',').map(|address| address.trim_matches(' ')).all(is_address) {
        return Err(de::Error::custom(
            "expected an address such as ops@example.org, or several with commas between them",
        ));
    }
    Ok(Some(text))
}
