//! `cxnpoll registration`: the answer to one request, as a CGI program.

use std::env;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::thread;

use clap::Args;
use tracing::info;

use crate::cli::context::Context;
use crate::cli::error::{Error, Result};
use crate::cli::ui::{logging, output};
use crate::exit;
use crate::registration::{self, Answer, BODY_TIMEOUT, Reply, Request, Service, answer, read_body};
use crate::store::Store;
use crate::util::text::sanitize;
use crate::util::time::unix_now;

/// Answer a registration of a site, as a CGI program
///
/// A web server starts this command for each request. The request comes in the environment and on standard input, as CGI/1.1
/// has it, and the reply goes to standard output. Sites connect, disconnect, ask for links, and read the metadata of an app.
/// Whatever a site sends, the exit code is 0. Faults on this side have an error on standard error, which ends up in the log of
/// the web server, and the site gets a general text. docs/registration.md shows how web servers are set up.
#[derive(Args)]
#[command(
    after_help = "Example, the script that a web server starts:\n  #!/bin/sh\n  exec /usr/bin/cxnpoll --config /etc/cxnpoll/cxnpoll.toml registration"
)]
pub(in crate::cli) struct Registration {}

impl Registration {
    /// Answers the request. Also without a context, which could not be made, there is a reply.
    pub(in crate::cli) fn run(context: Result<&Context>) -> Result<u8> {
        let request = Request::from_variables(env::var_os).ok_or(registration::Error::NoWebServer)?;
        // The message of a panic may hold anything of the request.
        panic::set_hook(Box::new(|info| {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            tracing::error!(target: logging::FILE_ONLY, "panicked at {place}");
        }));
        let answered = panic::catch_unwind(AssertUnwindSafe(|| {
            // A web server may drop the reply to a request that was not read.
            let body = read_body(&io::stdin(), request.content_length.as_deref(), BODY_TIMEOUT);
            let context = context?;
            let config = &context.config;
            let open_store = || {
                let path = config.store_path(context.global.store.as_deref())?;
                let store = Store::open(&path, context.global.store_wait)?;
                Ok(store.with_owner(context.name).with_skipped(context.skipped.clone()))
            };
            let service = Service { config, listeners: &context.listeners, open_store: &open_store };
            Ok(answer(&service, &request, body, unix_now()))
        }));
        let (reply, result) = outcome(&request, answered);
        output::at_once(&reply.to_bytes(request.is_head()));
        result
    }
}

/// The reply to a request, and what the command ends with. The log gets a line.
fn outcome(request: &Request, answered: thread::Result<Result<Answer>>) -> (Reply, Result<u8>) {
    match answered {
        Ok(Ok(Answer { reply, note, fault })) => {
            info!(
                remote = %sanitize(&request.remote),
                path = %sanitize(&request.path),
                status = reply.status,
                cxn = note.cxn_id.as_ref().map(tracing::field::display),
                host = note.host.as_deref().map(sanitize).map(tracing::field::display),
                "registration: {}",
                note.outcome
            );
            (reply, fault.map_or(Ok(exit::OK), |fault| Err(fault.into())))
        }
        Ok(Err(error)) => (Reply::own_fault(), Err(error)),
        Err(_) => (Reply::own_fault(), Err(Error::Panic("the answer to a registration panicked".to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::error::Report;

    #[test]
    fn a_panic_has_a_reply_and_shows_nothing_of_the_request() {
        let request =
            Request { method: "POST".to_owned(), path: String::new(), content_length: None, remote: String::new() };
        let panicked = panic::catch_unwind(|| panic!("S3CRET")).map(|()| Err(Error::BackupInProgress));
        let (reply, result) = outcome(&request, panicked);
        assert_eq!(reply, Reply::own_fault());
        let report = Report::from(result.unwrap_err());
        assert_eq!(report.exit_code, exit::INTERNAL);
        assert!(report.message.starts_with("this is a bug") && !report.to_string().contains("S3CRET"), "{report}");
    }
}
