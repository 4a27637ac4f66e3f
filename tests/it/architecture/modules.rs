//! Reads the module tree below `src/`: what each module declares, defines, imports and uses.

use std::collections::{BTreeMap, BTreeSet};

use super::scan::{Kind, Token, tokens};

/// A module's path from the crate's root.
///
/// The root of the library is empty, and `main.rs` is `["main"]`.
pub type ModulePath = Vec<String>;

/// One name that a `use` declaration brings into scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    pub path: Vec<String>,
    /// The name in scope; `*` for a glob.
    pub alias: String,
    pub is_public: bool,
    pub line: usize,
}

/// A path with `::` that code uses outside of `use` declarations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathUse {
    pub path: Vec<String>,
    pub line: usize,
}

/// What one module, of its own file or inline, holds outside of tests.
#[derive(Debug, Default)]
pub struct Module {
    /// The file that it stands in, relative to `src/`.
    pub file: String,
    /// Names of the items that it defines itself, at its top level.
    pub defined: BTreeSet<String>,
    pub imports: Vec<Import>,
    pub paths: Vec<PathUse>,
    /// Names that its own code uses, with the line of the first use.
    pub used: BTreeMap<String, usize>,
}

/// All modules below `src/` that are not tests.
#[derive(Debug, Default)]
pub struct Modules(pub BTreeMap<ModulePath, Module>);

impl Modules {
    /// Reads files, given as their path relative to `src/` and their text. There is always a root.
    pub fn read<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut modules = Self(BTreeMap::from([(Vec::new(), Module::default())]));
        let mut tests = Vec::new();
        for (file, text) in files {
            let tokens: Vec<Token> = tokens(text).into_iter().filter(|token| token.kind != Kind::Comment).collect();
            let path = module_path(file);
            let mut reader = Reader { tokens: &tokens, at: 0, modules: &mut modules, tests: &mut tests, file };
            reader.module(&path);
        }
        modules.0.retain(|path, _| !tests.iter().any(|test: &ModulePath| path.starts_with(test)));
        modules
    }

    /// Whether a module has children with files of their own.
    pub fn is_parent(&self, path: &[String]) -> bool {
        let file = self.0.get(path).map(|module| &module.file);
        self.0
            .iter()
            .any(|(other, module)| other.len() > path.len() && other.starts_with(path) && Some(&module.file) != file)
    }
}

