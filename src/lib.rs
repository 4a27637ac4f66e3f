//! `cxnpoll` polls the CiviCRM sites that are connected to a CiviConnect application.
//!
//! As a library it gives a program of one's own the whole command line, with listeners in Rust: see [`App`]. What a listener
//! is handed is a [`PollEvent`] at each visit to a site, and a [`RunEvent`] around a run; `docs/listeners.md` tells which
//! events there are and in which order listeners are called.

mod app;

// Not part of what the library offers: for this project's own benches, tests and demo.
#[doc(hidden)]
pub mod batch;
#[doc(hidden)]
pub mod cli;
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod error;
#[doc(hidden)]
pub mod exit;
#[doc(hidden)]
pub mod fault;
#[doc(hidden)]
pub mod listener;
#[doc(hidden)]
pub mod model;
#[doc(hidden)]
pub mod protocol;
#[doc(hidden)]
pub mod retry;
#[doc(hidden)]
pub mod runner;
#[doc(hidden)]
pub mod site;
#[doc(hidden)]
pub mod store;
#[doc(hidden)]
pub mod transfer;

pub use app::{App, On};
pub use batch::Batch;
pub use listener::{PollEvent, RunEvent};
pub use model::{
    AppId, AppMeta, BatchCode, Cxn, CxnId, Failure, FailureClass, JobName, Secret, Tls, UnixTime, ViaPort,
};
