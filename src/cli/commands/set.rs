//! `cxnpoll set`: another siteUrl or viaPort for a connection.

use clap::Args;

use super::edit::{Edit, Mode};
use crate::cli::context::Context;
use crate::cli::cxn_arg::CxnArg;
use crate::cli::error::{EditError, Error, Result};
use crate::cli::ui::prompt::Confirmation;
use crate::cli::values;
use crate::store::FieldPatch;
use crate::transfer::check_site_url;

/// The keys that can be set.
pub(in crate::cli) const KEYS: [&str; 2] = ["siteUrl", "viaPort"];
/// The other keys of a connection.
const IMPORTED_KEYS: [&str; 8] = ["cxnId", "secret", "appId", "appUrl", "perm", "batchCode", "disabled", "pollStatus"];

/// Change the siteUrl or the viaPort of a connection
///
/// As after an import, a connection that was given up is due again if its siteUrl changes. A running poll of the connection
/// does not undo the change. At a terminal it shows the change and asks first.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cxnpoll set cxn:0123456789abcdef0123456789abcdef siteUrl=https://site.example.org/civicrm/cxn/api --dry-run\n  cxnpoll set cxn:0123456789abcdef0123456789abcdef viaPort="
)]
pub(in crate::cli) struct Set {
    /// Connection
    #[arg(value_name = "CXN")]
    cxn: CxnArg,
    /// What changes: siteUrl=URL or viaPort=HOST:PORT; viaPort= removes the viaPort
    #[arg(value_name = "SETTING", required = true)]
    settings: Vec<String>,
    #[command(flatten)]
    confirmation: Confirmation,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the changes as JSON
    #[arg(long)]
    json: bool,
}

impl Set {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let edit = edit(&self.settings).map_err(Error::Edit)?;
        let store = context.store_for(!self.dry_run)?;
        let cxn = self.cxn.load(&store)?;
        let Self { confirmation, dry_run, json, .. } = self;
        edit.make(context, &store, &cxn, &Mode { action: "set", is_conditional: false, dry_run, json, confirmation })
    }
}

/// Parses settings; of one that is given twice, the last counts.
fn edit(settings: &[String]) -> Result<Edit, EditError> {
    let mut edit = Edit::default();
    for setting in settings {
        match setting.split_once('=').ok_or(EditError::NoEqualsSign)? {
            ("siteUrl", url) => {
                check_site_url(url).map_err(EditError::SiteUrl)?;
                edit.site_url = Some(url.into());
            }
            ("viaPort", "") => edit.via_port = FieldPatch::Clear,
            ("viaPort", via_port) => {
                edit.via_port = FieldPatch::Set(via_port.parse().map_err(EditError::ViaPort)?);
            }
            (key, _) => return Err(unknown_key(key)),
        }
    }
    Ok(edit)
}

fn unknown_key(key: &str) -> EditError {
    let is_known = IMPORTED_KEYS.contains(&key);
    let suggestion = values::closest(key, &KEYS.map(str::to_owned)).cloned();
    EditError::Key { key: key.to_owned(), suggestion, is_known }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::error::Report;

    fn error(setting: &str) -> String {
        let report = Report::from(edit(&[setting.to_owned()]).unwrap_err());
        assert_eq!(report.exit_code, 2);
        report.to_string()
    }

    #[test]
    fn a_setting_is_checked_and_not_shown() {
        let settings = "hint: set siteUrl=URL or viaPort=HOST:PORT";
        let import = "hint: import the connection to change it; `set` changes siteUrl and viaPort";
        for (setting, expected) in [
            ("siteurl=x", "'siteurl' cannot be set\nhint: did you mean siteUrl?".to_owned()),
            ("viaport=x", "'viaport' cannot be set\nhint: did you mean viaPort?".to_owned()),
            ("url=x", format!("'url' cannot be set\n{settings}")),
            ("secret=sesame", format!("'secret' cannot be set\n{import}")),
            ("sesame", format!("an argument behind the connection is not KEY=VALUE\n{settings}")),
            ("siteUrl=", "siteUrl is empty, longer than 2048 bytes, or has control characters".to_owned()),
            (
                "siteUrl=jo:sesame@a.example",
                "siteUrl is not a URL of http or https, or has invisible characters".to_owned(),
            ),
            ("viaPort=sesame", "viaPort is not host:port".to_owned()),
        ] {
            assert_eq!(error(setting), expected);
        }
    }

    #[test]
    fn the_last_setting_of_a_key_counts() {
        let settings = ["viaPort=proxy.example.org:80", "siteUrl=http://a.example", "viaPort="].map(str::to_owned);
        let edit = edit(&settings).unwrap();
        assert_eq!(edit.via_port, FieldPatch::Clear);
        assert_eq!(edit.site_url, Some("http://a.example".into()));
    }
}
