//! Changes to the siteUrl and the viaPort of one connection, for `set` and `follow`.

use std::fmt::Display;

use serde::Serialize;
use serde_json::{Value, json};

use super::users;
use crate::cli::context::Context;
use crate::cli::error::{EditError, Error, Result};
use crate::cli::ui::output;
use crate::cli::ui::prompt::{Change, Confirmation, Preview};
use crate::exit;
use crate::model::{Cxn, SiteUrl, ViaPort};
use crate::store::{Audit, CxnPatch, FieldPatch, StatusPatch, Store};
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
#[derive(Debug)]
struct Difference {
    key: &'static str,
    /// Both, without user name and password.
    shown: [Option<String>; 2],
    /// Both for history, also without query.
    logged: [Option<String>; 2],
    json: Value,
}

impl Edit {
    /// Shows the change, asks at a terminal, and makes it. Returns the exit code.
    ///
    /// # Errors
    /// [`EditError::ChangedMeanwhile`]; those of the question and of the store.
    pub(super) fn make(&self, context: &Context, store: &Store, cxn: &Cxn, mode: &Mode) -> Result<u8> {
        let mut differences = self.differences(cxn);
        let line = |difference: &Difference| format!("{}  {}", cxn.cxn_id, difference.shown());
        if mode.dry_run {
            for difference in differences.iter().filter(|_| !mode.json) {
                output::line(&line(difference));
            }
        } else {
            let mut preview = Preview::default();
            for difference in &differences {
                preview.add(|| line(difference));
            }
            if !context.confirm(change(cxn, &differences, mode), &preview)? {
                return Ok(exit::OK);
            }
            if !differences.is_empty() {
                differences = self.write(store, cxn, mode)?;
                for difference in &differences {
                    context.notify(&format!("changed {}", line(difference)));
                }
            }
        }
        if differences.is_empty() {
            context.notify(&format!("nothing to change: {} is already so", cxn.cxn_id));
        }
        if mode.json {
            let changes: Value = differences.into_iter().map(|difference| difference.json).collect();
            output::json(&json!({"cxnId": cxn.cxn_id, "changes": changes}));
        }
        Ok(exit::OK)
    }

    /// What differs from a connection.
    fn differences(&self, cxn: &Cxn) -> Vec<Difference> {
        let site_url = self.site_url.as_ref().unwrap_or(&cxn.site_url);
        let site_url = Difference::of("siteUrl", Some(&cxn.site_url), Some(site_url), SiteUrl::without_query);
        let via_port = self.via_port.clone().applied_to(cxn.via_port.clone());
        let via_port = Difference::of("viaPort", cxn.via_port.as_ref(), via_port.as_ref(), ViaPort::to_string);
        site_url.into_iter().chain(via_port).collect()
    }

    fn applied_to(&self, patch: CxnPatch) -> CxnPatch {
        let site_url = self.site_url.clone().unwrap_or(patch.site_url);
        CxnPatch { site_url, via_port: self.via_port.clone(), ..patch }
    }

    /// Changes what is stored now, which may differ from `cxn`, and returns what that changed.
    fn write(&self, store: &Store, cxn: &Cxn, mode: &Mode) -> Result<Vec<Difference>> {
        let (audit, history) = (users::audit(""), store.history());
        let unchanged = StatusPatch { cxn_id: cxn.cxn_id.clone(), poll_status: Vec::new() };
        store.write(|session| {
            let stored = match session.find(&cxn.cxn_id)? {
                Some(key) => session.cxn(key)?,
                None => None,
            };
            let (Some(stored), Some(patch)) = (stored, session.patch_of(&unchanged)?) else {
                return Ok(Err(Error::UnknownCxn(cxn.cxn_id.to_string())));
            };
            if mode.is_conditional && stored.site_url != cxn.site_url {
                return Ok(Err(Error::Edit(EditError::ChangedMeanwhile(cxn.cxn_id.clone()))));
            }
            let differences = self.differences(&stored);
            if !differences.is_empty() {
                let detail: Vec<_> = differences.iter().map(Difference::logged).collect();
                let audit = Audit { detail: sanitize(&detail.join("; ")), ..audit.clone() };
                history.audit(session, &audit, mode.action, vec![cxn.cxn_id.to_string()])?;
                session.upsert(&[self.applied_to(patch)], false)?;
            }
            Ok(Ok(differences))
        })?
    }
}

