//! Log lines: on standard error for people, in the log file for later.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{process, time};

use serde_json::{Map, Value, json};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber, info_span};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::{LookupSpan, Scope};
use tracing_subscriber::{Layer, Registry, fmt as layers};

use super::progress::without_bars;
use super::stderr::Stderr;
use super::terminal;
use crate::batch::Batch;
use crate::cli::error::{Error, Result};
use crate::listener::TERMINAL_ONLY;
use crate::model::{AppId, JobName};
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

/// The name of the span of a run.
const RUN: &str = "run";

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
    let for_people = ForPeople { names_runs: level >= LevelFilter::INFO };
    let stderr = layers::layer().event_format(for_people).with_writer(Stderr).with_filter(all_but(FILE_ONLY, level));
    let file = match options.file {
        None => None,
        Some(path) => {
            let file = LogFile::open(path).map_err(|error| Error::LogFile { path: path.to_owned(), error })?;
            let layer = layers::layer().with_ansi(false).with_target(false).with_writer(file);
            let layer = match options.format {
                Format::Text => layer.boxed(),
                Format::Json => layer.fmt_fields(JsonFields::new()).event_format(ForMachines).boxed(),
            };
            Some(layer.with_filter(all_but(TERMINAL_ONLY, level.max(LevelFilter::INFO))))
        }
    };
    let _ = tracing::subscriber::set_global_default(Registry::default().with(stderr).with(file));
    Ok(())
}

/// Makes the log lines from here on those of a run: each has its id, app, job and batch.
///
/// That includes the lines after the run, up to the error with which the process ends.
pub(in crate::cli) fn name_run(app_id: &AppId, job: &JobName, batch: Batch) {
    let (app, job) = (app_id.short(), job.as_str());
    // The process ends with the run, so the span is never left.
    let _ = ManuallyDrop::new(info_span!(RUN, run = %run_id(), app, job, %batch).entered());
}

/// Distinguishes a run from all others, also from those of other hosts in the same second.
fn run_id() -> String {
    let mut bytes = [0; 6];
    if getrandom::fill(&mut bytes).is_err() {
        // The next best.
        let since_1970 = time::SystemTime::now().duration_since(time::UNIX_EPOCH).unwrap_or_default();
        bytes[..4].copy_from_slice(&since_1970.subsec_nanos().to_be_bytes());
        bytes[4..].copy_from_slice(&process::id().to_be_bytes()[2..]);
    }
    hex::encode(bytes)
}

/// The format on standard error: `warning: the message key=value`.
struct ForPeople {
    /// Whether lines of a run end with `run=ID`, and those of a listener also with its connection.
    names_runs: bool,
}

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
        for span in context.event_scope().filter(|_| self.names_runs).into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                // The id of a run is its first field. The others are the same in all lines.
                let shown = if span.name() == RUN { fields.split(' ').next().unwrap_or_default() } else { fields };
                write!(writer, " {shown}")?;
            }
        }
        writeln!(writer)
    }
}

/// The format of the log file in JSON: fields of the message, and in `span` those of run and poll.
struct ForMachines;

impl<S> FormatEvent<S, JsonFields> for ForMachines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let parse = |fields: &str| serde_json::from_str::<Map<String, Value>>(fields).unwrap_or_default();
        let (mut timestamp, mut fields) = (String::new(), String::new());
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        context.field_format().format_fields(Writer::new(&mut fields), event)?;
        let level = event.metadata().level().to_string();
        let mut line = Map::from_iter([("timestamp".into(), json!(timestamp)), ("level".into(), json!(level))]);
        line.extend(parse(&fields));
        let mut of_spans = Map::new();
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            if let Some(fields) = span.extensions().get::<FormattedFields<JsonFields>>() {
                of_spans.extend(parse(fields));
                of_spans.entry("name").or_insert(span.name().into());
            }
        }
        if !of_spans.is_empty() {
            line.insert("span".into(), Value::Object(of_spans));
        }
        writeln!(writer, "{}", Value::Object(line))
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
