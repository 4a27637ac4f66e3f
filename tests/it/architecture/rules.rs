//! The rules: which file may use which, how long a file may be, and which words are not used.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use super::graph::Graph;
use super::modules::{Import, Modules};
use super::scan::{Kind, Token, tokens};

/// A breach of a rule, at a place to look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Breach {
    pub file: String,
    pub line: usize,
    /// The rule, what breaks it, and what to do.
    pub message: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// An order of rooms.
///
/// A room is a file without its `.rs`, or a directory with everything below it.
pub struct Order {
    /// The rooms, line by line, the highest first. A room uses rooms of later lines.
    pub lines: &'static [&'static [&'static str]],
    /// Pairs of rooms of one line of which the first may use the second.
    pub siblings: &'static [(&'static str, &'static str)],
}

/// The layers below `src/`.
pub const LAYERS: Order = Order {
    lines: &[
        &["main", "lib", "app"],
        &["cli"],
        &["run", "report", "notify", "registration"],
        &["listener", "transfer", "config"],
        &["site", "store"],
        &["protocol", "retry", "batch"],
        &["model", "util", "exit"],
    ],
    siblings: &[("config", "listener"), ("model", "util")],
};

/// The rooms of the store, below `src/store/`.
pub const STORE: Order = Order {
    lines: &[
        &["temporary"],
        &["mod", "exclusive", "registration"],
        &["face"],
        &["check"],
        &["results", "ops"],
        &["sessions"],
        &["due_hint"],
        &["history"],
        &["schema"],
        &["engine"],
        &["skipped"],
        &["error", "failpoint"],
    ],
    siblings: &[],
};

/// The line and the room of a file; the path has no `.rs`.
fn room(order: &Order, path: &str) -> Option<(usize, &'static str)> {
    let room = path.split(['/', '.']).next()?;
    order.lines.iter().enumerate().find_map(|(at, rooms)| Some((at, *rooms.iter().find(|name| **name == room)?)))
}

/// Uses that point upwards, or to a room of the same line that is not listed.
///
/// A listed pair of rooms without a use is a breach too. `below` is the directory of the rooms, below `src/`.
pub fn one_way(graph: &Graph, order: &Order, below: &str) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut unused: BTreeSet<_> = order.siblings.iter().copied().collect();
    for ((from, to), edge) in &graph.0 {
        let (Some(from_path), Some(to_path)) = (from.strip_prefix(below), to.strip_prefix(below)) else { continue };
        let mut breach = |message: String| {
            breaches.push(Breach { file: format!("src/{from}"), line: edge.line, message });
        };
        let (Some((from_at, from_room)), Some((to_at, to_room))) = (room(order, from_path), room(order, to_path))
        else {
            // Each such file is reported by `unplaced`.
            continue;
        };
        let path = &edge.path;
        if to_at < from_at {
            breach(format!(
                "`{path}` (src/{to}) is above `{from_room}`: imports point from `{to_room}` to `{from_room}`; move the \
                 item down, or pass in what is needed"
            ));
        } else if to_at == from_at && from_room != to_room {
            unused.remove(&(from_room, to_room));
            if !order.siblings.contains(&(from_room, to_room)) {
                breach(format!(
                    "`{path}` (src/{to}): `{from_room}` and `{to_room}` are of one layer; move what both need down, or \
                     pass in what is needed"
                ));
            }
        }
    }
    breaches.extend(unused.into_iter().map(|(from, to)| Breach {
        file: "tests/it/architecture/rules.rs".to_owned(),
        line: 1,
        message: format!("`{from}` does not use `{to}`; take the pair from the list of siblings"),
    }));
    breaches
}

