//! Manual pages.

use std::io::{self, Write};

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};

use super::after_help::AfterHelp;
use super::configuration::{self, PAGE as CONFIGURATION};
use super::environment::{FILES, VARIABLES};
use crate::exit;

const SOURCE: &str = concat!("cxnpoll ", env!("CARGO_PKG_VERSION"));
const MANUAL: &str = "cxnpoll manual";

/// The manual page of a command.
pub(in crate::cli) struct Page<'a> {
    command: &'a Command,
    page: Man,
}

impl<'a> Page<'a> {
    /// The page of a command that is built.
    pub(in crate::cli) fn of(command: &'a Command) -> Self {
        let page = Man::new(command.clone().subcommand_help_heading("COMMANDS")).source(SOURCE).manual(MANUAL);
        Self { command, page }
    }

    /// The name of its file.
    pub(in crate::cli) fn file_name(&self) -> String {
        self.page.get_filename()
    }

    /// Writes it.
    ///
    /// # Errors
    /// Those of `to`.
    pub(in crate::cli) fn render(&self, to: &mut dyn Write) -> io::Result<()> {
        let Self { command, page } = self;
        page.render_title(to)?;
        page.render_name_section(to)?;
        page.render_synopsis_section(to)?;
        page.render_description_section(to)?;
        let AfterHelp { remarks, examples } = AfterHelp::of(command);
        // The program's is the list of exit codes.
        let remarks = if is_program(command) { Vec::new() } else { remarks };
        let mut roff = Roff::new();
        for remark in remarks {
            roff.control("PP", []).text([roman(remark.replace('\n', " "))]);
        }
        roff.to_writer(to)?;
        page.render_options_section(to)?;
        if command.has_subcommands() {
            page.render_subcommands_section(to)?;
        }
        let mut roff = Roff::new();
        if !examples.is_empty() {
            roff.control("SH", ["EXAMPLES"]);
            add_lines(&mut roff, examples.iter().map(String::as_str));
        }
        let codes = exit::MEANINGS.iter().map(|meaning| (meaning.code.to_string(), meaning.when));
        add_list(&mut roff, "EXIT STATUS", codes);
        add_list(&mut roff, "ENVIRONMENT", VARIABLES.map(|(name, effect)| (name.to_owned(), effect)));
        add_list(&mut roff, "FILES", FILES.map(|(path, purpose)| (path.to_owned(), purpose)));
        add_references(&mut roff, &self.references());
        roff.to_writer(to)
    }

    /// The pages to see also.
    fn references(&self) -> Vec<String> {
        let name = self.command.get_display_name().unwrap_or_else(|| self.command.get_name());
        let below = self.command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help");
        let mut pages: Vec<_> = below.map(|below| format!("{name}-{}(1)", below.get_name())).collect();
        if !is_program(self.command) {
            pages.insert(0, "cxnpoll(1)".to_owned());
        }
        pages.push(format!("{CONFIGURATION}(5)"));
        pages.push("crontab(5)".to_owned());
        pages
    }
}

fn is_program(command: &Command) -> bool {
    command.get_display_name().is_none_or(|name| name == "cxnpoll")
}

/// Writes the page of the configuration file.
///
/// # Errors
/// Those of `to`.
pub(in crate::cli) fn configuration_page(to: &mut dyn Write) -> io::Result<()> {
    let mut roff = Roff::new();
    roff.control("TH", [CONFIGURATION, "5", "", SOURCE, MANUAL]);
    roff.control("SH", ["NAME"]).text([roman(format!("{CONFIGURATION} - the configuration of cxnpoll"))]);
    roff.control("SH", ["DESCRIPTION"]);
    for paragraph in configuration::INTRODUCTION {
        roff.control("PP", []).text(code(paragraph));
    }
    for table in configuration::tables() {
        roff.control("SH", [table.heading().to_uppercase().as_str()]).text(code(&table.meaning));
        for key in &table.keys {
            roff.control("TP", []).text([bold(key.name.as_str()), roman(format!(" ({})", key.facts()))]);
            roff.text(code(&key.meaning));
        }
        if !table.example.is_empty() {
            roff.control("PP", []).text([roman("Example:")]);
            add_lines(&mut roff, table.example.lines());
        }
    }
    add_list(&mut roff, "FILES", FILES[..2].iter().map(|(path, purpose)| ((*path).to_owned(), *purpose)));
    add_references(&mut roff, &["cxnpoll(1)".to_owned(), "cxnpoll-config-check(1)".to_owned()]);
    roff.to_writer(to)
}

/// Adds lines that are not filled.
fn add_lines<'a>(roff: &mut Roff, lines: impl Iterator<Item = &'a str>) {
    roff.control("PP", []).control("RS", ["4"]).control("nf", []);
    for line in lines {
        roff.text([roman(line)]);
    }
    roff.control("fi", []).control("RE", []);
}

fn add_list<'a>(roff: &mut Roff, heading: &str, items: impl IntoIterator<Item = (String, &'a str)>) {
    roff.control("SH", [heading]);
    for (name, text) in items {
        roff.control("TP", []).text([bold(name)]).text(code(text));
    }
}

fn add_references(roff: &mut Roff, pages: &[String]) {
    roff.control("SH", ["SEE ALSO"]).text([roman(pages.join(", "))]);
}

/// Text in which what is in backquotes is bold.
fn code(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate();
    parts.map(|(index, part)| if index % 2 == 1 { bold(part) } else { roman(part) }).collect()
}
