//! What a command did to the file system, as strace tells it.

use std::collections::HashMap;

/// A change of the file system.
#[derive(Debug)]
pub enum Op {
    Create(String),
    MakeFolder(String),
    Rename(String, String),
    Remove(String),
    Write(String, u64, Vec<u8>),
    Truncate(String, u64),
    /// All that was done to a file or folder shall last.
    Sync(String),
}

/// A call that changed something, from the moment it began to the moment it had returned.
#[derive(Debug)]
pub struct Event {
    pub began: usize,
    pub done: usize,
    pub op: Op,
}

impl Event {
    /// In a few words.
    pub fn brief(&self) -> String {
        match &self.op {
            Op::Write(path, at, data) => format!("{} bytes to {path} at {at}", data.len()),
            other => format!("{other:?}"),
        }
    }
}

/// What strace has to look at: all that names, writes or syncs. What is not understood ends the test.
pub const CALLS: &str = "trace=open,openat,openat2,creat,write,pwrite64,writev,pwritev,pwritev2,truncate,ftruncate,\
     fallocate,copy_file_range,sendfile,splice,fsync,fdatasync,sync,syncfs,msync,sync_file_range,rename,renameat,\
     renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,link,linkat,symlink,symlinkat,mknod,mknodat,lseek,io_uring_setup";

/// Reads traces one after the other; moments go on from trace to trace.
#[derive(Default)]
pub struct Reader {
    pub events: Vec<Event>,
    pub moment: usize,
    /// Where the next write to an open file goes, by its number.
    positions: HashMap<u64, u64>,
}

impl Reader {
    /// Reads the trace of one command, of which only what happened below `root` matters.
    pub fn read(&mut self, trace: &str, root: &str) {
        let mut waiting: HashMap<&str, (usize, String)> = HashMap::new();
        for line in trace.lines() {
            self.moment += 1;
            let (pid, text) = line.split_once(' ').expect("a line begins with a process");
            let text = text.trim_start();
            if let Some(begun) = text.strip_suffix(" <unfinished ...>") {
                waiting.insert(pid, (self.moment, begun.to_owned()));
            } else if let Some(resumed) = text.strip_prefix("<... ") {
                let Some((began, mut call)) = waiting.remove(pid) else { continue };
                call.push_str(resumed.split_once(" resumed>").expect("a call is resumed").1);
                self.call(&call, began, root);
            } else if !text.starts_with(['+', '-']) {
                self.call(text, self.moment, root);
            }
        }
        // A killed process may have done what it had begun, or not.
        for (_, (began, call)) in waiting {
            self.call(&format!("{call}) = ?"), began, root);
        }
        self.moment += 1;
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
            self.events.push(Event { began, done: self.moment, op });
        }
    }

    fn op(&mut self, name: &str, arguments: &[&str], result: &str, root: &str) -> Option<Op> {
        let ours = |path: String| path.strip_prefix(root).map(|path| path.trim_start_matches('/').to_owned());
        let opened = |argument: &str| ours(handle(argument).1);
        let named = |index: usize| ours(quoted(arguments[index]));
        match name {
            "openat" => {
                let (number, path) = handle(result);
                self.positions.insert(number, 0);
                let flags = arguments[2];
                assert!(!flags.contains("O_TRUNC") && !flags.contains("O_APPEND") || ours(path.clone()).is_none());
                let creates = flags.contains("O_CREAT");
                ours(path).filter(|_| creates).map(Op::Create)
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
                Some(Op::Write(ours(path)?, at, data))
            }
            "pwrite64" => {
                let path = opened(arguments[0])?;
                Some(Op::Write(path, arguments[3].parse().expect("an offset"), bytes(arguments[1])))
            }
            "ftruncate" => Some(Op::Truncate(opened(arguments[0])?, arguments[1].parse().expect("a length"))),
            "fsync" | "fdatasync" => opened(arguments[0]).filter(|_| !result.starts_with('?')).map(Op::Sync),
            // It writes data out, but neither the file's length nor what the disk itself still holds back.
            "sync_file_range" => None,
            "mkdir" => named(0).map(Op::MakeFolder),
            "rename" => Some(Op::Rename(named(0)?, named(1)?)),
            "unlink" | "rmdir" => named(0).map(Op::Remove),
            "unlinkat" => {
                let name = quoted(arguments[1]);
                let path = if name.starts_with('/') { name } else { format!("{}/{name}", handle(arguments[0]).1) };
                ours(path).map(Op::Remove)
            }
            _ if !arguments.iter().any(|argument| text(argument).contains(root)) => None,
            _ => panic!("{name} is not understood yet"),
        }
    }
}

/// The number and the path of `5<\x2f…>`; a path that was deleted is nobody's.
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

/// The bytes of `"\x2f\x74"`.
fn bytes(escaped: &str) -> Vec<u8> {
    assert!(!escaped.ends_with("..."), "strace cut a string short");
    let digit = |byte: u8| if byte.is_ascii_digit() { byte - b'0' } else { byte - b'a' + 10 };
    let escaped = escaped.trim_matches('"').as_bytes().chunks_exact(4);
    escaped.filter(|four| four.starts_with(b"\\x")).map(|four| digit(four[2]) << 4 | digit(four[3])).collect()
}
