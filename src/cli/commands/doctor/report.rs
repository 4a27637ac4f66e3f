//! The report for people and for scripts.

use clap::builder::styling::{AnsiColor, Style};
use serde_json::json;

use crate::cli::commands::findings::{Check, Findings};
use crate::cli::context::Context;
use crate::cli::ui::{output, terminal};
use crate::util::text::{count, escape};

/// The widths of the first two columns.
const STATE_WIDTH: usize = 8;
const CHECK_WIDTH: usize = 14;

/// Prints the report. Without a terminal, a report for people has only what is wrong, unless `-v` asks for all.
pub(super) fn print(context: &Context, findings: &Findings, is_json: bool) {
    if is_json {
        return print_json(findings);
    }
    let shows_all = !context.global.quiet && (terminal::has_stdout() || context.global.verbosity() > 0);
    let is_colored = terminal::is_colored(context.global.color, terminal::has_stdout());
    let style = |color: AnsiColor| if is_colored { color.on_default() } else { Style::new() };
    let (red, green, yellow) = (style(AnsiColor::Red).bold(), style(AnsiColor::Green), style(AnsiColor::Yellow));
    let red = if is_colored { red } else { Style::new() };
    let line = |style: Style, state: &str, check: Check, text: &str| {
        let (id, text) = (check.id(), escape(text));
        output::line(format!("{style}{state:STATE_WIDTH$}{style:#} {id:CHECK_WIDTH$} {text}").trim_end());
    };
    for check in Check::ALL {
        let found: Vec<_> = findings.found.iter().filter(|finding| finding.check == check).collect();
        for finding in &found {
            line(red, "finding", check, &finding.message);
            output::line(&format!("{:1$} hint: {2}", "", STATE_WIDTH + 1 + CHECK_WIDTH, escape(&finding.remedy)));
        }
        if !shows_all {
            continue;
        }
        let notes: Vec<_> = findings.notes.iter().filter(|(of, _)| *of == check).collect();
        let skipped: Vec<_> = findings.skipped.iter().filter(|(of, _)| *of == check).collect();
        for (_, note) in &notes {
            line(yellow, "note", check, note);
        }
        for (_, reason) in &skipped {
            line(yellow, "skipped", check, reason);
        }
        if findings.checked.contains(&check) && found.is_empty() && notes.is_empty() && skipped.is_empty() {
            line(green, "ok", check, "");
        }
    }
    match findings.found.len() {
        0 if shows_all => output::line("Nothing is wrong."),
        0 => {}
        found => output::line(&count(found as u64, "finding")),
    }
}

fn print_json(findings: &Findings) {
    let found = findings.found.iter();
    let found: Vec<_> = found
        .map(|finding| json!({"check": finding.check.id(), "message": finding.message, "remedy": finding.remedy}))
        .collect();
    let notes = findings.notes.iter().map(|(check, note)| json!({"check": check.id(), "message": note}));
    let skipped = findings.skipped.iter().map(|(check, reason)| json!({"check": check.id(), "reason": reason}));
    output::json(&json!({
        "ok": found.is_empty(),
        "findings": found,
        "notes": notes.collect::<Vec<_>>(),
        "checked": findings.checked.iter().map(|check| check.id()).collect::<Vec<_>>(),
        "skipped": skipped.collect::<Vec<_>>(),
    }));
}
