//! `cxnpoll report`: availability, incidents and the health of runs.

mod csv;
mod html;
mod json;
mod text;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use tracing::warn;

use crate::cli::context::Context;
use crate::cli::cxn_arg::CxnArg;
use crate::cli::error::{Error, Result};
use crate::cli::output_file;
use crate::cli::selection::Filter;
use crate::cli::ui::output::Output;
use crate::cli::values::{self, Since};
use crate::exit;
use crate::model::AppId;
use crate::report::Ledger;
use crate::store::{History, Store, use_small_cache};
use crate::util::time::unix_now;
use text::Text;

/// Show availability, incidents and the health of runs
///
/// A site is down from its first failing poll to its next successful one. Availability is the part of the known time in which
/// it was up. Time without polls, or after a run that ended for a fault of this machine or its network, is unknown and does not
/// count.
#[derive(Args)]
#[command(after_help = "Examples:\n  cxnpoll report org.civicrm.myapp --since 24h    # what broke last night\n  \
    cxnpoll report --url '*://www.example.org/*' --now 2026-11-01T00:00:00Z --since 31d    # October\n  \
    cxnpoll report --since 365d --format csv --output sites.csv\n  \
    cxnpoll report --format html --output report.html    # a page for a browser, to print or to mail")]
pub(in crate::cli) struct Report {
    /// Report only about this app
    #[arg(value_name = "APP", value_parser = values::app, conflicts_with = "app")]
    of_app: Option<AppId>,
    /// Start this long before now, such as 24h or 30d, or at this time in RFC 3339
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = values::since)]
    since: Since,
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Output file, readable only by its owner (default, and -: standard output). One that exists is replaced
    #[arg(long, value_name = "FILE", value_parser = values::path())]
    output: Option<PathBuf>,
    /// Select this connection (repeatable)
    #[arg(long, value_name = "ID", help_heading = "Which connections")]
    cxn: Vec<CxnArg>,
    #[command(flatten)]
    filter: Filter,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The worst sites and hosts, and the last incidents, for people
    Text,
    /// One page for a browser, with the worst sites and hosts, and the longest and the last incidents
    Html,
    /// One object with all sites and incidents
    Json,
    /// A line for each site and job
    Csv,
}

impl Report {
    pub(in crate::cli) fn run(mut self, context: &Context) -> Result<u8> {
        self.filter = self.filter.of_app(self.of_app.take());
        if self.json {
            self.format = Format::Json;
        }
        // What the report knows of the sites takes memory at the same time.
        use_small_cache();
        let store = context.store()?;
        let (ledger, history) = (self.ledger(context, &store)?, store.history());
        let file = self.output.as_deref().filter(|path| *path != Path::new("-"));
        if let Some(path) = file {
            output_file::write(
                path,
                true,
                |_| Ok(()),
                |out, path| {
                    self.write(&ledger, &history, &Text::for_a_file(), out, |error| {
                        output_file::cannot_write(path, &error)
                    })
                },
            )?;
        } else {
            self.write(&ledger, &history, &Text::for_stdout(context.global.color), &mut Output, Error::Stdout)?;
        }
        Ok(exit::OK)
    }

    /// Reads the store, then history.
    fn ledger(&self, context: &Context, store: &Store) -> Result<Ledger> {
        let from = self.filter.start(context, "--since", self.since)?;
        let collector = self.filter.collector(context, store, &self.cxn, from)?;
        let ledger = store.on_store_thread(|| collector.read(&store.history()))??;
        if ledger.damaged_bytes() > 0 {
            let bytes = ledger.damaged_bytes();
            warn!("{bytes} bytes of history are damaged and left out; cxnpoll store check shows where");
        }
        Ok(ledger)
    }

    fn write(
        &self,
        ledger: &Ledger,
        history: &History,
        text: &Text,
        out: &mut dyn Write,
        failed: impl Fn(io::Error) -> Error,
    ) -> Result<()> {
        let mut out = BufWriter::with_capacity(1 << 16, out);
        let written = match self.format {
            Format::Text => text.lines(&ledger.report(text::MOST))?.iter().try_for_each(|line| writeln!(out, "{line}")),
            Format::Html => {
                let mut report = ledger.report(html::MOST);
                ledger.add_strips(&mut report, history)?;
                html::write(&report, unix_now(), &mut out)
            }
            Format::Json => json::write(ledger, &mut out),
            Format::Csv => csv::write(ledger, &mut out),
        };
        written.and_then(|()| out.flush()).map_err(failed)
    }
}
