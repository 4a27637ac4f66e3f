//! The graph of files below `src/`: an edge leads from a file to each file whose items it uses.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::modules::{Import, Module, ModulePath, Modules};

/// How this crate is called in `main.rs` and in its own examples.
const CRATE: &str = "cxnpoll";
/// More aliases in a row are a cycle of re-exports.
const MAX_ALIASES: usize = 10;

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Resolved {
    Module(ModulePath),
    /// An item that the module defines itself.
    Item(ModulePath),
}

/// The first use of another file: the line and the path as it is written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    pub line: usize,
    pub path: String,
}

/// Edges by the file that uses and the file that is used.
#[derive(Debug, Default)]
pub struct Graph(pub BTreeMap<(String, String), Edge>);

impl Graph {
    /// Finds all edges between the files of a module tree.
    ///
    /// A `mod.rs` that re-exports an item of its own child does not use the child, unless its own code names the item.
    /// Glob imports lead nowhere; [`Modules::globs`] finds those that hide uses.
    pub fn of(modules: &Modules) -> Self {
        let mut graph = Self::default();
        for (path, module) in &modules.0 {
            for import in &module.imports {
                graph.add_import(modules, path, module, import);
            }
            for used in &module.paths {
                if let Some(Resolved::Item(target)) = modules.resolve(path, &used.path, MAX_ALIASES) {
                    graph.add(modules, module, &target, used.line, &used.path);
                }
            }
        }
        graph
    }

    fn add_import(&mut self, modules: &Modules, path: &ModulePath, module: &Module, import: &Import) {
        let Some(place) = modules.resolve(path, &import.path, MAX_ALIASES) else { return };
        match place {
            // What code takes through the name of a parent counts where it is taken.
            Resolved::Module(target) if modules.is_parent(&target) => {}
            Resolved::Module(target) | Resolved::Item(target) => {
                let line = if target.len() > path.len() && target.starts_with(path) && import.alias != "_" {
                    // A child: it counts if this module's own code names it.
                    module.used.get(&import.alias).copied()
                } else {
                    Some(import.line)
                };
                if let Some(line) = line {
                    self.add(modules, module, &target, line, &import.path);
                }
            }
        }
    }

    fn add(&mut self, modules: &Modules, from: &Module, to: &[String], line: usize, path: &[String]) {
        let to = &modules.0[to].file;
        if from.file != *to {
            let edge = Edge { line, path: path.join("::") };
            self.0.entry((from.file.clone(), to.clone())).or_insert(edge);
        }
    }

    /// Pairs of files that use each other, in alphabetical order.
    pub fn mutual(&self) -> Vec<(&str, &str)> {
        let pairs = self.0.keys().filter(|(from, to)| from < to && self.0.contains_key(&(to.clone(), from.clone())));
        pairs.map(|(from, to)| (&**from, &**to)).collect()
    }

    /// A shortest cycle of three or more files through each file that is in one, each cycle once.
    ///
    /// Cycles that need both directions between two files are left to [`Self::mutual`].
    pub fn cycles(&self) -> Vec<Vec<&str>> {
        let mutual = self.mutual();
        let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (from, to) in self.0.keys() {
            if !mutual.contains(&(from, to)) && !mutual.contains(&(to, from)) {
                next.entry(from).or_default().push(to);
            }
        }
        let mut seen = BTreeSet::new();
        let cycles = next.keys().filter_map(|start| shortest_cycle(&next, start));
        cycles.filter(|cycle| seen.insert(cycle.iter().copied().collect::<BTreeSet<_>>())).collect()
    }
}

fn shortest_cycle<'a>(next: &BTreeMap<&'a str, Vec<&'a str>>, start: &'a str) -> Option<Vec<&'a str>> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(file) = queue.pop_front() {
        for to in next.get(file).into_iter().flatten() {
            if *to == start {
                let mut cycle = vec![file];
                while cycle[0] != start {
                    cycle.insert(0, came_from[cycle[0]]);
                }
                return Some(cycle);
            }
            if !came_from.contains_key(to) {
                came_from.insert(to, file);
                queue.push_back(to);
            }
        }
    }
    None
}

impl Modules {
    /// Where a path leads that is written in a module.
    ///
    /// `None` means that it leads out of the crate, or is no path of modules.
    fn resolve(&self, module: &[String], path: &[String], aliases: usize) -> Option<Resolved> {
        let (first, rest) = path.split_first()?;
        let mut start = match &first[..] {
            "crate" | CRATE => Vec::new(),
            "self" | "super" => module.to_vec(),
            _ => return self.find(module, path, aliases),
        };
        let mut rest = rest;
        if first == "super" {
            start.pop();
            while rest.first().is_some_and(|name| name == "super") {
                start.pop();
                rest = &rest[1..];
            }
        }
        // A name that is not found, such as that of a macro, belongs to the last module that is.
        self.find(&start, rest, aliases).or_else(|| self.0.contains_key(&start).then_some(Resolved::Item(start)))
    }

    /// Glob imports from modules of this crate, each with the file that it stands in.
    pub fn globs(&self) -> Vec<(&str, &Import)> {
        let imports =
            self.0.iter().flat_map(|(path, module)| module.imports.iter().map(move |import| (path, module, import)));
        let globs = imports.filter(|(path, _, import)| import.alias == "*" && self.is_ours(path, &import.path));
        globs.map(|(_, module, import)| (&*module.file, import)).collect()
    }

