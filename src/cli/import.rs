//! `cxnpoll import`: add and update connections.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::json;
use sha2::{Digest, Sha256};
use tracing::info;

use super::act::{SHOWN, about, connections, show};
use super::{Context, logging, output};
use crate::error::{Error, Kind, Result};
use crate::exit;
use crate::model::AppId;
use crate::runner::Progress;
use crate::store::{Alteration, Change, CxnLine, SLICE, Session, Store, Target};
use crate::transfer::{Format, Raw, Record};

/// Add and update connections
///
/// Reads JSON lines, one connection each: {"cxnId","secret","appId","appUrl","siteUrl","perm","viaPort","batchCode",
/// "disabled","pollStatus"}; all but the first five may be missing, and then stay as they are. The whole input is checked
/// before anything is changed. An import that was interrupted can simply be run again. Creates the store if there is none.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cxnpoll import connections.jsonl\n  ssh old-server cxnpoll export | cxnpoll import\n  \
    mysql -B cxnapp -e 'SELECT * FROM Cxn' | cxnpoll import --prune --yes"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(super) struct Import {
    /// The file; standard input if it is missing or -
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The form of the input, where its name or content don't tell it
    #[arg(long, value_name = "FORM")]
    format: Option<Format>,
    /// What to do about lines that are wrong
    #[arg(long, value_name = "WHAT", default_value = "abort")]
    on_error: OnError,
    /// Remove connections of the apps in the input that are not in it
    #[arg(long)]
    prune: bool,
    /// Don't ask, and let --prune remove more than one connection also without a terminal
    #[arg(long, short = 'y')]
    yes: bool,
    /// Tell what would be changed, and change nothing
    #[arg(long)]
    dry_run: bool,
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
/// How many records are parsed at a time.
const AT_ONCE: usize = 256;

/// What a look at the whole input found.
#[derive(Default)]
struct Findings {
    /// Numbers of the lines that are wrong, from 1.
    wrong: HashSet<usize>,
    /// What is wrong with the first of them.
    told: Vec<String>,
    /// Sixteen bytes of a hash of each cxnId, so that a million fit into memory.
    seen: HashSet<[u8; 16]>,
    apps: BTreeSet<AppId>,
    records: usize,
    /// How many connections are told of, and how many statuses of those.
    cxns: u64,
    statuses: u64,
}

#[derive(Default)]
struct Counts {
    added: u64,
    updated: u64,
    unchanged: u64,
    removed: u64,
}

impl Import {
    pub(super) fn run(self, context: &Context) -> Result<u8> {
        let path = context.config.store_path(context.global.store.as_deref())?;
        let input = self.input()?;
        let format = match self.format {
            Some(format) => format,
            None => Format::of(self.file.as_deref(), &input)
                .map_err(|error| Error::new(Kind::Internal, format!("can't read the input: {error}")))?,
        };
        let known = if path.join("CURRENT").exists() { Some(context.store()?) } else { None };
        let shown = !context.global.quiet && io::stderr().is_terminal();
        let mut findings = Findings::default();
        let input = findings.check(&input, format, known.as_ref(), shown)?;
        if !findings.wrong.is_empty() && self.on_error == OnError::Abort {
            return Err(Error::new(Kind::BadData, format!("{}\nnothing was imported", findings.summary()))
                .hint("--on-error skip imports the other lines"));
        }
        let pruned = match &known {
            Some(store) if self.prune => self.pruned(context, store, &findings)?,
            _ => Some(Vec::new()),
        };
        let Some(pruned) = pruned else { return Ok(exit::OK) };
        if self.prune && findings.apps.is_empty() {
            return Err(Error::new(Kind::BadData, "the input tells of no connection, so --prune would remove all"));
        }
        let mut counts = match (self.dry_run, &known) {
            (true, None) => Counts { added: findings.cxns, updated: findings.statuses, ..Counts::default() },
            (true, Some(store)) => self.apply(store, &input, &findings, shown)?,
            (false, _) => {
                let store = Store::create(&path, context.global.store_wait)?.visited_by(context.name);
                let counts = store.in_use(|| self.apply(&store, &input, &findings, shown))?;
                store.alter(&pruned, Alteration::Remove)?;
                counts
            }
        };
        counts.removed = pruned.len() as u64;
        self.tell(context, &counts, &findings)?;
        if findings.wrong.is_empty() {
            return Ok(exit::OK);
        }
        let rest = if self.dry_run { "nothing was imported" } else { "the other lines were imported" };
        let rest = if self.prune { format!("{rest}, and nothing was pruned") } else { rest.to_owned() };
        Err(Error::new(Kind::BadData, format!("{}\n{rest}", findings.summary())))
    }

