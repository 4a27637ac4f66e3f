//! What a new configuration file holds, and its text.

use std::path::{Path, PathBuf};

use crate::config::{AppTable, Config, HeartbeatUrl, JobTable};
use crate::model::{AppId, JobName};
use crate::retry::Policy;

/// The sample of the documentation, of which every key is a comment in a new file.
const SAMPLE: &str = include_str!("../../../../docs/cxnpoll.toml");

/// The values of a new configuration file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Answers {
    pub(super) store: Option<PathBuf>,
    pub(super) apps_dir: Option<PathBuf>,
    pub(super) contact: Option<String>,
    /// It may hold a key.
    pub(super) heartbeat: Option<String>,
    pub(super) apps: Vec<App>,
}

/// An app of a new configuration file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct App {
    pub(super) id: AppId,
    pub(super) url: Option<String>,
    pub(super) certificate: Option<PathBuf>,
    /// The retry expression of its default job.
    pub(super) retry: Option<Policy>,
}

impl Answers {
    /// The configuration that the file has when it is read.
    pub(super) fn config(&self) -> Config {
        let table =
            |app: &App| AppTable { app_url: app.url.clone(), app_cert: app.certificate.clone(), ..AppTable::default() };
        let job = |app: &App| {
            let retry = app.retry.clone()?;
            Some(((app.id.clone(), JobName::default()), JobTable { retry: Some(retry), ..JobTable::default() }))
        };
        Config {
            store: self.store.clone(),
            apps_dir: self.apps_dir.clone(),
            contact: self.contact.clone(),
            heartbeat: self.heartbeat.clone().map(HeartbeatUrl),
            apps: self.apps.iter().map(|app| (app.id.short().to_owned(), table(app))).collect(),
            jobs: self.apps.iter().filter_map(job).collect(),
            ..Config::default()
        }
    }

    /// The text of the file: the sample with its keys as comments, except those that have a value.
    pub(super) fn text(&self) -> String {
        let path = |path: &Option<PathBuf>| path.as_deref().map(quoted_path);
        let text = |text: &Option<String>| text.as_deref().map(quoted);
        let mut keys = vec![
            ("store", path(&self.store)),
            ("apps-dir", path(&self.apps_dir)),
            ("contact", text(&self.contact)),
            ("heartbeat", text(&self.heartbeat)),
        ];
        keys.retain(|(_, value)| value.is_some());
        let mut lines: Vec<String> = Vec::new();
        for line in SAMPLE.lines() {
            let line = if line.is_empty() || line.starts_with('#') { line.to_owned() } else { format!("# {line}") };
            let is_of = |(key, _): &(&str, _)| {
                line.strip_prefix("# ")
                    .and_then(|line| line.strip_prefix(key))
                    .is_some_and(|rest| rest.starts_with(" ="))
            };
            match keys.iter().position(is_of) {
                // The keys outside of tables come first.
                Some(at) => lines.extend(assignment(keys.remove(at))),
                None => lines.push(line),
            }
        }
        // None is left unless the sample lacks a key.
        let mut lines: Vec<_> = keys.into_iter().filter_map(assignment).chain(lines).collect();
        for App { id, url, certificate, retry } in &self.apps {
            lines.extend([String::new(), format!("[apps.{}]", quoted(id.short()))]);
            lines.extend(assignment(("app-url", text(url))));
            lines.extend(assignment(("app-cert", path(certificate))));
            if let Some(retry) = retry {
                lines.extend([String::new(), format!("[jobs.{}.{}]", quoted(id.short()), JobName::default())]);
                lines.extend(assignment(("retry", Some(quoted(&retry.to_string())))));
            }
        }
        lines.join("\n") + "\n"
    }
}

fn assignment((key, value): (&str, Option<String>)) -> Option<String> {
    value.map(|value| format!("{key} = {value}"))
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(answers: &Answers) -> Config {
        Config::parse(&answers.text(), Path::new("/etc/cxnpoll")).unwrap()
    }

    #[test]
    fn a_file_reads_back_as_it_was_asked_for() {
        let all = Answers {
            store: Some("/data/a \"b\" \\c".into()),
            apps_dir: Some("/srv/apps".into()),
            contact: Some("Ölwerk <a@example.org>".to_owned()),
            heartbeat: Some("https://hc.example.org/ping/0123".to_owned()),
            apps: vec![
                App {
                    id: "app:org.example.a".parse().unwrap(),
                    url: None,
                    certificate: Some("/etc/a.crt".into()),
                    retry: Some("20 min (x6); 1 day (x*)".parse().unwrap()),
                },
                App {
                    id: "app:org.example.b".parse().unwrap(),
                    url: Some("https://b.example.org/".into()),
                    certificate: None,
                    retry: None,
                },
            ],
        };
        for answers in [Answers::default(), Answers { apps: Vec::new(), ..all.clone() }, all] {
            assert_eq!(parsed(&answers), answers.config(), "{}", answers.text());
        }
    }

    #[test]
    fn the_sample_has_each_key_that_is_asked_for() {
        let text = Answers::default().text();
        assert!(text.lines().all(|line| line.is_empty() || line.starts_with('#')), "{text}");
        for key in ["store", "apps-dir", "contact", "heartbeat"] {
            assert!(text.lines().any(|line| line.starts_with(&format!("# {key} = "))), "{key}");
        }
    }
}