fn module_path(file: &str) -> ModulePath {
    let path = file.strip_suffix(".rs").unwrap_or(file);
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if path == "lib" { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    modules: &'a mut Modules,
    /// Modules that exist in tests only, with a file of their own.
    tests: &'a mut Vec<ModulePath>,
    file: &'a str,
}

impl Reader<'_> {
    /// Reads the items of a module up to its closing brace or the end of the file.
    fn module(&mut self, path: &[String]) {
        let mut module = Module { file: self.file.to_owned(), ..Module::default() };
        let mut depth = 0;
        while let Some(token) = self.tokens.get(self.at) {
            match &token.text[..] {
                "#" if token.kind == Kind::Punct && self.is_test_attribute() => self.skip_test_item(path),
                "{" if token.kind == Kind::Punct => {
                    depth += 1;
                    self.at += 1;
                }
                "}" if token.kind == Kind::Punct => {
                    self.at += 1;
                    if depth == 0 {
                        break;
                    }
                    depth -= 1;
                }
                "mod" if token.kind == Kind::Ident && self.punct_at(2, '{') => {
                    let child = [path, &[self.text(1)]].concat();
                    self.at += 3;
                    self.module(&child);
                }
                "use" if token.kind == Kind::Ident && !self.punct_at(1, '<') => self.use_declaration(&mut module),
                "in" if self.at >= 2 && self.tokens[self.at - 2].is_word("pub") => self.skip_past(')'),
                "macro_rules" => {
                    module.defined.insert(self.text(2));
                    self.at += 3;
                }
                _ if token.kind == Kind::Ident => self.word(&mut module, depth),
                _ => {
                    if token.kind == Kind::Text && is_path(&token.text) {
                        let path = token.text.split("::").map(str::to_owned).collect();
                        module.paths.push(PathUse { path, line: token.line });
                    }
                    self.at += 1;
                }
            }
        }
        self.modules.0.insert(path.to_vec(), module);
    }

    /// Reads an identifier, with the path that it begins, or the item that it defines.
    fn word(&mut self, module: &mut Module, depth: usize) {
        const DEFINES: [&str; 8] = ["fn", "struct", "enum", "trait", "type", "const", "static", "union"];
        let first = &self.tokens[self.at];
        let is_name = |token: Option<&Token>| token.is_some_and(|token| token.kind == Kind::Ident);
        if DEFINES.contains(&&*first.text) && is_name(self.tokens.get(self.at + 1)) {
            if depth == 0 && !self.tokens[self.at + 1].is_word("fn") {
                module.defined.insert(self.text(1));
            }
            // The name after `fn` is no use of what has the same name elsewhere.
            self.at += if DEFINES.contains(&&*self.text(1)) { 1 } else { 2 };
            return;
        }
        let mut path = vec![first.text.clone()];
        let after_dot = self.at > 0 && self.tokens[self.at - 1].is_punct('.');
        self.at += 1;
        while self.punct_at(0, ':') && self.punct_at(1, ':') && is_name(self.tokens.get(self.at + 2)) {
            path.push(self.text(2));
            self.at += 3;
        }
        if !after_dot {
            module.used.entry(path[0].clone()).or_insert(first.line);
        }
        if path.len() > 1 {
            module.paths.push(PathUse { path, line: first.line });
        }
    }

    fn use_declaration(&mut self, module: &mut Module) {
        let before = self.at.checked_sub(1).map(|at| &self.tokens[at]);
        let is_public = before.is_some_and(|token| token.is_word("pub") || token.is_punct(')'));
        self.at += 1;
        let first = module.imports.len();
        self.use_tree(&[], &mut module.imports);
        module.imports[first..].iter_mut().for_each(|import| import.is_public = is_public);
        self.skip_past(';');
    }

    fn use_tree(&mut self, prefix: &[String], imports: &mut Vec<Import>) {
        let mut path = prefix.to_vec();
        if self.punct_at(0, ':') {
            // `::name` is another crate.
            self.at += 2;
            path.push(String::new());
        }
        while let Some(token) = self.tokens.get(self.at) {
            let line = token.line;
            if token.is_punct('{') {
                self.at += 1;
                while self.tokens.get(self.at).is_some_and(|token| !token.is_punct('}')) {
                    self.use_tree(&path, imports);
                    self.at += usize::from(self.punct_at(0, ','));
                }
                self.at += 1;
                return;
            }
            self.at += 1;
            if token.is_punct('*') {
                imports.push(Import { path, alias: "*".to_owned(), is_public: false, line });
                return;
            }
            let is_group_itself = token.is_word("self") && !path.is_empty();
            if !is_group_itself {
                path.push(token.text.clone());
            }
            if self.punct_at(0, ':') {
                self.at += 2;
                continue;
            }
            let mut alias = path.last().cloned().unwrap_or_default();
            if self.tokens.get(self.at).is_some_and(|token| token.is_word("as")) {
                alias = self.text(1);
                self.at += 2;
            }
            imports.push(Import { path, alias, is_public: false, line });
            return;
        }
    }

    /// Whether an attribute starts here that limits what follows to tests.
    fn is_test_attribute(&self) -> bool {
        let words = self.tokens[self.at..].iter().take_while(|token| !token.is_punct(']'));
        let words: Vec<_> = words.filter(|token| token.kind == Kind::Ident).map(|token| &*token.text).collect();
        matches!(&words[..], ["cfg", "test"] | ["cfg", "all", "test", ..])
    }

    /// Skips an item with its attributes; a module with a file of its own is noted.
    fn skip_test_item(&mut self, path: &[String]) {
        while self.punct_at(0, '#') {
            self.skip_past(']');
        }
        let mut depth = 0;
        let mut is_use = false;
        while let Some(token) = self.tokens.get(self.at) {
            is_use |= depth == 0 && token.is_word("use");
            if token.is_word("mod") && self.punct_at(2, ';') {
                self.tests.push([path, &[self.text(1)]].concat());
            }
            self.at += 1;
            if ['{', '(', '['].into_iter().any(|open| token.is_punct(open)) {
                depth += 1;
            } else if ['}', ')', ']'].into_iter().any(|close| token.is_punct(close)) {
                depth -= 1;
                if depth == 0 && token.is_punct('}') && !is_use {
                    return;
                }
            } else if depth == 0 && token.is_punct(';') {
                return;
            }
        }
    }

    fn skip_past(&mut self, end: char) {
        let rest = &self.tokens[self.at..];
        self.at += rest.iter().position(|token| token.is_punct(end)).map_or(rest.len(), |at| at + 1);
    }

    fn punct_at(&self, ahead: usize, c: char) -> bool {
        self.tokens.get(self.at + ahead).is_some_and(|token| token.is_punct(c))
    }

    fn text(&self, ahead: usize) -> String {
        self.tokens.get(self.at + ahead).map(|token| token.text.clone()).unwrap_or_default()
    }
}