    /// Whether a path starts at this crate, a parent or a child, and not at another crate.
    fn is_ours(&self, module: &[String], path: &[String]) -> bool {
        ["crate", "self", "super", CRATE].contains(&&*path[0]) || self.0.contains_key(&[module, &path[..1]].concat())
    }

    /// Where names lead that are looked up in a module, one after the other.
    fn find(&self, module: &[String], names: &[String], aliases: usize) -> Option<Resolved> {
        let content = self.0.get(module)?;
        let Some((name, rest)) = names.split_first() else { return Some(Resolved::Module(module.to_vec())) };
        let child = [module, std::slice::from_ref(name)].concat();
        if self.0.contains_key(&child) {
            // Below a module that is known, a name that is not found is an item of the module.
            return self.find(&child, rest, aliases).or(Some(Resolved::Item(child)));
        }
        if content.defined.contains(name) {
            return Some(Resolved::Item(module.to_vec()));
        }
        let aliases = aliases.checked_sub(1)?;
        let onward = |import: &Import| match self.resolve(module, &import.path, aliases)? {
            Resolved::Module(target) => self.find(&target, rest, aliases).or(Some(Resolved::Item(target))),
            item @ Resolved::Item(_) => Some(item),
        };
        // `use json::json` names another crate, or a child that was found above.
        let mut named = content.imports.iter().filter(|import| import.alias == *name && import.path[0] != *name);
        named.find_map(onward)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(files: &[(&str, &str)]) -> Vec<String> {
        let graph = Graph::of(&Modules::read(files.iter().copied()));
        graph.0.iter().map(|((from, to), edge)| format!("{from}:{} -> {to}", edge.line)).collect()
    }

    #[test]
    fn a_name_is_followed_through_re_exports() {
        let files = [
            ("lib.rs", "pub mod a; pub mod b;"),
            ("a/mod.rs", "mod c;\npub use c::{C, d as e};\npub use super::b::B;"),
            ("a/c.rs", "pub struct C;\npub fn d() {}"),
            ("b.rs", "pub struct B;"),
            ("x.rs", "use crate::a::{C, e};"),
            ("y.rs", "use crate::a;\nfn f() { a::B; }"),
        ];
        assert_eq!(edges(&files), ["a/mod.rs:3 -> b.rs", "x.rs:1 -> a/c.rs", "y.rs:2 -> b.rs"]);
    }

    #[test]
    fn a_re_export_is_no_use_but_own_code_is() {
        let child = ("a/c.rs", "pub struct C;");
        assert!(edges(&[("a/mod.rs", "mod c; pub use c::C;"), child]).is_empty());
        assert_eq!(edges(&[("a/mod.rs", "mod c; pub use c::C;\nfn f() -> C {}"), child]), ["a/mod.rs:2 -> a/c.rs"]);
        assert_eq!(edges(&[("a/mod.rs", "mod c;\nfn f() { c::C; }"), child]), ["a/mod.rs:2 -> a/c.rs"]);
        let function = ("a/c.rs", "pub fn c() {}");
        let value = ("a/mod.rs", "mod c; pub use c::c as d;\nfn f() { x.map(d) }");
        assert_eq!(edges(&[value, function]), ["a/mod.rs:2 -> a/c.rs"]);
    }

    #[test]
    fn a_child_uses_its_parent_only_for_what_the_parent_defines() {
        let sibling = ("a/c.rs", "pub struct C;");
        let parent = ("a/mod.rs", "mod c; mod d;\npub use c::C;\npub struct A;");
        assert_eq!(edges(&[parent, sibling, ("a/d.rs", "use super::C;")]), ["a/d.rs:1 -> a/c.rs"]);
        assert_eq!(edges(&[parent, sibling, ("a/d.rs", "use super::A;")]), ["a/d.rs:1 -> a/mod.rs"]);
    }

    #[test]
    fn attributes_inline_modules_and_the_binary_count() {
        let target = ("a.rs", "pub fn f() {}");
        assert_eq!(edges(&[target, ("b.rs", "#[arg(p = crate::a::f)]\nstruct B;")]), ["b.rs:1 -> a.rs"]);
        assert_eq!(edges(&[target, ("b.rs", "mod c {\n use super::super::a::f;\n}")]), ["b.rs:2 -> a.rs"]);
        let main = ("main.rs", "fn main() { cxnpoll::a::f() }");
        assert_eq!(edges(&[("lib.rs", "mod a;"), target, main]), ["main.rs:1 -> a.rs"]);
    }

    #[test]
    fn other_crates_and_local_names_are_no_edges() {
        let files =
            [("a.rs", "pub struct A;"), ("b.rs", "use std::fs; use ::a::A;\nfn f(a: B) { a::A; c::D; a.e(); }")];
        assert!(edges(&files).is_empty());
    }

    #[test]
    fn cycles_are_found() {
        let files = [
            ("a.rs", "use crate::b::B; pub struct A;"),
            ("b.rs", "use crate::a::A; pub struct B;"),
            ("c.rs", "use crate::d::D; pub struct C;"),
            ("d.rs", "use crate::e::E; pub struct D;"),
            ("e.rs", "use crate::c::C; pub struct E;"),
            ("lib.rs", ""),
        ];
        let graph = Graph::of(&Modules::read(files));
        assert_eq!(graph.mutual(), [("a.rs", "b.rs")]);
        assert_eq!(graph.cycles(), [["c.rs", "d.rs", "e.rs"]]);
    }
}
