//! Log lines: on standard error for people, in the log file for later.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry, fmt as layers};

use super::progress::without_bars;
use super::stderr::Stderr;
use super::terminal;
use crate::cli::error::{Error, Result};
use crate::listener::TERMINAL_ONLY;
pub(in crate::cli) use crate::run::FILE_ONLY;
use crate::util::open::open_trusted;

/// Format of the log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum Format {
    /// One line of text per message
    Text,
    /// One JSON object per line
    Json,
}

/// What is logged where.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Options<'a> {
    /// Whether only errors go to standard error.
    pub(in crate::cli) quiet: bool,
    /// How often `-v` was given.
    pub(in crate::cli) verbose: u8,
    /// The log file, if there is one.
    pub(in crate::cli) file: Option<&'a Path>,
    /// Its format.
    pub(in crate::cli) format: Format,
}

/// The level of messages that go to standard error.
fn level(quiet: bool, verbose: u8) -> LevelFilter {
    match (quiet, verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, _) => LevelFilter::DEBUG,
    }
}

/// Starts the logging of this process. A second start in the same process changes nothing.
///
/// # Errors
/// [`Error::LogFile`] if the log file cannot be opened.
pub(in crate::cli) fn start(options: Options<'_>) -> Result<()> {
    let level = level(options.quiet, options.verbose);
    // Libraries log warnings and errors only. The hint spares the formatting of messages that no layer takes.
    let all_but = |elsewhere: &'static str, level: LevelFilter| {
        let passes = move |meta: &Metadata<'_>| {
            let is_wanted = meta.target().starts_with("cxnpoll") || *meta.level() <= Level::WARN;
            *meta.level() <= level && is_wanted && meta.target() != elsewhere
        };
        filter_fn(passes).with_max_level_hint(level)
    };
    let stderr = layers::layer().event_format(ForPeople).with_writer(Stderr).with_filter(all_but(FILE_ONLY, level));
    let file = match options.file {
        None => None,
        Some(path) => {
            let file = LogFile::open(path).map_err(|error| Error::LogFile { path: path.to_owned(), error })?;
            let layer = layers::layer().with_ansi(false).with_target(false).with_writer(file);
            let layer = match options.format {
                Format::Text => layer.boxed(),
                Format::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
            };
            Some(layer.with_filter(all_but(TERMINAL_ONLY, level.max(LevelFilter::INFO))))
        }
    };
    let _ = tracing::subscriber::set_global_default(Registry::default().with(stderr).with(file));
    Ok(())
}

/// The format on standard error: `warning: the message key=value`.
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

/// The log file. Only the first failure to write it is reported, because a full disk must not end a run.
struct LogFile {
    file: File,
    is_terminal: bool,
    has_failed: AtomicBool,
}

impl LogFile {
    /// Opens the file to append to it; `-` is standard error.
    fn open(path: &Path) -> io::Result<Self> {
        let path = if path == Path::new("-") { Path::new("/dev/stderr") } else { path };
        let file = open_trusted(path, File::options().create(true).append(true))?;
        Ok(Self { is_terminal: terminal::is_terminal(&file), file, has_failed: AtomicBool::new(false) })
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let write = || (&self.file).write_all(bytes);
        // At a terminal the progress bar may be in the way.
        if let Err(error) = if self.is_terminal { without_bars(write) } else { write() }
            && !self.has_failed.swap(true, Ordering::Relaxed)
        {
            let _ = writeln!(Stderr, "warning: cannot write the log file: {error}");
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        (&self.file).flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_wins_over_verbose() {
        let levels = [(false, 0), (false, 1), (false, 2), (true, 0), (true, 3)].map(|(q, v)| level(q, v));
        let [warn, info, debug] = [LevelFilter::WARN, LevelFilter::INFO, LevelFilter::DEBUG];
        assert_eq!(levels, [warn, info, debug, LevelFilter::ERROR, LevelFilter::ERROR]);
    }

    #[test]
    fn a_log_file_that_cannot_be_opened_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let options = Options { quiet: false, verbose: 0, file: Some(directory.path()), format: Format::Text };
        let error = start(options).unwrap_err();
        assert!(matches!(&error, Error::LogFile { path, .. } if path == directory.path()), "{error:?}");
    }
}
