//! Notifications: messages about what changed, over the channels of `[notify]`.
//!
//! A message is made from history at the end of a run, noted durably, and then sent until the channel accepts it. Each channel
//! has read and reported up to a place of its own, so one that fails neither loses nor repeats anything for the others.

mod channel;
mod digest;
mod error;
mod message;
mod notifier;
mod pairs;
mod program;
mod state;
mod templates;
mod webhook;

pub(crate) use channel::sendmail_program;
pub use channel::{Channel, Sender};
pub use error::{DeliveryError, Error};
pub use message::{Change, ChangedSite, Kind, Message};
pub use notifier::{AfterRun, Failed, Notifier};
pub use templates::{TemplateError, Templates};
pub use webhook::read_key;
