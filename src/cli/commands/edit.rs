//! Changes to the siteUrl and the viaPort of one connection, for `set` and `follow`.

use serde_json::{Value, json};

use super::users;
use crate::cli::context::Context;
use crate::cli::error::{EditError, Error, Result};
use crate::cli::ui::output;
use crate::cli::ui::prompt::{Change, Confirmation, Preview};
use crate::exit;
use crate::model::{Cxn, SiteUrl, ViaPort};
use crate::store::{CxnPatch, FieldPatch, StatusPatch, Store};
use crate::util::text::sanitize;

/// What changes of a connection.
#[derive(Debug, Default)]
pub(super) struct Edit {
    /// The siteUrl; `None` keeps it.
    pub(super) site_url: Option<SiteUrl>,
    pub(super) via_port: FieldPatch<ViaPort>,
}

/// How the change is made.
pub(super) struct Mode {
    /// The name of the command, for history.
    pub(super) action: &'static str,
    /// Whether the siteUrl must still be the one of the connection that was loaded.
    pub(super) is_conditional: bool,
    pub(super) dry_run: bool,
    pub(super) json: bool,
    pub(super) confirmation: Confirmation,
}

/// One value, before and after.
struct Difference {
    key: &'static str,
    from: Option<String>,
    to: Option<String>,
    /// Both for history, without queries.
    logged: [Option<String>; 2],
}

impl Edit {
    /// Shows the change, asks at a terminal, and makes it. Returns the exit code.
    ///
    /// # Errors
    /// [`EditError::ChangedMeanwhile`]; those of the question and of the store.
    pub(super) fn make(&self, context: &Context, store: &Store, cxn: &Cxn, mode: &Mode) -> Result<u8> {
        let differences = self.differences(cxn);
        let lines: Vec<_> =
            differences.iter().map(|difference| format!("{}  {}", cxn.cxn_id, difference.shown())).collect();
        if mode.dry_run {
            for line in lines.iter().filter(|_| !mode.json) {
                output::line(line);
            }
        } else {
            let mut preview = Preview::default();
            for line in &lines {
                preview.add(|| line.clone());
            }
            let change = Change {
                action: format!("change {}", cxn.cxn_id),
                count: Some(differences.len().min(1)),
                is_confirmed: mode.confirmation.yes,
                asks_about_one: true,
                hint: "confirm with --yes",
            };
            if !context.confirm(change, &preview)? {
                return Ok(exit::OK);
            }
            if !differences.is_empty() {
                self.write(store, cxn, &differences, mode)?;
                for line in &lines {
                    context.notify(&format!("changed {line}"));
                }
            }
        }
        if differences.is_empty() {
            context.notify(&format!("nothing to change: {} is already so", cxn.cxn_id));
        }
        if mode.json {
            output::json(&json(cxn, &differences));
        }
        Ok(exit::OK)
    }

    /// What differs from a connection. User names and passwords are left out.
    fn differences(&self, cxn: &Cxn) -> Vec<Difference> {
        let site_url =
            self.site_url.as_ref().filter(|site_url| **site_url != cxn.site_url).map(|site_url| Difference {
                key: "siteUrl",
                from: Some(cxn.site_url.to_string()),
                to: Some(site_url.to_string()),
                logged: [&cxn.site_url, site_url].map(|url| Some(url.without_query())),
            });
        let [from, to] = [cxn.via_port.clone(), self.via_port.clone().applied_to(cxn.via_port.clone())]
            .map(|via_port| via_port.map(|via_port| via_port.to_string()));
        let logged = [from.clone(), to.clone()];
        let via_port = (from != to).then_some(Difference { key: "viaPort", from, to, logged });
        site_url.into_iter().chain(via_port).collect()
    }

    fn applied_to(&self, patch: CxnPatch) -> CxnPatch {
        let site_url = self.site_url.clone().unwrap_or(patch.site_url);
        CxnPatch { site_url, via_port: self.via_port.clone(), ..patch }
    }

    fn write(&self, store: &Store, cxn: &Cxn, differences: &[Difference], mode: &Mode) -> Result<()> {
        let detail: Vec<_> = differences.iter().map(Difference::logged).collect();
        let (audit, history) = (users::audit(sanitize(&detail.join("; "))), store.history());
        let unchanged = StatusPatch { cxn_id: cxn.cxn_id.clone(), poll_status: Vec::new() };
        let changed = store.write(|session| {
            let Some(patch) = session.patch_of(&unchanged)? else { return Ok(None) };
            if mode.is_conditional && patch.site_url != cxn.site_url {
                return Ok(Some(false));
            }
            history.audit(session, &audit, mode.action, vec![cxn.cxn_id.to_string()])?;
            session.upsert(&[self.applied_to(patch)], false)?;
            Ok(Some(true))
        })?;
        match changed {
            Some(true) => Ok(()),
            Some(false) => Err(Error::Edit(EditError::ChangedMeanwhile(cxn.cxn_id.clone()))),
            None => Err(Error::UnknownCxn(cxn.cxn_id.to_string())),
        }
    }
}

impl Difference {
    /// `siteUrl  http://a.example/ → https://a.example/`
    fn shown(&self) -> String {
        let shown = |value: &Option<String>| sanitize(value.as_deref().unwrap_or("none"));
        format!("{}  {} → {}", self.key, shown(&self.from), shown(&self.to))
    }

    fn logged(&self) -> String {
        let [from, to] = self.logged.each_ref().map(|value| value.as_deref().unwrap_or("none"));
        format!("{} {from} → {to}", self.key)
    }
}

fn json(cxn: &Cxn, differences: &[Difference]) -> Value {
    let change = |difference: &Difference| json!({"key": difference.key, "from": difference.from, "to": difference.to});
    json!({"cxnId": cxn.cxn_id, "changes": differences.iter().map(change).collect::<Value>()})
}
