//! `cxnpoll` polls the CiviCRM sites that are connected to a CiviConnect application.

mod app;
pub mod batch;
pub mod cli;
pub mod config;
pub mod error;
pub mod exit;
pub mod fault;
pub mod listener;
pub mod model;
pub mod protocol;
pub mod retry;
pub mod runner;
pub mod site;
pub mod store;
pub mod transfer;

pub use app::{App, On};
pub use listener::{PollEvent, RunEvent};
pub use model::{Failure, FailureClass};
