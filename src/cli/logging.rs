//! Messages: to stderr for people, to a file for later.

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry, fmt as layers};

use super::Global;
use crate::error::{Error, Kind, Result};
use crate::listener::BY_HAND;
pub(super) use crate::runner::FILE_ONLY;
use crate::runner::suspended;

/// The form of the log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// Starts the messages of this process. A second start in the same process changes nothing.
pub(super) fn start(global: &Global) -> Result<()> {
    let level = match (global.quiet, global.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, _) => LevelFilter::DEBUG,
    };
    // Libraries speak up only about what is wrong. The hint keeps messages from being put together that nobody reads.
    let all_but = |elsewhere: &'static str, level: LevelFilter| {
        let passes = move |meta: &Metadata<'_>| {
            let speaks_up = meta.target().starts_with("cxnpoll") || *meta.level() <= Level::WARN;
            *meta.level() <= level && speaks_up && meta.target() != elsewhere
        };
        filter_fn(passes).with_max_level_hint(level)
    };
    let people = layers::layer().event_format(ForPeople).with_writer(Stderr).with_filter(all_but(FILE_ONLY, level));
    let file = match &global.log_file {
        None => None,
        Some(path) => {
            let file = File::options().create(true).append(true).open(path).map_err(|error| {
                Error::new(Kind::Config, format!("can't write the log {}: {error}", path.display()))
            })?;
            let file = LogFile { file, failed: AtomicBool::new(false) };
            let layer = layers::layer().with_ansi(false).with_target(false).with_writer(file);
            let layer = match global.log_format {
                Format::Text => layer.boxed(),
                Format::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
            };
            Some(layer.with_filter(all_but(BY_HAND, level.max(LevelFilter::INFO))))
        }
    };
    let _ = tracing::subscriber::set_global_default(Registry::default().with(people).with(file));
    Ok(())
}

/// `warning: the message key=value`.
struct ForPeople;

impl<S, N> FormatEvent<S, N> for ForPeople
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        if level == Level::ERROR {
            write!(writer, "error: ")?;
        } else if level == Level::WARN {
            write!(writer, "warning: ")?;
        }
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// The log file. That it can't be written is told once: a full disk must not end a run.
struct LogFile {
    file: File,
    failed: AtomicBool,
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = (&self.file).write_all(bytes)
            && !self.failed.swap(true, Ordering::Relaxed)
        {
            let _ = writeln!(Stderr, "warning: the log can't be written: {error}");
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        (&self.file).flush()
    }
}

/// stderr, with the progress bar out of the way.
struct Stderr;

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if io::stderr().is_terminal() {
            suspended(|| io::stderr().write_all(bytes))
        } else {
            io::stderr().write_all(bytes)
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