/// Files below `src/` that no order has a room for. `below` is the directory of the rooms.
pub fn unplaced<'a>(files: impl IntoIterator<Item = &'a str>, order: &Order, below: &str) -> Vec<Breach> {
    let unknown =
        files.into_iter().filter(|file| file.strip_prefix(below).is_some_and(|path| room(order, path).is_none()));
    let breach = |file: &str| Breach {
        file: format!("src/{file}"),
        line: 1,
        message:
            "the file belongs to no layer; move it into one, or give its directory a place in `LAYERS` or `STORE` of \
                  tests/it/architecture/rules.rs"
                .to_owned(),
    };
    unknown.map(breach).collect()
}

/// Glob imports from this crate: they hide which files are used.
pub fn globs(modules: &Modules) -> Vec<Breach> {
    let breach = |(file, import): (&str, &Import)| Breach {
        file: format!("src/{file}"),
        line: import.line,
        message: format!("`{}::*` hides what is used; import the names", import.path.join("::")),
    };
    modules.globs().into_iter().map(breach).collect()
}

/// Files that use each other, directly or in a cycle.
pub fn cycles(graph: &Graph) -> Vec<Breach> {
    let edge = |from: &str, to: &str| &graph.0[&(from.to_owned(), to.to_owned())];
    let mutual = graph.mutual().into_iter().map(|(one, other)| {
        let (there, back) = (edge(one, other), edge(other, one));
        let message = format!(
            "uses `{}`, and src/{other}:{} uses `{}`: no two files import each other; move what both need into a third",
            there.path, back.line, back.path
        );
        Breach { file: format!("src/{one}"), line: there.line, message }
    });
    let longer = graph.cycles().into_iter().map(|cycle| {
        let steps = cycle.iter().zip(cycle.iter().cycle().skip(1));
        let steps: Vec<_> = steps.map(|(from, to)| format!("{from}:{} -> {to}", edge(from, to).line)).collect();
        let message = format!("files import each other in a cycle ({}); cut one of these imports", steps.join(", "));
        Breach { file: format!("src/{}", cycle[0]), line: edge(cycle[0], cycle[1 % cycle.len()]).line, message }
    });
    mutual.chain(longer).collect()
}

/// The longest file, in lines.
pub const MAX_LINES: usize = 400;

/// The breach of a file that is too long.
pub fn too_long(file: &str, text: &str) -> Option<Breach> {
    let lines = text.lines().count();
    let message = || format!("the file has {lines} lines, more than {MAX_LINES}; split it by ideas");
    (lines > MAX_LINES).then(|| Breach { file: file.to_owned(), line: MAX_LINES + 1, message: message() })
}

/// A list of words that are not used any more.
pub struct Banned<'a> {
    /// Words for people, in any case, also as a part of an identifier. Pages are about people and may have them.
    pub people: &'a [&'a str],
    /// Former and current names. The former must not occur in code, comments and strings.
    pub everywhere: &'a [(&'a str, &'a str)],
    /// Former and current names. The former must not occur as identifiers of code; in text they are ordinary words.
    pub identifiers: &'a [(&'a str, &'a str)],
    /// Pairs of a file and a word that is allowed there, because users know it.
    pub allowed: &'a [(&'a str, &'a str)],
}

impl Banned<'_> {
    /// All uses of banned words in a file.
    ///
    /// Other files than those of Rust are read as one comment.
    pub fn find(&self, file: &str, text: &str) -> Vec<Breach> {
        let mut breaches = Vec::new();
        let has_extension = |wanted: &str| Path::new(file).extension().is_some_and(|extension| extension == wanted);
        let people = if has_extension("md") { &[] } else { self.people };
        let comment = || vec![Token { kind: Kind::Comment, text: text.to_owned(), line: 1 }];
        for token in if has_extension("rs") { tokens(text) } else { comment() } {
            for (line, word) in words(&token) {
                if self.allowed.iter().any(|(allowed, name)| *allowed == file && is_spelled(name, word)) {
                    continue;
                }
                let identifiers = if token.kind == Kind::Ident { self.identifiers } else { &[] };
                let former = self.everywhere.iter().chain(identifiers).find(|(former, _)| is_spelled(former, word));
                let person = parts(word).into_iter().find(|part| people.iter().any(|person| is_spelled(person, part)));
                let message = match (person, former) {
                    (Some(person), _) => {
                        format!("`{word}`: name the caller, the process or the run instead of `{person}`")
                    }
                    (None, Some((_, current))) => format!("`{word}` is a former name; its successor is `{current}`"),
                    (None, None) => continue,
                };
                breaches.push(Breach { file: file.to_owned(), line, message });
            }
        }
        breaches
    }
}

