//! Errors of `results`.

use super::Report;
use crate::cli::values;
use crate::util::text::sanitize;

/// How many fields a hint lists at most.
const MAX_FIELDS: usize = 20;

/// What `results` cannot do.
#[derive(Debug)]
pub(in crate::cli) enum ResultsProblem {
    /// `--remove` was given neither a connection nor `--all`.
    NoneSelected,
    /// No listener kept a result of this connection, or of any.
    NothingKept(Option<String>),
    /// No kept result has a field.
    NoField {
        /// Its name.
        name: String,
        /// The fields that results have.
        fields: Vec<String>,
    },
    /// The replies to more than one call have a field.
    AmbiguousField {
        /// Its name.
        name: String,
        /// Its names with those of the calls.
        full: Vec<String>,
    },
}

impl From<ResultsProblem> for Report {
    fn from(problem: ResultsProblem) -> Self {
        match problem {
            ResultsProblem::NoneSelected => {
                Self::usage("no results selected to remove").hint("name a connection, or use --all")
            }
            ResultsProblem::NothingKept(cxn) => {
                let of = cxn.map_or_else(String::new, |cxn| format!(" for {cxn}"));
                Self::not_found(format!("no results are kept{of}"))
                    .hint("set `keep = true` for a listener, or keep replies in a listener program")
            }
            ResultsProblem::NoField { name, fields } => {
                Self::not_found(format!("no kept result has the field {}", sanitize(&name)))
                    .hint(field_hint(&name, fields))
            }
            ResultsProblem::AmbiguousField { name, full } => {
                let full: Vec<_> = full.iter().map(|name| sanitize(name)).collect();
                Self::usage(format!("more than one call has the field {}", sanitize(&name)))
                    .hint(format!("name the call: {}", full.join(" or ")))
            }
        }
    }
}

/// A similar field, or those that there are, the shortest paths first.
fn field_hint(name: &str, mut fields: Vec<String>) -> String {
    if let Some(similar) = values::closest(name, &fields) {
        return format!("did you mean {}?", sanitize(similar));
    }
    if fields.is_empty() {
        return "look at a result with `cxnpoll results CXN --latest`".to_owned();
    }
    fields.sort_by_key(|field| field.matches('.').count());
    let more = fields.len().saturating_sub(MAX_FIELDS);
    let listed: Vec<_> = fields.iter().take(MAX_FIELDS).map(|field| sanitize(field)).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("choose from the fields that results have: {}{more}", listed.join(", "))
}
