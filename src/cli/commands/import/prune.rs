//! `import --prune`: which stored connections are removed, and when that is refused.

use std::collections::{BTreeMap, BTreeSet};

use super::findings::Findings;
use crate::cli::error::{Error, Excess, Result, Spared};
use crate::model::{AppId, Cxn, CxnId};
use crate::store::{self, AdminTarget, AppNo, ReadSession, Store, TX_BATCH};
use crate::transfer::RecordIds;
use crate::util::text::parse_digits;

/// How many connections of each app an import may remove.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Limit {
    /// 10, or a quarter of those that are stored if that is more.
    #[default]
    Default,
    /// This number.
    Number(u64),
    /// This share of those that are stored, from 0 to 100 percent.
    Percent(u64),
}

impl Limit {
    /// Parses `N` or `N%`.
    pub(super) fn from_argument(text: &str) -> Result<Self, String> {
        let percent = |digits| parse_digits(digits).filter(|percent| *percent <= 100).map(Self::Percent);
        let limit = text.strip_suffix('%').map_or_else(|| parse_digits(text).map(Self::Number), percent);
        limit.ok_or_else(|| "expected a number such as 40, or a share from 0% to 100%".to_owned())
    }

    fn allows(self, removed: u64, stored: u64) -> bool {
        match self {
            Self::Default => removed <= 10 || removed * 4 <= stored,
            Self::Number(most) => removed <= most,
            Self::Percent(percent) => removed * 100 <= stored * percent,
        }
    }
}

/// What an import removes.
#[derive(Debug, Default)]
pub(super) struct Pruning {
    pub(super) targets: Vec<AdminTarget>,
    /// The apps of which nothing is removed.
    pub(super) spared: Spared,
}

impl Pruning {
    /// Finds the stored connections that an input lacks, and emits each.
    ///
    /// They are those of `apps`, or of the apps in the input if `apps` is empty. Of an app that a rejected record may
    /// belong to none is found. `store` is `None` if there is none yet.
    ///
    /// # Errors
    /// [`Error::PruneOverLimit`], those of `emit`, and where the store cannot be read.
    pub(super) fn of(
        store: Option<&Store>,
        findings: &Findings,
        apps: &BTreeSet<AppId>,
        limit: Limit,
        mut emit: impl FnMut(&Cxn) -> Result<()>,
    ) -> Result<Self> {
        let is_in_scope = |app: &AppId| if apps.is_empty() { findings.input.has_app(app) } else { apps.contains(app) };
        let mut spared = spared(store, findings)?;
        let mut targets = Vec::new();
        let mut found: BTreeMap<AppNo, Excess> = BTreeMap::new();
        if let (Some(store), Spared::Apps(spared)) = (store, &spared) {
            store.for_each_cxn(|key, cxn, _| {
                if !is_in_scope(&cxn.app_id) || spared.contains(&cxn.app_id) {
                    return Ok(());
                }
                let of_app = found.entry(key.app);
                let of_app = of_app.or_insert_with(|| Excess { app_id: cxn.app_id.clone(), removed: 0, stored: 0 });
                of_app.stored += 1;
                if findings.input.contains(&cxn.cxn_id) {
                    return Ok(());
                }
                of_app.removed += 1;
                targets.push((key, Vec::new()));
                emit(&cxn)
            })?;
        }
        let mut excess: Vec<_> = found.into_values().filter(|app| !limit.allows(app.removed, app.stored)).collect();
        if !excess.is_empty() {
            excess.sort();
            return Err(Error::PruneOverLimit(excess));
        }
        if let (Spared::Apps(spared), false) = (&mut spared, apps.is_empty()) {
            spared.retain(|app| apps.contains(app));
        }
        Ok(Self { targets, spared })
    }
}