/// Whether a string literal names something of this crate, as attributes of serde do.
fn is_path(text: &str) -> bool {
    (text.starts_with("crate::") || text.starts_with("super::"))
        && text.chars().all(|c| c.is_alphanumeric() || c == '_' || c == ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Module {
        Modules::read([("a.rs", text)]).0.remove(&vec!["a".to_owned()]).unwrap()
    }

    fn imports(text: &str) -> Vec<String> {
        only(text).imports.iter().map(|import| format!("{} as {}", import.path.join("::"), import.alias)).collect()
    }

    #[test]
    fn nested_groups_are_flattened() {
        let text = "use crate::{a, b::{self, c as d, e::*}, f as _};\npub(crate) use super::super::g;\nuse ::h::i;";
        let expected = [
            "crate::a as a",
            "crate::b as b",
            "crate::b::c as d",
            "crate::b::e as *",
            "crate::f as _",
            "super::super::g as g",
            "::h::i as i",
        ];
        assert_eq!(imports(text), expected);
        assert_eq!(only(text).imports.iter().filter(|import| import.is_public).count(), 1);
    }

    #[test]
    fn tests_are_left_out() {
        let text = "use crate::a;\n#[cfg(test)]\n#[path = \"x\"]\npub(crate) mod tests {\n use crate::b; mod c {} }\n\
            #[cfg(test)]\nuse crate::{d, e};\n#[cfg(test)] fn f(x: [u8; 3]) -> u8 { g::h() }\nuse crate::i;";
        assert_eq!(imports(text), ["crate::a as a", "crate::i as i"]);
        assert!(only(text).paths.is_empty());
        let after = "#[cfg(test)] mod tests { use super::*; fn f() {} }\nuse crate::a;\nfn g() { b::c(); }";
        assert_eq!(imports(after), ["crate::a as a"]);
        assert_eq!(only(after).paths.len(), 1);
        let files = [("s/mod.rs", "#[cfg(test)] mod tests;\nmod t;"), ("s/tests.rs", ""), ("s/t.rs", "")];
        let paths: Vec<_> = Modules::read(files).0.into_keys().map(|path| path.join("::")).collect();
        assert_eq!(paths, ["", "s", "s::t"]);
    }

    #[test]
    fn paths_in_code_attributes_and_strings_are_found() {
        let text = "#[arg(value_parser = super::app)]\npub(in crate::x) struct A;\n#[serde(with = \"crate::b::c\")]\n\
            impl super::Store { fn f() { d::<e::F>(); x.y::<G>(); crate::h!(); let i = &'s j::K; } }";
        let found: Vec<_> = only(text).paths.iter().map(|path| path.path.join("::")).collect();
        assert_eq!(found, ["super::app", "crate::b::c", "super::Store", "e::F", "crate::h", "j::K"]);
    }

    #[test]
    fn only_items_at_the_top_are_defined() {
        let text = "pub const fn a() { struct B; }\nimpl C { fn d() {} const E: u8 = 1; }\nstatic F: u8 = 1;\n\
            macro_rules! g { () => {} }\nmod h { pub struct I; }\ntype J = u8;";
        assert_eq!(only(text).defined.into_iter().collect::<Vec<_>>(), ["F", "J", "a", "g"]);
    }
}
