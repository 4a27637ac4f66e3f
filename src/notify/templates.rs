//! The subject and the text of messages, made from templates of the `MiniJinja` engine.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};

use super::message::{Change, ChangedSite, Kind, Message};
use crate::config::NotifyTable;
use crate::util::time::utc;

/// The template of a headline, which an administrator cannot replace.
const HEADLINE: &str = include_str!("templates/headline.txt");
const SUBJECT: &str = include_str!("templates/subject.txt");
const BODY: &str = include_str!("templates/body.txt");

/// A template that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// The key of `[notify]`: `subject` or `body`.
    pub key: &'static str,
    /// The line of the template, from 1; `None` if it is not known.
    pub line: Option<usize>,
    /// The reason, in the words of the engine.
    pub reason: String,
}

/// The templates of messages.
pub struct Templates<'a> {
    engine: Environment<'a>,
    subject: &'a str,
    body: &'a str,
}

impl<'a> Templates<'a> {
    /// The templates of the configuration.
    pub(super) fn new(table: &'a NotifyTable) -> Self {
        let mut engine = Environment::new();
        // A misspelt name is an error, not an empty text.
        engine.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        // The literals make a valid syntax.
        if let Ok(syntax) = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build() {
            engine.set_syntax(syntax);
        }
        engine.add_filter("utc", utc);
        Self {
            engine,
            subject: table.subject.as_deref().unwrap_or(SUBJECT),
            body: table.body.as_deref().unwrap_or(BODY),
        }
    }

    /// Checks the templates with a message that has a change of each kind.
    ///
    /// Returns what is wrong with the subject and the body.
    #[must_use]
    pub fn check(table: &NotifyTable) -> Vec<TemplateError> {
        let templates = Templates::new(table);
        let mut sample = sample();
        templates.add_headlines(&mut sample);
        [("subject", templates.subject), ("body", templates.body)]
            .into_iter()
            .filter_map(|(key, template)| templates.render(key, template, &sample).err())
            .collect()
    }

    /// Adds the texts to a message. A template that fails is replaced by the default.
    pub(super) fn add_texts(&self, message: &mut Message) {
        self.add_headlines(message);
        let text = |key, template, default| {
            let rendered = self.render(key, template, message).or_else(|_| self.render(key, default, message));
            rendered.unwrap_or_default()
        };
        let (subject, body) = (text("subject", self.subject, SUBJECT), text("body", self.body, BODY));
        // A subject is one line.
        message.subject = subject.split_whitespace().collect::<Vec<_>>().join(" ");
        message.text = body;
    }

    fn add_headlines(&self, message: &mut Message) {
        for change in &mut message.changes {
            let headline = self.engine.render_str(HEADLINE, Serde(&*change)).unwrap_or_default();
            headline.trim().clone_into(&mut change.headline);
        }
    }

    fn render(&self, key: &'static str, template: &str, message: &Message) -> Result<String, TemplateError> {
        self.engine.render_str(template, Serde(message)).map_err(|error| TemplateError {
            key,
            line: error.line(),
            reason: error.detail().map_or_else(|| error.kind().to_string(), str::to_owned),
        })
    }
}

/// A message with a change of each kind, to check templates.
pub(super) fn sample() -> Message {
    let of_sites = [Kind::HostDown, Kind::GivenUp, Kind::Failing, Kind::FailedMeanwhile, Kind::Recovered, Kind::Moved];
    let kinds = [&[Kind::OwnOutage], &of_sites[..], &[Kind::Late]].concat();
    let change = |kind| {
        let site = || {
            Some(ChangedSite {
                // The literal is valid.
                cxn_id: "cxn:0123456789abcdef0123456789abcdef".parse().ok()?,
                site_url: "https://site.example.org/civicrm/cxn/api".to_owned(),
                old_url: (kind == Kind::Moved).then(|| "http://site.example.org/civicrm/cxn/api".to_owned()),
                at: 0,
                class: (!matches!(kind, Kind::Recovered | Kind::Moved)).then(|| "timeout".to_owned()),
            })
        };
        let is_of_sites = of_sites.contains(&kind);
        Some(Change {
            kind,
            headline: String::new(),
            over: false,
            app_id: "app:org.example.myapp".parse().ok()?,
            job_name: "default".parse().ok()?,
            count: is_of_sites.into(),
            hosts: vec!["203.0.113.7".to_owned()],
            host_count: 1,
            sites: site().filter(|_| is_of_sites).into_iter().collect(),
            since: 0,
            cause: Some("timeout".to_owned()),
        })
    };
    Message {
        id: String::new(),
        at: 0,
        host: "host.example.org".to_owned(),
        test: true,
        changes: kinds.into_iter().filter_map(change).collect(),
        subject: String::new(),
        text: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_texts(table: &NotifyTable) -> Message {
        let mut message = sample();
        message.test = false;
        message.changes[2].count = 400;
        Templates::new(table).add_texts(&mut message);
        message
    }

    #[test]
    fn defaults_name_each_change_and_its_sites() {
        assert_eq!(Templates::check(&NotifyTable::default()), []);
        let Message { subject, text, changes, .. } = with_texts(&NotifyTable::default());
        assert_eq!(
            subject,
            "cxnpoll on host.example.org: runs of org.example.myapp end early for an own fault: timeout; host \
             203.0.113.7 is down, with 1 site; 400 sites were given up on 203.0.113.7; and 5 more"
        );
        let headlines: Vec<_> = changes.iter().map(|change| change.headline.as_str()).collect();
        assert_eq!(
            headlines[2..],
            [
                "400 sites were given up on 203.0.113.7",
                "1 site is failing on 203.0.113.7: timeout",
                "1 site failed and answers again on 203.0.113.7: timeout",
                "1 site answers again on 203.0.113.7",
                "1 site was followed to a new URL on 203.0.113.7",
                "runs of org.example.myapp cannot keep up since 1970-01-01 00:00:00Z",
            ]
        );
        let site = "    https://site.example.org/civicrm/cxn/api (timeout)\n";
        let listed = format!("* 400 sites were given up on 203.0.113.7\n{site}    and 399 more\n");
        assert!(text.contains(&listed), "{text}");
        let moved = "    http://site.example.org/civicrm/cxn/api is now https://site.example.org/civicrm/cxn/api\n";
        assert!(text.contains(moved), "{text}");
        assert!(text.ends_with("since 1970-01-01 00:00:00Z\n"), "{text}");
    }

    #[test]
    fn a_template_of_the_configuration_replaces_a_default() {
        let table = |subject: &str| NotifyTable { subject: Some(subject.to_owned()), ..NotifyTable::default() };
        let message = with_texts(&table("{{ changes[2].count }} on\n{{ host }} at {{ at | utc }}"));
        assert_eq!(message.subject, "400 on host.example.org at 1970-01-01 00:00:00Z");
        for (bad, line) in [("{{ hots }}", Some(1)), ("a\n{% if %}", Some(2)), ("{{ host | nothing }}", Some(1))] {
            let errors = Templates::check(&table(bad));
            assert_eq!((errors.len(), errors[0].key, errors[0].line), (1, "subject", line), "{errors:?}");
            assert_eq!(with_texts(&table(bad)).subject, with_texts(&NotifyTable::default()).subject, "{bad}");
        }
    }
}
