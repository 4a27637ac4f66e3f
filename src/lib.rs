//! `cxnpoll` polls the CiviCRM sites that are connected to a CiviConnect application.
//!
//! The library provides the whole command line to a program that has its own listeners in Rust: see [`App`]. A listener
//! gets a [`PollEvent`] for each poll of a site, a [`RunEvent`] before and after a run, or a [`RegistrationEvent`] when a
//! site connects or disconnects. `docs/listeners.md` describes the events and the order in which listeners are called.

mod app;

// Not part of the public interface: only for the benches, tests and examples of this project.
#[doc(hidden)]
pub mod batch;
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod exit;
#[doc(hidden)]
pub mod listener;
#[doc(hidden)]
pub mod model;
#[doc(hidden)]
pub mod notify;
#[doc(hidden)]
pub mod protocol;
#[doc(hidden)]
pub mod registration;
#[doc(hidden)]
pub mod report;
#[doc(hidden)]
pub mod retry;
#[doc(hidden)]
pub mod run;
#[doc(hidden)]
pub mod site;
#[doc(hidden)]
pub mod store;
#[doc(hidden)]
pub mod transfer;
#[doc(hidden)]
pub mod util;

pub use app::{App, On};
pub use batch::Batch;
pub use listener::{PollEvent, RegistrationEvent, RunEvent};
pub use model::{
    AppId, AppMeta, BatchCode, Cxn, CxnId, Failure, FailureClass, JobName, Secret, Tls, UnixTime, ViaPort,
};
pub use protocol::registration::SiteDetails;