    fn tell(&self, context: &Context, counts: &Counts, findings: &Findings) -> Result<()> {
        let Counts { added, updated, unchanged, removed } = counts;
        let pruned = if self.prune { format!(", {removed} removed") } else { String::new() };
        let would = if self.dry_run { "would be: " } else { "" };
        let text = format!("{would}{added} added, {updated} updated, {unchanged} unchanged{pruned}");
        if !self.dry_run {
            info!(target: logging::FILE_ONLY, "{text}");
        }
        if self.json {
            let skipped = findings.wrong.len();
            let mut numbers = json!({"added": added, "updated": updated, "unchanged": unchanged, "skipped": skipped});
            if self.prune {
                numbers["removed"] = json!(removed);
            }
            output::json(&numbers)?;
        } else if self.dry_run {
            output::line(&text)?;
        } else if !context.global.quiet && (context.global.verbose > 0 || io::stderr().is_terminal()) {
            let _ = writeln!(io::stderr(), "{text}");
        }
        Ok(())
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

    /// The connections that `--prune` removes; `None` where somebody was asked and said no. Nothing after skipped lines:
    /// who knows what they would have told.
    fn pruned(&self, context: &Context, store: &Store, findings: &Findings) -> Result<Option<Vec<Target>>> {
        let (mut targets, mut shown) = (Vec::new(), Vec::new());
        if !findings.wrong.is_empty() {
            return Ok(Some(targets));
        }
        store.connections(|key, cxn, _| {
            if findings.apps.contains(&cxn.app_id) && !findings.seen.contains(&hash(cxn.cxn_id.as_str())) {
                if self.dry_run && !self.json {
                    output::line(&format!("remove  {}", about(&cxn)))?;
                } else if shown.len() < SHOWN {
                    shown.push(about(&cxn));
                }
                targets.push((key, Vec::new()));
            }
            Ok(())
        })?;
        let count = targets.len();
        if count == 0 || self.yes || self.dry_run || (count == 1 && !context.is_interactive()) {
            return Ok(Some(targets));
        }
        if !context.is_interactive() {
            return Err(Error::new(
                Kind::Usage,
                format!("--prune would remove {}; nothing was imported", connections(count)),
            )
            .hint("without a terminal that needs --yes; --dry-run tells what would be changed"));
        }
        show(&shown, count);
        Ok(Context::ask(&format!("Remove {} that the input doesn't tell of?", connections(count)))?.then_some(targets))
    }

    /// Applies what is right, or with `--dry-run` looks what that would change.
    fn apply(&self, store: &Store, input: &Spool, findings: &Findings, shown: bool) -> Result<Counts> {
        let mut counts = Counts::default();
        let progress = Progress::begin_of(findings.records, "imported", shown);
        let mut records = input.records(findings)?;
        loop {
            let ended = store.session(|session| {
                let began = Instant::now();
                while began.elapsed() < SLICE {
                    let some = records.by_ref().take(AT_ONCE).collect::<Result<Vec<_>>>()?;
                    let ended = some.len() < AT_ONCE;
                    progress.advance(some.len());
                    for change in self.put(session, some)? {
                        *match change {
                            Change::Added => &mut counts.added,
                            Change::Updated => &mut counts.updated,
                            Change::Unchanged => &mut counts.unchanged,
                        } += 1;
                    }
                    if ended {
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

    /// Puts records into the store, in their order: a status may be that of a connection just before it.
    fn put(&self, session: &Session, records: Vec<Record>) -> Result<Vec<Change>> {
        let mut changes = Vec::with_capacity(records.len());
        let mut lines: Vec<CxnLine> = Vec::new();
        let mut of_status = false;
        let put = |lines: &mut Vec<CxnLine>| {
            let lines = std::mem::take(lines);
            if self.dry_run {
                lines.iter().map(|line| session.compare(line, self.force)).collect::<Result<Vec<_>>>()
            } else {
                session.put(&lines, self.force)
            }
        };
        for record in records {
            if of_status != matches!(record, Record::Status(_)) {
                changes.extend(put(&mut lines)?);
                of_status = !of_status;
            }
            match record {
                Record::Cxn(line) => lines.push(*line),
                Record::Status(status) => match session.line_of(&status)? {
                    Some(line) => lines.push(line),
                    // In a dry run it may be one that would be added.
                    None if self.dry_run => changes.push(Change::Updated),
                    None => changes.push(Change::Unchanged),
                },
            }
        }
        changes.extend(put(&mut lines)?);
        Ok(changes)
    }
}

fn spool(pipe: &mut impl io::Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(pipe, &mut file)?;
    Ok(file)
}

fn hash(cxn_id: &str) -> [u8; 16] {
    *Sha256::digest(cxn_id).first_chunk().expect("32 bytes hold 16")
}

/// An input that was checked: a file of JSON lines, or what other forms were turned into.
enum Spool {
    Lines(File),
    /// The number of the line, a letter for what it tells, and a JSON object.
    Raw(File),
}

impl Spool {
    /// The records that are right.
    fn records<'a>(&'a self, findings: &'a Findings) -> Result<impl Iterator<Item = Result<Record>> + 'a> {
        let unreadable = |error: io::Error| Error::new(Kind::Internal, format!("can't read the input: {error}"));
        let (Self::Lines(file) | Self::Raw(file)) = self;
        let mut file = file;
        file.rewind().map_err(unreadable)?;
        let raw = matches!(self, Self::Raw(_));
        let lines = BufReader::with_capacity(1 << 16, file).split(b'\n').enumerate();
        Ok(lines.filter_map(move |(index, line)| {
            let text = match line {
                Ok(line) => String::from_utf8_lossy(&line).into_owned(),
                Err(error) => return Some(Err(unreadable(error))),
            };
            let (number, told) = if raw {
                let mut parts = text.splitn(3, ' ');
                let number = parts.next()?.parse().ok()?;
                let status = parts.next()? == STATUS;
                let text = parts.next()?.to_owned();
                (number, if status { Raw::Status(text) } else { Raw::Cxn(text) })
            } else {
                (index + 1, Raw::Cxn(text.trim_start_matches('\u{feff}').trim().to_owned()))
            };
            if findings.wrong.contains(&number) || told == Raw::Cxn(String::new()) {
                return None;
            }
            Some(told.read().map_err(|problem| Error::new(Kind::BadData, format!("line {number}: {problem}"))))
        }))
    }
}

/// The letters that a spool tells its lines apart by.
const STATUS: &str = "s";
const CXN: &str = "c";

impl Findings {
    /// Looks at every record before any is applied, and returns what can be applied.
    fn check(&mut self, input: &File, format: Format, store: Option<&Store>, shown: bool) -> Result<Spool> {
        let failed = |error: io::Error| Error::new(Kind::Internal, format!("can't put the input aside: {error}"));
        let mut aside = match format {
            Format::Jsonl => None,
            _ => Some(BufWriter::new(tempfile::tempfile().map_err(failed)?)),
        };
        let progress = Progress::begin_of(0, "checked", shown);
        // Statuses whose connection is not in the input: it must be in the store.
        let mut elsewhere: Vec<(usize, crate::model::CxnId)> = Vec::new();
        format.each(input, &mut |number, raw| {
            progress.advance(1);
            self.records += 1;
            if let (Some(aside), Ok(raw)) = (&mut aside, &raw) {
                let (Raw::Cxn(text) | Raw::Status(text)) = raw;
                let what = if matches!(raw, Raw::Status(_)) { STATUS } else { CXN };
                writeln!(aside, "{number} {what} {text}").map_err(failed)?;
            }
            match raw.and_then(|raw| raw.read()) {
                Ok(Record::Cxn(line)) => {
                    if self.seen.insert(hash(line.cxn_id.as_str())) {
                        self.cxns += 1;
                    } else {
                        self.is_wrong(number, &format!("{} was there before", line.cxn_id));
                    }
                    self.apps.insert(line.app_id);
                }
                Ok(Record::Status(status)) if !self.seen.contains(&hash(status.cxn_id.as_str())) => {
                    elsewhere.push((number, status.cxn_id));
                }
                Ok(Record::Status(_)) => self.statuses += 1,
                Err(problem) => self.is_wrong(number, &problem),
            }
            Ok(())
        })?;
        for some in elsewhere.chunks(AT_ONCE) {
            let unknown = |session: &Session| {
                let unknown = some.iter().map(|(_, cxn_id)| Ok(session.find(cxn_id)?.is_none()));
                unknown.collect::<Result<Vec<bool>>>()
            };
            let unknown = store.map_or_else(|| Ok(vec![true; some.len()]), |store| store.session(unknown))?;
            for ((number, cxn_id), _) in some.iter().zip(unknown).filter(|(_, unknown)| *unknown) {
                self.is_wrong(*number, &format!("there is no connection {cxn_id}"));
            }
        }
        Ok(match aside {
            Some(aside) => Spool::Raw(aside.into_inner().map_err(|error| failed(error.into_error()))?),
            None => Spool::Lines(input.try_clone().map_err(failed)?),
        })
    }

    fn is_wrong(&mut self, number: usize, problem: &str) {
        self.wrong.insert(number);
        if self.told.len() < TOLD {
            self.told.push(format!("line {number}: {problem}"));
        }
    }

    fn summary(&self) -> String {
        let more = match self.wrong.len() - self.told.len().min(self.wrong.len()) {
            0 => String::new(),
            more => format!("\nand {more} more"),
        };
        let lines = if self.wrong.len() == 1 { "line" } else { "lines" };
        format!("{} bad {lines} in the input\n{}{more}", self.wrong.len(), self.told.join("\n"))
    }
}
