//! What is wrong with the table of notifications.

use std::path::Path;

use super::programs::program_remedy;
use crate::cli::commands::findings::{Check, Findings};
use crate::cli::error::notify::{TEMPLATE_REMEDY, delivery_reason, template_text};
use crate::config::{Config, NotifyTable};
use crate::listener::Program;
use crate::notify::{DeliveryError, Templates, read_key, sendmail_program};
use crate::util::text::shell_quoted;

/// Checks templates, programs and the key of the webhook. Nothing is sent.
pub(super) fn find(config: &Config, findings: &mut Findings) {
    let Some(table) = &config.notify else { return };
    findings.check([Check::Notify]);
    if !table.has_channel() {
        findings.note(Check::Notify, "notify: there is no channel: none of `sendmail`, `webhook` and `command`");
    }
    for error in Templates::check(table) {
        findings.add(Check::Notify, template_text(&error), TEMPLATE_REMEDY);
    }
    let base = config.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    for (key, command) in programs(table) {
        let program = Program { command, ..Program::default() }.in_directory_of(base);
        for error in program.problems() {
            let remedy = program_remedy(&error.path, key);
            let reason = delivery_reason(DeliveryError::File(error));
            findings.add(Check::Notify, format!("notify: {key}: {reason}"), remedy);
        }
    }
    if let Some(error) = table.webhook_secret_file.as_deref().and_then(|path| read_key(path).err()) {
        let remedy = match &error {
            DeliveryError::ExposedKey(path) => format!("make it private: chmod o= {}", shell_quoted(path)),
            _ => "write a key into the file: openssl rand -hex 32".to_owned(),
        };
        findings.add(Check::Notify, format!("notify: webhook-secret-file: {}", delivery_reason(error)), remedy);
    }
}

/// The programs that channels start, by their keys.
fn programs(table: &NotifyTable) -> Vec<(&'static str, Vec<String>)> {
    let mail = table.sendmail.as_ref().map(|_| ("sendmail-program", vec![sendmail_program(table)]));
    table.command.clone().map(|command| ("command", command)).into_iter().chain(mail).collect()
}
