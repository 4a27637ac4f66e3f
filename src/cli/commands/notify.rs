//! `cxnpoll notify`: notifications.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tracing::error;

use crate::cli::context::Context;
use crate::cli::error::notify::{bad_templates, delivery_text, no_channel};
use crate::cli::error::{Error, Result};
use crate::cli::notifying::send;
use crate::cli::ui::output;
use crate::cli::ui::table::Table;
use crate::config::NotifyTable;
use crate::exit;
use crate::notify::{Channel, DeliveryError, Notifier, Templates};
use crate::run::Signals;

/// Send a test message over the configured channels
///
/// The message says that it is a test, and has no changes. The exit code is 74 if a channel does not accept it, and 78 if
/// none is configured, or if a template fails. Then nothing is sent.
#[derive(Args)]
#[command(after_help = "Example:\n  cxnpoll notify test --channel webhook")]
pub(in crate::cli) struct Test {
    /// Test only this channel (repeatable) [default: all that are configured]
    #[arg(long, value_name = "CHANNEL", value_enum)]
    channel: Vec<Channel>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ValueEnum for Channel {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(self.name().into())
    }
}

impl Test {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let none = NotifyTable::default();
        let table = context.config.notify.as_ref().unwrap_or(&none);
        let configured = Channel::of(table);
        let channels = if self.channel.is_empty() { configured.clone() } else { self.channel };
        if channels.is_empty() || channels.iter().any(|channel| !configured.contains(channel)) {
            let missing = channels.into_iter().find(|channel| !configured.contains(channel));
            return Err(Error::Reported(no_channel(missing)));
        }
        // A run replaces them by the defaults.
        let errors = Templates::check(table);
        if !errors.is_empty() {
            return Err(Error::Reported(bad_templates(&errors)));
        }
        let signals = Signals::listen().map_err(Error::Signals)?;
        let message = Notifier::test_message(table, context.started);
        let (mut rows, mut failed) = (Vec::new(), 0);
        for channel in channels {
            let sent = send(context, signals.stop_flag(), channel, &message);
            if let (Err(DeliveryError::Stopped), Some(code)) = (&sent, signals.stop_code()) {
                return Ok(code);
            }
            let reason = sent.err().map(|error| delivery_text(channel, error));
            if let Some(reason) = &reason {
                error!("{reason}");
                failed += 1;
            }
            rows.push((channel, reason));
        }
        if self.json {
            let row = |(channel, error): &(Channel, Option<String>)| json!({"channel": channel.name(), "delivered": error.is_none(), "error": error});
            output::json(&rows.iter().map(row).collect::<Value>());
        } else {
            let mut table = Table::new(["CHANNEL", "RESULT"]);
            for (channel, error) in &rows {
                table.add(&[channel.name(), if error.is_none() { "delivered" } else { "failed" }]);
            }
            table.print()?;
        }
        Ok(if failed == 0 { exit::OK } else { exit::OUTPUT })
    }
}
