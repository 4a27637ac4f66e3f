//! What the pages name exists in the program: options, exit codes, keys, variables. `docs/commands.md` has all of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use fancy_regex::Regex;
use serde_json::Value;

use super::{inline_code, pages, read, root};

/// Options of other programs: the node exporter, the installation script, apt.
const FOREIGN_OPTIONS: [&str; 3] = ["--collector", "--prefix", "--purge"];
/// Variables that only the build and the tests read.
const TEST_VARIABLES: [&str; 7] = [
    "CXNPOLL_BLESS",
    "CXNPOLL_CUTS",
    "CXNPOLL_DIE_AT",
    "CXNPOLL_EVERY_CUT",
    "CXNPOLL_KILLS",
    "CXNPOLL_REQUIRE_TOOLS",
    "CXNPOLL_SCHEDULES",
];

/// Pages for administrators. The others are about development, and name files and options of other programs.
fn pages_of_users() -> Vec<String> {
    let is_for_users = |page: &String| match page.as_str() {
        "docs/design.md" | "docs/benchmarks.md" => false,
        page => page.starts_with("docs/") || page == "README.md",
    };
    pages().into_iter().filter(is_for_users).collect()
}

/// Returns every match of the first group of a pattern.
fn matches(pattern: &str, text: &str) -> BTreeSet<String> {
    let pattern = Regex::new(pattern).unwrap();
    pattern.captures_iter(text).map(|found| found.unwrap()[1].to_owned()).collect()
}

fn options_of_the_reference() -> BTreeSet<String> {
    matches(r"(?m)^- (?:`-[a-zA-Z]`, )?`(--[a-z-]+)", &read("docs/commands.md"))
}

#[test]
fn options_of_the_pages_exist() {
    // Those of the parser, and those of cxnapp's console.
    let mut known = options_of_the_reference();
    known.extend(["--help", "--version", "--ansi", "--no-ansi", "--no-interaction"].map(str::to_owned));
    known.extend(["--env", "--no-debug", "--process-isolation", "--shell", "--profile"].map(str::to_owned));
    known.extend(FOREIGN_OPTIONS.map(str::to_owned));
    let mut named = 0;
    for page in pages_of_users() {
        for code in inline_code(&read(&page)) {
            // Of a command of another program, the options are not ours.
            if !code.starts_with("--") && !code.starts_with("cxnpoll ") {
                continue;
            }
            for option in matches(r"(?:^|[ \[])(--[a-z][a-z-]*)", &code) {
                assert!(known.contains(&option), "{page}: `{code}`: there is no option {option}");
                named += 1;
            }
        }
    }
    assert!(named > 40, "only {named} options were found");
}

/// The page is made in the library; the help is that of the program.
#[test]
fn options_of_every_command_are_in_the_reference() {
    let help = fs::read_to_string(root().join("fixtures/help.txt")).unwrap();
    let of_help = matches(r"(?m)^ +(?:-[a-zA-Z], )?(--[a-z-]+)", &help);
    let of_page = options_of_the_reference();
    let missing: Vec<_> =
        of_help.difference(&of_page).filter(|option| !["--help", "--version"].contains(&&***option)).collect();
    assert!(missing.is_empty() && of_help.len() > 40, "{missing:?}");
}

/// The codes of `src/exit.rs` are those of the reference, and pages name no other.
#[test]
fn exit_codes_of_the_pages_exist() {
    let source = read("src/exit.rs");
    let codes = matches(r"pub const [A-Z_]+: u8 = (\d+);", &source);
    let reference = read("docs/commands.md");
    let table = reference.split("## Exit codes").nth(1).unwrap().split("\n## ").next().unwrap();
    assert_eq!(matches(r"(?m)^\| (\d+) \|", table), codes);
    for page in pages_of_users() {
        let text = read(&page).replace('\n', " ");
        for code in matches(r"(?i)\b(?:exit codes?|exits? with|exit status) (\d+)\b", &text) {
            assert!(codes.contains(&code), "{page}: there is no exit code {code}");
        }
    }
}

#[test]
fn configuration_keys_of_the_pages_exist() {
    let schema: Value = serde_json::from_str(&read("docs/cxnpoll.schema.json")).unwrap();
    let tables: BTreeSet<_> = schema["properties"].as_object().unwrap().keys().cloned().collect();
    let mut keys = BTreeSet::new();
    collect_keys(&schema, &mut keys);
    let reference = read("docs/configuration.md");
    for key in &keys {
        assert!(reference.contains(&format!("| `{key}` |")) || reference.contains(&format!("[{key}")), "{key}");
    }
    for page in pages_of_users() {
        for code in inline_code(&read(&page)) {
            for table in matches(r#"^\[\[?([a-z-]+)(?:\."[^"]*")?\]\]?$"#, &code) {
                assert!(tables.contains(&table), "{page}: there is no table `{code}`");
            }
            for key in matches(r#"^([a-z][a-z-]*) = (?:["\[{0-9]|true|false)"#, &code) {
                assert!(keys.contains(&key), "{page}: there is no key `{code}`");
            }
            for key in matches(r"^(?:timeouts|backups|results|limits|listeners)\.([a-z-]+)$", &code) {
                assert!(keys.contains(&key), "{page}: there is no key `{code}`");
            }
        }
    }
}

/// Collects the names of all properties of a schema.
fn collect_keys(schema: &Value, keys: &mut BTreeSet<String>) {
    let Some(map) = schema.as_object() else { return };
    keys.extend(map.get("properties").and_then(Value::as_object).into_iter().flat_map(|map| map.keys().cloned()));
    for value in map.values() {
        collect_keys(value, keys);
    }
}

#[test]
fn variables_of_the_pages_exist_and_those_of_the_code_are_documented() {
    let documented = read("docs/commands.md");
    let documented = documented.split("## Environment").nth(1).unwrap().split("\n## ").next().unwrap();
    let documented = matches(r"`([A-Z][A-Z_]+)`", documented);
    for page in pages_of_users() {
        for variable in matches(r"\b(CXNPOLL_[A-Z_]+)\b", &read(&page)) {
            let is_known = documented.contains(&variable) || TEST_VARIABLES.contains(&&*variable);
            // Units of systemd pass these to the program as arguments.
            assert!(is_known || ["CXNPOLL_APP", "CXNPOLL_OPTIONS"].contains(&&*variable), "{page}: {variable}");
        }
    }
    let mut source = String::new();
    read_code(&root().join("src"), &mut source);
    let mut read_by_code = matches(r#"(?:var_os|env::var|user_dir|variable)\("([A-Z_]+)""#, &source);
    read_by_code.extend(matches(r#"VARIABLE: &str = "([A-Z_]+)""#, &source));
    assert!(read_by_code.len() > 8, "{read_by_code:?}");
    for variable in &read_by_code {
        let is_known = documented.contains(variable) || TEST_VARIABLES.contains(&&**variable);
        assert!(is_known, "{variable} is not in src/cli/reference/environment.rs");
    }
    // Libraries read the others.
    for variable in documented.iter().filter(|variable| !read_by_code.contains(*variable)) {
        let by_libraries =
            ["HOME", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "LANG", "LOGNAME", "SHELL", "TZ", "USER"];
        assert!(by_libraries.contains(&&**variable), "{variable} is read nowhere");
    }
}

fn read_code(dir: &Path, source: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_code(&path, source);
        } else {
            source.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}
