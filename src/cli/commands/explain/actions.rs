//! What users did to a connection.

use serde_json::{Value, json};

use crate::cli::ui::time;
use crate::store::AdminEntry;
use crate::util::text::sanitize;

/// How many actions are shown.
pub(super) const MAX_ACTIONS: usize = 10;

/// The actions for scripts, the oldest first.
pub(super) fn json(actions: &[AdminEntry]) -> Value {
    let action = |entry: &AdminEntry| json!({"at": entry.at, "user": entry.user, "action": entry.action, "detail": entry.detail});
    actions.iter().map(action).collect()
}

/// The lines for a person, the newest first; none if there are no actions.
pub(super) fn lines(actions: &[AdminEntry]) -> Vec<String> {
    let line = |entry: &AdminEntry| {
        let texts = [&entry.action, &entry.user, &entry.detail].map(|text| sanitize(text));
        format!("{}  {}", time::utc(entry.at), texts.join("  ")).trim_end().to_owned()
    };
    let title = (!actions.is_empty()).then(|| "Last changes by users:".to_owned());
    title.into_iter().chain(actions.iter().rev().map(|entry| format!("  {}", line(entry)))).collect()
}