/// Whether an entry of a list, in which a hyphen separates the first letter, spells this word.
fn is_spelled(entry: &str, word: &str) -> bool {
    entry.split_once('-').is_some_and(|(first, rest)| word.strip_prefix(first) == Some(rest))
}

/// The words of a token that can be banned, with their lines.
fn words<'a>(token: &'a Token) -> Vec<(usize, &'a str)> {
    if matches!(token.kind, Kind::Punct | Kind::Other) {
        return Vec::new();
    }
    let in_line = |(line, text): (usize, &'a str)| {
        let words = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
        words.map(move |word| (line, word))
    };
    (token.line..).zip(token.text.split('\n')).flat_map(in_line).collect()
}

/// The parts of an identifier or word in lower case.
///
/// They are `who` and `asks` for each of `who_asks`, `WhoAsks` and `WHO_ASKS`.
fn parts(word: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut after_lower = false;
    for c in word.chars() {
        if c == '_' || (c.is_uppercase() && after_lower) {
            parts.push(String::new());
        }
        after_lower = c.is_lowercase();
        if c != '_' {
            parts.last_mut().expect("it is never empty").extend(c.to_lowercase());
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Orders without siblings, so that no list of these can be incomplete.
    const ORDER: Order = Order { siblings: &[], ..LAYERS };
    const ROOMS: Order = Order { siblings: &[], ..STORE };

    fn graph(files: &[(&str, &str)]) -> Graph {
        Graph::of(&Modules::read(files.iter().copied()))
    }

    fn places(breaches: Vec<Breach>) -> Vec<String> {
        breaches.into_iter().map(|breach| format!("{}:{}", breach.file, breach.line)).collect()
    }

    #[test]
    fn an_import_that_points_up_is_a_breach() {
        let up = graph(&[
            ("model/mod.rs", "mod id;"),
            ("model/id.rs", "\nuse crate::retry::P;"),
            ("retry.rs", "pub struct P;"),
        ]);
        assert_eq!(places(one_way(&up, &ORDER, "")), ["src/model/id.rs:2"]);
        let down = graph(&[
            ("model.rs", "pub struct M;"),
            ("retry.rs", "use crate::model::M;"),
            ("main.rs", "use cxnpoll::retry;"),
        ]);
        assert_eq!(one_way(&down, &ORDER, ""), []);
    }

    #[test]
    fn rooms_of_one_line_use_each_other_only_as_listed() {
        let (config, listener) = (("config.rs", "use crate::listener::L;"), ("listener.rs", "pub struct L;"));
        let order = Order { siblings: &[("config", "listener")], ..LAYERS };
        assert_eq!(one_way(&graph(&[config, listener]), &order, ""), []);
        assert_eq!(places(one_way(&graph(&[config, listener]), &ORDER, "")), ["src/config.rs:1"]);
        let (up, down) = (("config.rs", "pub struct C;"), ("listener.rs", "use crate::config::C;"));
        let unlisted = places(one_way(&graph(&[up, down]), &order, ""));
        assert_eq!(unlisted, ["src/listener.rs:1", "tests/it/architecture/rules.rs:1"], "the listed pair has no use");
    }

    #[test]
    fn a_glob_import_of_this_crate_is_a_breach() {
        let text = "use a::prelude::*;\nuse crate::b::{C, d::*};\n#[cfg(test)] mod tests { use super::*; }";
        let modules = Modules::read([("a.rs", text), ("b.rs", "")]);
        assert_eq!(places(globs(&modules)), ["src/a.rs:2"]);
    }

    #[test]
    fn the_rooms_of_the_store_have_an_order() {
        let engine = ("store/engine/tx.rs", "use super::super::schema::keys::K;");
        let schema = ("store/schema/keys.rs", "pub struct K;");
        let face = [("store/mod.rs", "mod engine; mod schema; pub struct F;"), ("store/engine/mod.rs", "mod tx;")];
        let inner = ("store/schema/mod.rs", "pub mod keys;");
        let files = [face[0], face[1], inner, engine, schema];
        assert_eq!(places(one_way(&graph(&files), &ROOMS, "store/")), ["src/store/engine/tx.rs:1"]);
        let ops = ("store/ops.rs", "use super::F;\nuse super::schema::keys::K;");
        assert_eq!(places(one_way(&graph(&[face[0], inner, ops, schema]), &ROOMS, "store/")), ["src/store/ops.rs:1"]);
        assert_eq!(one_way(&graph(&files), &ORDER, ""), []);
    }

    #[test]
    fn a_file_without_a_layer_is_a_breach() {
        let files = ["main.rs", "cli/mod.rs", "error.rs", "store/check/rules/id.rs", "store/former.rs"];
        assert_eq!(places(unplaced(files, &LAYERS, "")), ["src/error.rs:1"]);
        assert_eq!(places(unplaced(files, &STORE, "store/")), ["src/store/former.rs:1"]);
    }

    #[test]
    fn cycles_are_breaches() {
        let pair = graph(&[("a.rs", "\nuse crate::b::B; pub struct A;"), ("b.rs", "use crate::a::A; pub struct B;")]);
        assert_eq!(places(cycles(&pair)), ["src/a.rs:2"]);
        let three = [
            ("a.rs", "use crate::b::B;pub struct A;"),
            ("b.rs", "use crate::c::C;pub struct B;"),
            ("c.rs", "pub struct C;"),
        ];
        assert_eq!(cycles(&graph(&three)), []);
        let closed = [three[0], three[1], ("c.rs", "pub struct C;\nuse crate::a::A;")];
        assert_eq!(places(cycles(&graph(&closed))), ["src/a.rs:1"]);
        let parent =
            [("m/mod.rs", "mod c; fn f() { c::C; }\npub struct M;"), ("m/c.rs", "use super::M; pub struct C;")];
        assert_eq!(places(cycles(&graph(&parent))), ["src/m/c.rs:1"]);
    }

    #[test]
    fn four_hundred_lines_are_the_limit() {
        assert_eq!(too_long("a.rs", &"\n".repeat(400)), None);
        assert_eq!(too_long("a.rs", &"\n".repeat(401)).unwrap().line, 401);
    }

    #[test]
    fn banned_words_are_found_where_they_are_banned() {
        let banned = Banned {
            people: &["w-ho"],
            everywhere: &[("D-ueBucket", "Bucket")],
            identifiers: &[("s-tay", "open")],
            allowed: &[("ok.rs", "D-ueBucket")],
        };
        let lines = |text: &str| banned.find("a.rs", text).into_iter().map(|breach| breach.line).collect::<Vec<_>>();
        assert_eq!(lines("// Who\n/// not whole\n/* a\nwho */\n\"x\nwho\""), [1, 4, 6]);
        assert_eq!(lines("fn who_asks() {}\nstruct WhoAsks;\nconst A_WHO: u8 = 1;\nlet whole = 'w';"), [1, 2, 3]);
        assert_eq!(lines("struct DueBucket;\n// a DueBucket\n\"DueBucket\"\nlet x: Shelfful; // Shelf_1"), [1, 2, 3]);
        assert_eq!(lines("// to stay\n\"stay\"\na.stay()"), [3]);
        assert_eq!(banned.find("ok.rs", "// DueBucket"), []);
        assert_eq!(places(banned.find("a.sh", "# stay\n# who\n# DueBucket")), ["a.sh:2", "a.sh:3"]);
        assert_eq!(places(banned.find("a.md", "those who stay\n`DueBucket`")), ["a.md:2"]);
    }
}
