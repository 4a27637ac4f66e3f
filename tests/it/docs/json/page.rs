//! The fields that `docs/json.md` names.

use std::collections::BTreeSet;

use super::Field;

/// The page as its sections: a heading without `#`, and the text up to the next heading.
pub(super) struct Page(Vec<(String, String)>);

impl Page {
    pub(super) fn read() -> Self {
        let mut sections: Vec<(String, String)> = Vec::new();
        for line in super::super::read("docs/json.md").lines() {
            match (line.strip_prefix('#'), sections.last_mut()) {
                (Some(heading), _) => sections.push((heading.trim_start_matches('#').trim().to_owned(), String::new())),
                (None, Some((_, text))) => text.extend([line, "\n"]),
                (None, None) => {}
            }
        }
        Self(sections)
    }

    pub(super) fn has_section(&self, name: &str) -> bool {
        self.0.iter().any(|(heading, _)| is_about(heading, name))
    }

    /// Returns the headings of sections with a table of fields, except those that others link to.
    pub(super) fn sections_with_fields(&self) -> Vec<&str> {
        let linked = |heading: &str| self.0.iter().any(|(_, text)| text.contains(&format!("](#{})", anchor(heading))));
        let with_fields = self.0.iter().filter(|(heading, text)| text.contains("| field |") && !linked(heading));
        with_fields.map(|(heading, _)| heading.as_str()).collect()
    }

    /// Returns the fields of a section, with those that a link leads to.
    pub(super) fn fields(&self, name: &str) -> BTreeSet<Field> {
        let section = self.0.iter().find(|(heading, _)| is_about(heading, name) || anchor(heading) == name);
        let (_, text) = section.unwrap_or_else(|| panic!("docs/json.md has no section {name}"));
        let mut fields = BTreeSet::new();
        for row in text.lines().filter(|line| line.starts_with("| `")) {
            let mut cells = row.split(" | ");
            let (names, types) = (cells.next().unwrap(), cells.next().unwrap_or_else(|| panic!("{name}: {row}")));
            for field in names.split('`').skip(1).step_by(2) {
                for kind in types.split(", ") {
                    if let Some((_, target)) = kind.split_once("](#") {
                        let inner = self.fields(target.trim_end_matches(')'));
                        fields.extend(inner.into_iter().map(|(path, kind)| (format!("{field}.{path}"), kind)));
                    } else {
                        let kind = if kind == "time" { "integer" } else { kind };
                        fields.insert((field.to_owned(), kind.to_owned()));
                    }
                }
            }
        }
        fields
    }
}

/// Whether a heading names a command in backquotes, or is the name.
pub(super) fn is_about(heading: &str, name: &str) -> bool {
    heading == name || heading.split('`').skip(1).step_by(2).any(|command| command == name)
}

/// Returns the anchor of a heading, as hosting services make it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// Returns the word that stands for any key after a prefix; `None` if keys have names of their own.
pub(super) fn word_for_any_key<'a>(documented: &'a BTreeSet<Field>, prefix: &str) -> Option<&'a str> {
    let words = documented.iter().filter_map(|(path, _)| path.strip_prefix(prefix)?.split(['.', '[']).next());
    words.into_iter().find(|word| word.chars().all(|c| c.is_ascii_uppercase()))
}