/// The apps that rejected records may belong to.
///
/// They are those that the records name, and those of the stored connections that they name. An input of which every
/// record is rejected spares all apps.
fn spared(store: Option<&Store>, findings: &Findings) -> Result<Spared> {
    if findings.input.is_empty() {
        return Ok(Spared::All);
    }
    let mut apps = BTreeSet::new();
    let rejected: Vec<_> = findings.rejected_ids.iter().collect();
    for batch in rejected.chunks(TX_BATCH) {
        let stored_apps = |session: &ReadSession| {
            let stored_app = |ids: &&RecordIds| match &ids.cxn_id {
                Some(cxn_id) => stored_app(session, cxn_id),
                None => Ok(None),
            };
            batch.iter().map(stored_app).collect::<store::Result<Vec<_>>>()
        };
        let stored_apps = match store {
            Some(store) => store.read(stored_apps)?,
            None => vec![None; batch.len()],
        };
        for (ids, stored_app) in batch.iter().zip(stored_apps) {
            if ids.app_id.is_none() && stored_app.is_none() {
                return Ok(Spared::All);
            }
            apps.extend(ids.app_id.clone().into_iter().chain(stored_app));
        }
    }
    Ok(Spared::Apps(apps))
}

fn stored_app(session: &ReadSession, cxn_id: &CxnId) -> store::Result<Option<AppId>> {
    let Some(key) = session.find(cxn_id)? else { return Ok(None) };
    Ok(session.cxn(key)?.map(|cxn| cxn.app_id))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::cli::ui::progress::{Display, Progress};
    use crate::model::Secret;
    use crate::transfer::{Format, parse};

    fn line(number: u32, app: &str) -> Value {
        let (secret, url) = (Secret::from_bytes([7; 32]).to_base64(), "https://a.example/");
        json!({"cxnId": format!("cxn:{number}"), "secret": secret, "appId": app, "appUrl": url, "siteUrl": url})
    }

    fn with(mut line: Value, key: &str, value: Value) -> Value {
        line[key] = value;
        line
    }

    /// Returns the ids of what is removed for an input, and what is spared.
    fn pruning(store: Option<&Store>, input: &[Value], apps: &[&str], limit: Limit) -> Result<(Vec<String>, Spared)> {
        let text = input.iter().map(|line| format!("{line}\n")).collect::<Vec<_>>().concat();
        let progress = Progress::begin_of(0, "checked", Display::Hidden);
        let (findings, _) = Findings::of(text.as_bytes(), Format::Jsonl, true, false, store, &progress).unwrap();
        let apps = apps.iter().map(|app| app.parse().unwrap()).collect();
        let mut removed = Vec::new();
        let pruning = Pruning::of(store, &findings, &apps, limit, |cxn| {
            removed.push(cxn.cxn_id.to_string());
            Ok(())
        })?;
        assert_eq!(pruning.targets.len(), removed.len());
        removed.sort();
        Ok((removed, pruning.spared))
    }

    fn store_of(dir: &tempfile::TempDir, lines: &[Value]) -> Store {
        let store = Store::create(&dir.path().join("store"), Duration::from_secs(10)).unwrap();
        let patches: Vec<_> = lines.iter().map(|line| parse(&line.to_string()).unwrap()).collect();
        store.write(|session| session.upsert(&patches, false)).unwrap();
        store
    }

    #[test]
    fn a_limit_is_a_number_or_a_share_of_what_is_stored() {
        for (text, limit) in [
            ("0", Limit::Number(0)),
            ("40", Limit::Number(40)),
            ("0%", Limit::Percent(0)),
            ("100%", Limit::Percent(100)),
        ] {
            assert_eq!(Limit::from_argument(text), Ok(limit));
        }
        for bad in ["", "%", "-1", "+1", "x", "101%", "50 %", "0.5", "12.5%"] {
            assert!(Limit::from_argument(bad).is_err(), "{bad}");
        }
        for (limit, removed, stored, is_allowed) in [
            (Limit::Default, 10, 10, true),
            (Limit::Default, 11, 43, false),
            (Limit::Default, 11, 44, true),
            (Limit::Number(0), 0, 5, true),
            (Limit::Number(0), 1, 1_000, false),
            (Limit::Number(36), 37, 1_000_000, false),
            (Limit::Number(37), 37, 37, true),
            (Limit::Percent(49), 20, 40, false),
            (Limit::Percent(50), 20, 40, true),
            (Limit::Percent(0), 1, 1_000, false),
            (Limit::Percent(100), 40, 40, true),
        ] {
            assert_eq!(limit.allows(removed, stored), is_allowed, "{limit:?} {removed} {stored}");
        }
    }

    #[test]
    fn only_apps_whose_lines_were_all_readable_are_pruned() {
        let dir = tempfile::tempdir().unwrap();
        let stored = [(1, "app:a"), (2, "app:a"), (3, "app:b"), (4, "app:b"), (5, "app:c")];
        let store = store_of(&dir, &stored.map(|(number, app)| line(number, app)));
        let bad = |number, app, key, value| with(line(number, app), key, value);
        let good = [line(1, "app:a"), line(3, "app:b")];
        for (more, apps, removed, spared) in [
            (json!({}), &[][..], &[][..], None),
            (bad(9, "app:z", "appId", json!("z")), &[], &[], None),
            (bad(9, "app:a", "secret", json!("oops")), &[], &["cxn:4"], Some(&["app:a"][..])),
            (bad(9, "app:z", "secret", json!("oops")), &[], &["cxn:2", "cxn:4"], Some(&["app:z"])),
            // The app of a stored connection may be what is wrong.
            (bad(2, "app:z", "secret", json!("oops")), &[], &["cxn:4"], Some(&["app:a", "app:z"])),
            (bad(4, "app:b", "appId", json!(5)), &[], &["cxn:2"], Some(&["app:b"])),
            (bad(2, "app:a", "cxnId", json!("")), &[], &["cxn:4"], Some(&["app:a"])),
            (line(1, "app:b"), &[], &[], Some(&["app:a", "app:b"])),
            (bad(2, "app:a", "secret", json!("oops")), &["app:b", "app:c"], &["cxn:4", "cxn:5"], Some(&[])),
            (bad(2, "app:a", "secret", json!("oops")), &["app:a"], &[], Some(&["app:a"])),
            (line(6, "app:a"), &["app:c"], &["cxn:5"], Some(&[])),
        ] {
            let input = [&good[..], std::slice::from_ref(&more)].concat();
            let spared =
                spared.map_or(Spared::All, |apps| Spared::Apps(apps.iter().map(|app| app.parse().unwrap()).collect()));
            let removed: Vec<_> = removed.iter().map(ToString::to_string).collect();
            assert_eq!(pruning(Some(&store), &input, apps, Limit::Default).unwrap(), (removed, spared), "{more}");
        }
        // An input of which all lines are bad prunes nothing.
        let bad = bad(2, "app:a", "secret", json!("oops"));
        assert_eq!(
            pruning(Some(&store), std::slice::from_ref(&bad), &["app:c"], Limit::Default).unwrap().1,
            Spared::All
        );
        let without_store = pruning(None, &[line(1, "app:b"), bad], &[], Limit::Default).unwrap();
        assert_eq!(without_store, (vec![], Spared::Apps(["app:a".parse().unwrap()].into())));
    }

    #[test]
    fn each_app_over_its_limit_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let of_app = |number| ["app:b", "app:a", "app:c"][number as usize % 3];
        let stored: Vec<_> = (0..60).map(|number| line(number, of_app(number))).collect();
        let store = store_of(&dir, &stored);
        // Of app:c all but five are in the input.
        let input: Vec<_> = (0..60).filter(|number| *number < 3 || (number % 3 == 2 && *number < 45)).collect();
        let input: Vec<_> = input.into_iter().map(|number| line(number, of_app(number))).collect();
        let Error::PruneOverLimit(excess) = pruning(Some(&store), &input, &[], Limit::Default).unwrap_err() else {
            panic!("another error")
        };
        let excess: Vec<_> = excess.iter().map(|app| (app.app_id.as_str(), app.removed, app.stored)).collect();
        assert_eq!(excess, [("app:a", 19, 20), ("app:b", 19, 20)]);
        assert_eq!(pruning(Some(&store), &input, &["app:c"], Limit::Default).unwrap().0.len(), 5);
        assert_eq!(pruning(Some(&store), &input, &[], Limit::Number(19)).unwrap().0.len(), 43);
    }
}
