//! What manual pages and the documentation say about the program besides its options.

mod after_help;
mod configuration;
mod environment;
#[cfg(test)]
mod markdown;
mod pages;

pub(super) use configuration::PAGE as CONFIGURATION_PAGE;
pub(super) use pages::{Page, configuration_page};
