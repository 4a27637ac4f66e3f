//! The rules: which file may use which, how long a file may be, and which words are not used.

use std::collections::BTreeMap;
use std::fmt;

use super::graph::Graph;
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

/// An order of rooms, the highest first. A room uses rooms of later lines; rooms of one line may use each other in one
/// direction only.
///
/// A room is a file without its `.rs`, or a directory with everything below it.
pub type Order = &'static [&'static [&'static str]];

/// The layers below `src/`.
pub const LAYERS: Order = &[
    &["main", "lib", "app"],
    &["cli"],
    &["run"],
    &["listener", "transfer", "config"],
    &["site", "store"],
    &["protocol", "retry", "batch"],
    &["model", "util", "exit"],
];

/// The rooms of the store, below `src/store/`.
pub const STORE: Order = &[
    &["mod", "face"],
    &["check"],
    &["results", "ops"],
    &["sessions"],
    &["due_hint"],
    &["schema"],
    &["engine"],
    &["error", "failpoint"],
];

/// The line and the room of a file; the path has no `.rs`.
fn room(order: Order, path: &str) -> Option<(usize, &'static str)> {
    let room = path.split(['/', '.']).next()?;
    order.iter().enumerate().find_map(|(at, rooms)| Some((at, *rooms.iter().find(|name| **name == room)?)))
}

/// Uses that point upwards, or both ways between rooms of one line. `below` is the directory of the rooms, below `src/`.
pub fn one_way(graph: &Graph, order: Order, below: &str) -> Vec<Breach> {
    let mut breaches = Vec::new();
    let mut between = BTreeMap::new();
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
            if between.contains_key(&(to_room, from_room)) {
                breach(format!(
                    "`{path}` (src/{to}): `{to_room}` uses `{from_room}` too ({}); let one of them use the other, or move \
                     what both need down",
                    between[&(to_room, from_room)]
                ));
            } else {
                between.entry((from_room, to_room)).or_insert_with(|| format!("src/{from}:{}", edge.line));
            }
        }
    }
    breaches
}

/// Files below `src/` that no order has a room for. `below` is the directory of the rooms.
pub fn unplaced<'a>(files: impl IntoIterator<Item = &'a str>, order: Order, below: &str) -> Vec<Breach> {
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
    /// Words for people, in any case, also as a part of an identifier.
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
    pub fn find(&self, file: &str, text: &str) -> Vec<Breach> {
        let mut breaches = Vec::new();
        for token in tokens(text) {
            for (line, word) in words(&token) {
                if self.allowed.iter().any(|(allowed, name)| *allowed == file && is_spelled(name, word)) {
                    continue;
                }
                let identifiers = if token.kind == Kind::Ident { self.identifiers } else { &[] };
                let former = self.everywhere.iter().chain(identifiers).find(|(former, _)| is_spelled(former, word));
                let person =
                    parts(word).into_iter().find(|part| self.people.iter().any(|person| is_spelled(person, part)));
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

/// The parts of an identifier or word in lower case: of `who_asks`, `WhoAsks` and `WHO_ASKS`, `who` and `asks`.
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
    use super::super::modules::Modules;
    use super::*;

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
        assert_eq!(places(one_way(&up, LAYERS, "")), ["src/model/id.rs:2"]);
        let down = graph(&[
            ("model.rs", "pub struct M;"),
            ("retry.rs", "use crate::model::M;"),
            ("main.rs", "use cxnpoll::retry;"),
        ]);
        assert_eq!(one_way(&down, LAYERS, ""), []);
    }

    #[test]
    fn rooms_of_one_line_use_each_other_one_way() {
        let (site, api) = (("site/mod.rs", "pub struct S;"), ("site/api.rs", "use crate::store::T;"));
        let (store, key) = (("store/mod.rs", "pub struct T;"), ("store/ops.rs", "use crate::site::S;"));
        assert_eq!(one_way(&graph(&[site, api, store]), LAYERS, ""), []);
        assert_eq!(places(one_way(&graph(&[site, api, store, key]), LAYERS, "")), ["src/store/ops.rs:1"]);
    }

    #[test]
    fn the_rooms_of_the_store_have_an_order() {
        let engine = ("store/engine/tx.rs", "use super::super::schema::keys::K;");
        let schema = ("store/schema/keys.rs", "pub struct K;");
        let face = [("store/mod.rs", "mod engine; mod schema; pub struct F;"), ("store/engine/mod.rs", "mod tx;")];
        let inner = ("store/schema/mod.rs", "pub mod keys;");
        let files = [face[0], face[1], inner, engine, schema];
        assert_eq!(places(one_way(&graph(&files), STORE, "store/")), ["src/store/engine/tx.rs:1"]);
        let ops = ("store/ops.rs", "use super::F;\nuse super::schema::keys::K;");
        assert_eq!(places(one_way(&graph(&[face[0], inner, ops, schema]), STORE, "store/")), ["src/store/ops.rs:1"]);
        assert_eq!(one_way(&graph(&files), LAYERS, ""), []);
    }

    #[test]
    fn a_file_without_a_layer_is_a_breach() {
        let files = ["main.rs", "cli/mod.rs", "error.rs", "store/check/rules/id.rs", "store/former.rs"];
        assert_eq!(places(unplaced(files, LAYERS, "")), ["src/error.rs:1"]);
        assert_eq!(places(unplaced(files, STORE, "store/")), ["src/store/former.rs:1"]);
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
    }
}
