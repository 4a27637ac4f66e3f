//! Pages of the documentation, which a test compares with what is made here.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use clap::{Arg, ArgAction, Command};

use super::after_help::AfterHelp;
use super::configuration::{INTRODUCTION, tables};
use super::environment::{FILES, VARIABLES};
use crate::exit;

const GLOBAL: &str = "Global options";
const FILTERS: &str = "Which connections";

/// Compares a page with its text; with `CXNPOLL_BLESS` writes it.
fn check(page: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    if std::env::var_os("CXNPOLL_BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let before = fs::read_to_string(&path).unwrap_or_default();
    let differs = text.lines().zip(before.lines()).find(|(new, old)| new != old);
    assert_eq!(differs, None, "CXNPOLL_BLESS=1 cargo test --lib reference:: writes docs/{page}");
    assert_eq!(text, before);
}

#[test]
fn page_of_the_commands_matches_the_program() {
    let mut program = crate::cli::command();
    program.build();
    check("commands.md", &commands(&program));
}

#[test]
fn page_of_the_configuration_matches_the_schema() {
    check("configuration.md", &configuration());
}

fn commands(program: &Command) -> String {
    let mut page = String::from(
        "# Commands\n\n\
         The help texts of the program, on one page. `cxnpoll help` and the manual pages show them too. Data goes to\n\
         standard output, messages go to standard error. If an option is given twice, the last one counts; lists add up.\n\n\
         | command | what it does |\n| --- | --- |\n",
    );
    let mut all = Vec::new();
    collect(program, &mut all);
    for command in &all {
        let name = command.get_bin_name().unwrap_or_default();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        writeln!(page, "| [`{name}`](#{}) | {about} |", name.replace(' ', "-")).unwrap();
    }
    page.push_str(
        "\nThen: [global options](#global-options), [filters](#filters), [exit codes](#exit-codes), \
         [environment](#environment), [files](#files).\n",
    );
    // The filters of this command are those of all commands that have filters.
    let filters = filters(all.iter().find(|command| command.get_name() == "get").unwrap());
    for command in &all {
        add_command(&mut page, command, &filters);
    }
    page.push_str("\n## Global options\n\nEvery command has these.\n\n");
    add_arguments(&mut page, program.get_arguments().filter(|arg| arg.get_help_heading() == Some(GLOBAL)));
    page.push_str("\n## Filters\n\nA connection is selected if it matches all of them.\n\n");
    add_arguments(&mut page, filters.iter().copied());
    page.push_str("\n## Exit codes\n\n| code | meaning | when |\n| --- | --- | --- |\n");
    for exit::Meaning { code, name, when } in &exit::MEANINGS {
        writeln!(page, "| {code} | {name} | {when} |").unwrap();
    }
    page.push_str("\n## Environment\n\n| variable | effect |\n| --- | --- |\n");
    for (names, effect) in VARIABLES {
        let names = names.split(", ").map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        writeln!(page, "| {names} | {effect} |").unwrap();
    }
    page.push_str("\n## Files\n\n`STORE` is the directory of the store.\n\n| path | what it is |\n| --- | --- |\n");
    for (path, purpose) in FILES {
        writeln!(page, "| `{path}` | {purpose} |").unwrap();
    }
    page
}

/// Collects the commands that do something, in the order of the help.
fn collect<'a>(command: &'a Command, all: &mut Vec<&'a Command>) {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
        if below.has_subcommands() { collect(below, all) } else { all.push(below) }
    }
}

fn filters(command: &Command) -> Vec<&Arg> {
    command.get_arguments().filter(|arg| arg.get_help_heading() == Some(FILTERS)).collect()
}

fn add_command(page: &mut String, command: &Command, filters: &[&Arg]) {
    let name = command.get_bin_name().unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    writeln!(page, "\n## {name}\n\n```text\n{}\n```\n", usage.trim_start_matches("Usage: ")).unwrap();
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let (first, rest) = about.split_once("\n\n").unwrap_or((&about, ""));
    writeln!(page, "{first}.").unwrap();
    if !rest.is_empty() {
        writeln!(page, "\n{rest}").unwrap();
    }
    let AfterHelp { remarks, examples } = AfterHelp::of(command);
    for remark in remarks {
        writeln!(page, "\n{remark}").unwrap();
    }
    let is_filter = |arg: &Arg| filters.iter().any(|filter| filter.get_id() == arg.get_id());
    let has_filters = command.get_arguments().any(|arg| arg.get_help_heading() == Some(FILTERS));
    let own = command.get_arguments().filter(|arg| !(is_shared(arg) || has_filters && is_filter(arg)));
    page.push('\n');
    let before = page.len();
    add_arguments(page, own);
    if has_filters {
        page.push_str("- [Filters](#filters)\n");
    }
    if page.len() == before {
        page.pop();
    }
    if !examples.is_empty() {
        writeln!(page, "\n```sh\n{}\n```", examples.join("\n")).unwrap();
    }
}

/// Whether an argument is not described with each command.
fn is_shared(arg: &Arg) -> bool {
    arg.get_help_heading() == Some(GLOBAL) || ["help", "version"].contains(&arg.get_id().as_str())
}

fn add_arguments<'a>(page: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    for arg in arguments.filter(|arg| !arg.is_hide_set()) {
        let value = arg.get_value_names().map(|names| names.join(" ")).filter(|_| takes_value(arg));
        let long = arg.get_long().map(|long| match &value {
            Some(value) if arg.is_require_equals_set() => format!("--{long}[={value}]"),
            Some(value) => format!("--{long} {value}"),
            None => format!("--{long}"),
        });
        let short = arg.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
        let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
        let default = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect::<Vec<_>>();
        let default = match default[..] {
            [] => String::new(),
            _ if !takes_value(arg) => String::new(),
            _ => format!(" [default: `{}`]", default.join(",")),
        };
        writeln!(page, "- {short}`{}`: {help}{default}", long.or(value).unwrap_or_default()).unwrap();
        for value in arg.get_possible_values().iter().filter(|value| takes_value(arg) && !value.is_hide_set()) {
            let help = value.get_help().map(|help| format!(": {help}")).unwrap_or_default();
            writeln!(page, "  - `{}`{help}", value.get_name()).unwrap();
        }
    }
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

fn configuration() -> String {
    let mut page = format!("# Configuration\n\n{}\n\n", INTRODUCTION.join("\n\n"));
    page.push_str(
        "[cxnpoll.toml](cxnpoll.toml) is a sample with comments. [cxnpoll.schema.json](cxnpoll.schema.json) is a JSON schema, which \
         editors use to complete and check the file. This page is made from it.\n",
    );
    for table in tables() {
        let heading =
            if table.header.starts_with('[') { format!("`{}`", table.header) } else { table.heading().to_owned() };
        writeln!(page, "\n## {heading}\n\n{}", table.meaning).unwrap();
        if !table.keys.is_empty() {
            page.push_str("\n| key | value | default | meaning |\n| --- | --- | --- | --- |\n");
        }
        for key in &table.keys {
            let default = match &key.default {
                Some(default) => format!("`{default}`"),
                None if key.is_required => "required".to_owned(),
                None => String::new(),
            };
            writeln!(page, "| `{}` | {} | {default} | {} |", key.name, key.values, key.meaning).unwrap();
        }
        if !table.example.is_empty() {
            writeln!(page, "\n```toml\n{}```", table.example).unwrap();
        }
    }
    page
}
