//! `cxnpoll import`: add and update connections.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::json;
use sha2::{Digest, Sha256};
use tracing::info;

use super::{Context, logging, output};
use crate::error::{Error, Kind, Result};
use crate::exit;
use crate::store::{Change, CxnLine, SLICE, Store};
use crate::transfer;

/// Add and update connections
///
/// Reads JSON lines, one connection each: {"cxnId","secret","appId","appUrl","siteUrl","perm","viaPort","batchCode",
/// "disabled","pollStatus"}; all but the first five may be missing, and then stay as they are. The whole input is checked
/// before anything is changed. An import that was interrupted can simply be run again. Creates the store if there is none.
#[derive(Args)]
#[command(
    after_help = "Example:\n  cxnpoll import connections.jsonl\n  ssh old-server cxnpoll export | cxnpoll import"
)]
pub(super) struct Import {
    /// The file; standard input if it is missing or -
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// What to do about lines that are wrong
    #[arg(long, value_name = "WHAT", default_value = "abort")]
    on_error: OnError,
    /// Take the poll status of every line, also where the store's is newer
    #[arg(long)]
    force: bool,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum OnError {
    /// Change nothing
    Abort,
    /// Apply the lines that are right
    Skip,
}

/// How many wrong lines are told in words.
const TOLD: usize = 10;
/// How many lines are parsed at a time.
const AT_ONCE: usize = 256;

/// What a look at the whole input found.
#[derive(Default)]
struct Findings {
    /// Numbers of the lines that are wrong, from 1.
    wrong: HashSet<usize>,
    /// What is wrong with the first of them.
    told: Vec<String>,
}

#[derive(Default)]
struct Counts {
    added: u64,
    updated: u64,
    unchanged: u64,
}

impl Import {
    pub(super) fn run(self, context: &Context) -> Result<u8> {
        let path = context.config.store_path(context.global.store.as_deref())?;
        let input = self.input()?;
        let findings = check(&input)?;
        if !findings.wrong.is_empty() && self.on_error == OnError::Abort {
            return Err(Error::new(Kind::BadData, format!("{}\nnothing was imported", findings.summary()))
                .hint("--on-error skip imports the other lines"));
        }
        let store = Store::create(&path, context.global.store_wait)?.visited_by(context.name);
        let counts = store.in_use(|| self.apply(&store, &input, &findings))?;
        let Counts { added, updated, unchanged } = counts;
        let text = format!("{added} added, {updated} updated, {unchanged} unchanged");
        info!(target: logging::FILE_ONLY, "{text}");
        if self.json {
            output::json(&json!({
                "added": added,
                "updated": updated,
                "unchanged": unchanged,
                "skipped": findings.wrong.len(),
            }))?;
        }
        if !context.global.quiet && (context.global.verbose > 0 || io::IsTerminal::is_terminal(&io::stderr())) {
            let _ = writeln!(io::stderr(), "{text}");
        }
        if findings.wrong.is_empty() {
            return Ok(exit::OK);
        }
        Err(Error::new(Kind::BadData, format!("{}\nthe other lines were imported", findings.summary())))
    }

    /// A file that can be read twice: what comes through a pipe is put aside first, where only we can read it.
    fn input(&self) -> Result<File> {
        let Some(path) = self.file.as_deref().filter(|path| *path != Path::new("-")) else {
            return spool(&mut io::stdin().lock())
                .map_err(|error| Error::new(Kind::Internal, format!("can't read standard input: {error}")));
        };
        let open = || {
            let mut file = File::open(path)?;
            if file.metadata()?.is_file() { Ok(file) } else { spool(&mut file) }
        };
        open().map_err(|error: io::Error| Error::new(Kind::NotFound, format!("can't read {}: {error}", path.display())))
    }

    fn apply(&self, store: &Store, input: &File, findings: &Findings) -> Result<Counts> {
        let mut counts = Counts::default();
        let mut lines = lines(input)?.filter(|line| {
            let good = |number| !findings.wrong.contains(number);
            line.as_ref().map_or(true, |(number, _)| good(number))
        });
        loop {
            let ended = store.session(|session| {
                let began = Instant::now();
                while began.elapsed() < SLICE {
                    let some = lines.by_ref().take(AT_ONCE).map(|line| parse(&line?)).collect::<Result<Vec<_>>>()?;
                    for change in session.put(&some, self.force)? {
                        *match change {
                            Change::Added => &mut counts.added,
                            Change::Updated => &mut counts.updated,
                            Change::Unchanged => &mut counts.unchanged,
                        } += 1;
                    }
                    if some.len() < AT_ONCE {
                        return Ok(true);
                    }
                }
                Ok(false)
            })?;
            if ended {
                return Ok(counts);
            }
        }
    }
}

fn spool(pipe: &mut impl io::Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(pipe, &mut file)?;
    Ok(file)
}

/// A line with its number, from 1.
type Line = (usize, Vec<u8>);

/// The lines of an input from its beginning; empty ones are left out.
fn lines(input: &File) -> Result<impl Iterator<Item = Result<Line>>> {
    let unreadable = |error: io::Error| Error::new(Kind::Internal, format!("can't read the input: {error}"));
    let mut file = input;
    file.rewind().map_err(unreadable)?;
    let numbered = BufReader::new(file).split(b'\n').enumerate();
    Ok(numbered
        .map(move |(index, line)| line.map(|line| (index + 1, line)).map_err(unreadable))
        .filter(|line| line.as_ref().map_or(true, |(_, text)| !text.trim_ascii().is_empty())))
}

fn parse((number, line): &Line) -> Result<CxnLine> {
    let text = std::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned());
    // Some editors begin a file with a byte order mark.
    text.and_then(|text| transfer::parse(text.trim_start_matches('\u{feff}')))
        .map_err(|problem| Error::new(Kind::BadData, format!("line {number}: {problem}")))
}

/// Looks at every line before any is applied.
fn check(input: &File) -> Result<Findings> {
    let mut findings = Findings::default();
    // Sixteen bytes of a hash each, so that a million lines fit into memory.
    let mut seen: HashSet<[u8; 16]> = HashSet::new();
    for line in lines(input)? {
        let line = line?;
        let problem = match parse(&line) {
            Ok(parsed) => {
                let hash = Sha256::digest(parsed.cxn_id.as_str());
                let twice = !seen.insert(*hash.first_chunk().expect("32 bytes hold 16"));
                twice.then(|| format!("line {}: {} was there before", line.0, parsed.cxn_id))
            }
            Err(error) => Some(error.message),
        };
        if let Some(problem) = problem {
            findings.wrong.insert(line.0);
            if findings.told.len() < TOLD {
                findings.told.push(problem);
            }
        }
    }
    Ok(findings)
}

impl Findings {
    fn summary(&self) -> String {
        let more = match self.wrong.len() - self.told.len() {
            0 => String::new(),
            more => format!("\nand {more} more"),
        };
        let lines = if self.wrong.len() == 1 { "line" } else { "lines" };
        format!("{} bad {lines} in the input\n{}{more}", self.wrong.len(), self.told.join("\n"))
    }
}
