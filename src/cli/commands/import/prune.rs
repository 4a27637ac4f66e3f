//! `import --prune`: connections that are stored and not in the input.

use super::findings::Findings;
use crate::cli::error::Result;
use crate::model::Cxn;
use crate::store::{AdminTarget, Store};

/// Finds the connections of the apps in the input that are not in the input, and emits each.
///
/// After rejected records none is found, because the input may have meant to keep any of them.
///
/// # Errors
/// Those of `emit`, and where the store cannot be read.
pub(super) fn targets(
    store: &Store,
    findings: &Findings,
    mut emit: impl FnMut(&Cxn) -> Result<()>,
) -> Result<Vec<AdminTarget>> {
    let mut targets = Vec::new();
    if findings.rejected.is_empty() {
        store.for_each_absent(&findings.input, |key, cxn| {
            targets.push((key, Vec::new()));
            emit(&cxn)
        })?;
    }
    Ok(targets)
}
