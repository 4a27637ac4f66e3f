//! What a command did to the file system, from a trace by strace.

use std::collections::HashMap;

/// A change of the file system.
#[derive(Debug)]
pub enum Op {
    Create(String),
    MakeDir(String),
    Rename(String, String),
    /// Two paths whose names are exchanged.
    Exchange(String, String),
    Remove(String),
    Write(String, u64, Vec<u8>),
    Truncate(String, u64),
    /// A sync of a file or directory.
    Sync(String),
}

/// A call that changed something, with the times at which it began and returned.
#[derive(Debug)]
pub struct Event {
    pub began: usize,
    pub done: usize,
    pub op: Op,
}

impl Event {
    /// Describes it in a few words.
    pub fn brief(&self) -> String {
        match &self.op {
            Op::Write(path, at, data) => format!("{} bytes to {path} at {at}", data.len()),
            other => format!("{other:?}"),
        }
    }
}

/// The calls that strace traces: all that name, write or sync files. An unknown one fails the test.
pub const CALLS: &str = "trace=open,openat,openat2,creat,write,pwrite64,writev,pwritev,pwritev2,truncate,ftruncate,\
     fallocate,copy_file_range,sendfile,splice,fsync,fdatasync,sync,syncfs,msync,sync_file_range,rename,renameat,\
     renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,link,linkat,symlink,symlinkat,mknod,mknodat,lseek,io_uring_setup";

/// Reads traces in order; times continue from trace to trace.
#[derive(Default)]
pub struct Reader {
    pub events: Vec<Event>,
    pub time: usize,
    /// The position of each open file, by its number.
    positions: HashMap<u64, u64>,
}

impl Reader {
    /// Reads the trace of one command; only changes below `root` count.
    pub fn read(&mut self, trace: &str, root: &str) {
        let mut unfinished: HashMap<&str, (usize, String)> = HashMap::new();
        for line in trace.lines() {
            self.time += 1;
            let (pid, text) = line.split_once(' ').expect("a line begins with a process");
            let text = text.trim_start();
            if let Some(started) = text.strip_suffix(" <unfinished ...>") {
                unfinished.insert(pid, (self.time, started.to_owned()));
            } else if let Some(resumed) = text.strip_prefix("<... ") {
                let Some((began, mut call)) = unfinished.remove(pid) else { continue };
                call.push_str(resumed.split_once(" resumed>").expect("a call is resumed").1);
                self.call(&call, began, root);
            } else if !text.starts_with(['+', '-']) {
                self.call(text, self.time, root);
            }
        }
        // A killed process may have completed what it began, or not.
        for (_, (began, call)) in unfinished {
            self.call(&format!("{call}) = ?"), began, root);
        }
        self.time += 1;
    }

    fn call(&mut self, text: &str, began: usize, root: &str) {
        let (name, rest) = text.split_once('(').expect("a call has arguments");
        let (arguments, result) = rest.rsplit_once(" = ").expect("a call has a result");
        if result.starts_with("-1") {
            return;
        }
        let arguments = arguments.trim_end().strip_suffix(')').expect("arguments end");
        let arguments: Vec<&str> = arguments.split(", ").collect();
        if let Some(op) = self.op(name, &arguments, result, root) {
            self.events.push(Event { began, done: self.time, op });
        }
    }

    fn op(&mut self, name: &str, arguments: &[&str], result: &str, root: &str) -> Option<Op> {
        let below_root = |path: String| path.strip_prefix(root).map(|path| path.trim_start_matches('/').to_owned());
        let opened = |argument: &str| below_root(handle(argument).1);
        let named = |index: usize| below_root(quoted(arguments[index]));
        // A path and the directory that it is relative to, which is the argument before it.
        let named_at = |index: usize| {
            let name = quoted(arguments[index + 1]);
            let path = if name.starts_with('/') { name } else { format!("{}/{name}", handle(arguments[index]).1) };
            below_root(path)
        };
        match name {
            "openat" => {
                let (number, path) = handle(result);
                self.positions.insert(number, 0);
                let flags = arguments[2];
                assert!(
                    !flags.contains("O_TRUNC") && !flags.contains("O_APPEND") || below_root(path.clone()).is_none()
                );
                let creates = flags.contains("O_CREAT");
                below_root(path).filter(|_| creates).map(Op::Create)
            }
            "lseek" => {
                self.positions.insert(handle(arguments[0]).0, result.trim().parse().ok()?);
                None
            }
            "write" => {
                let (number, path) = handle(arguments[0]);
                let data = bytes(arguments[1]);
                let position = self.positions.entry(number).or_default();
                let at = *position;
                *position += data.len() as u64;
                Some(Op::Write(below_root(path)?, at, data))
            }
            "pwrite64" => {
                let path = opened(arguments[0])?;
                Some(Op::Write(path, arguments[3].parse().expect("an offset"), bytes(arguments[1])))
            }
            "ftruncate" => Some(Op::Truncate(opened(arguments[0])?, arguments[1].parse().expect("a length"))),
            "fsync" | "fdatasync" => opened(arguments[0]).filter(|_| !result.starts_with('?')).map(Op::Sync),
            // It writes data, but neither the length of the file nor the cache of the disk.
            "sync_file_range" => None,
            "mkdir" => named(0).map(Op::MakeDir),
            "rename" => Some(Op::Rename(named(0)?, named(1)?)),
            "unlink" | "rmdir" => named(0).map(Op::Remove),
            "renameat2" if arguments[4].contains("RENAME_EXCHANGE") => Some(Op::Exchange(named_at(0)?, named_at(2)?)),
            "renameat" | "renameat2" => Some(Op::Rename(named_at(0)?, named_at(2)?)),
            "unlinkat" => named_at(0).map(Op::Remove),
            _ if !arguments.iter().any(|argument| text(argument).contains(root)) => None,
            _ => panic!("{name} is not handled"),
        }
    }
}

/// Returns the number and the path of `5<\x2f…>`; the path is empty where the file was deleted.
fn handle(argument: &str) -> (u64, String) {
    let argument = argument.trim();
    let (number, path) = argument.split_once('<').unwrap_or((argument, ""));
    let path = if path.ends_with('>') { text(path.trim_end_matches('>')) } else { String::new() };
    (number.parse().unwrap_or(u64::MAX), path)
}

fn quoted(argument: &str) -> String {
    text(argument.trim_matches('"'))
}

fn text(escaped: &str) -> String {
    String::from_utf8_lossy(&bytes(escaped)).into_owned()
}

/// Returns the bytes of `"\x2f\x74"`.
fn bytes(escaped: &str) -> Vec<u8> {
    assert!(!escaped.ends_with("..."), "strace shortened a string");
    let digit = |byte: u8| if byte.is_ascii_digit() { byte - b'0' } else { byte - b'a' + 10 };
    let escaped = escaped.trim_matches('"').as_bytes().chunks_exact(4);
    escaped.filter(|four| four.starts_with(b"\\x")).map(|four| digit(four[2]) << 4 | digit(four[3])).collect()
}
