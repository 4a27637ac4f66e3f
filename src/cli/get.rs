//! `cxnpoll get`: list connections.

use clap::Args;
use serde_json::{Value, json};

use super::{Context, output};
use crate::error::Result;
use crate::exit;
use crate::model::{Cxn, safe_text};
use crate::store::{CxnKey, TreeName};

/// List connections
#[derive(Args)]
#[command(after_help = "Example:\n  cxnpoll get\n  cxnpoll get cxn:0123456789abcdef0123456789abcdef --json")]
pub(super) struct Get {
    /// This connection alone
    #[arg(value_name = "CXN")]
    cxn: Option<String>,
    /// Print a JSON object a line, without secrets
    #[arg(long)]
    json: bool,
}

impl Get {
    pub(super) fn run(self, context: &Context) -> Result<u8> {
        let store = context.store()?;
        let mut table = output::table(&["CXN", "APP", "SITE", "BATCH CODE", ""]);
        let mut show = |cxn: Cxn| {
            if self.json {
                return output::line(&without_secret(&cxn).to_string());
            }
            let via = cxn.via_port.as_ref().map(|via_port| format!(" via {via_port}"));
            let site = safe_text(&cxn.site_url) + &via.unwrap_or_default();
            let disabled = if cxn.disabled { "disabled" } else { "" };
            let batch_code = cxn.batch_code.get().to_string();
            table.add_row([cxn.cxn_id.as_str(), cxn.app_id.short(), &site, &batch_code, disabled]);
            Ok(())
        };
        match &self.cxn {
            Some(text) => {
                let cxn = store.session(|session| session.cxn(Context::find(session, text)?))?;
                cxn.into_iter().try_for_each(&mut show)?;
            }
            None => store.paged(
                TreeName::Cxn,
                &[],
                |session, key, _| CxnKey::parse(key).map_or(Ok(None), |key| session.cxn(key)),
                &mut show,
            )?,
        }
        if !self.json {
            output::print_table(&mut table)?;
        }
        Ok(exit::OK)
    }
}

fn without_secret(cxn: &Cxn) -> Value {
    json!({
        "cxnId": cxn.cxn_id,
        "appId": cxn.app_id,
        "appUrl": cxn.app_url.as_ref(),
        "siteUrl": cxn.site_url,
        "perm": cxn.perm.as_ref(),
        "viaPort": cxn.via_port,
        "batchCode": cxn.batch_code,
        "disabled": cxn.disabled,
    })
}