/// The change for the prompt: of one connection, however many of its values differ.
fn change(cxn: &Cxn, differences: &[Difference], mode: &Mode) -> Change {
    Change {
        action: format!("change {}", cxn.cxn_id),
        count: Some(differences.len().min(1)),
        is_confirmed: mode.confirmation.yes,
        asks_about_one: true,
        hint: "confirm with --yes",
    }
}

impl Difference {
    /// `None` if both values are equal.
    fn of<T: Display + Serialize + PartialEq>(
        key: &'static str,
        from: Option<&T>,
        to: Option<&T>,
        logged: impl Fn(&T) -> String,
    ) -> Option<Self> {
        let shown = || [from, to].map(|value| value.map(T::to_string));
        let logged = || [from, to].map(|value| value.map(&logged));
        let json = || json!({"key": key, "from": from, "to": to});
        (from != to).then(|| Self { key, shown: shown(), logged: logged(), json: json() })
    }

    /// `siteUrl  http://a.example/ → https://a.example/`
    fn shown(&self) -> String {
        let [from, to] = self.shown.each_ref().map(|value| sanitize(value.as_deref().unwrap_or("none")));
        format!("{}  {from} → {to}", self.key)
    }

    fn logged(&self) -> String {
        let [from, to] = self.logged.each_ref().map(|value| value.as_deref().unwrap_or("none"));
        format!("{} {from} → {to}", self.key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::WriteSession;

    fn patch(site_url: &str) -> CxnPatch {
        CxnPatch { site_url: site_url.into(), ..CxnPatch::sample(1) }
    }

    /// Sets the siteUrl of a connection that was changed after it was loaded.
    ///
    /// Returns the text of each change, and the details in history.
    fn set(changed_to: &str, is_conditional: bool) -> (Result<Vec<String>>, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store"), Duration::from_secs(10)).unwrap();
        let load = |session: &WriteSession| {
            session.upsert(&[patch("http://old.example/")], false)?;
            let loaded = session.cxn(session.find(&"cxn:1".parse().unwrap())?.unwrap())?;
            session.upsert(&[patch(changed_to)], false)?;
            Ok(loaded.unwrap())
        };
        let cxn = store.write(load).unwrap();
        let confirmation = Confirmation { yes: true };
        let mode = Mode { action: "set", is_conditional, dry_run: false, json: false, confirmation };
        let edit = Edit { site_url: Some("http://new.example/?key=sesame".into()), ..Edit::default() };
        let question = change(&cxn, &edit.differences(&cxn), &mode);
        assert!(question.count == Some(1) && question.asks_about_one && question.is_confirmed);
        let made = edit.write(&store, &cxn, &mode);
        let texts = made.map(|made| made.iter().map(Difference::shown).collect());
        let actions = store.history().actions_on(&cxn.cxn_id, 9).unwrap();
        (texts, actions.into_iter().map(|action| action.detail).collect())
    }

    #[test]
    fn history_has_the_value_that_was_replaced() {
        for stored in ["old", "other"] {
            let from = format!("http://{stored}.example/");
            let (made, logged) = set(&from, false);
            assert_eq!(made.unwrap(), [format!("siteUrl  {from} → http://new.example/?key=sesame")]);
            assert_eq!(logged, [format!("siteUrl {from} → http://new.example/?…")]);
        }
        let (made, logged) = set("http://new.example/?key=sesame", false);
        assert!(made.unwrap().is_empty() && logged.is_empty());
        let (made, logged) = set("http://other.example/", true);
        assert!(matches!(made, Err(Error::Edit(EditError::ChangedMeanwhile(_)))) && logged.is_empty());
    }
}
