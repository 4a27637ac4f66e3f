//! `cxnpoll follow`: the target of permanent redirects as the siteUrl of a connection.

use std::time::Duration;

use clap::Args;

use super::edit::{Edit, Mode};
use crate::cli::context::Context;
use crate::cli::cxn_arg::CxnArg;
use crate::cli::error::{EditError, Error, Result};
use crate::cli::ui::prompt::Confirmation;
use crate::cli::values;
use crate::model::JobName;
use crate::run::find_target;

/// Follow a site that has moved to its new siteUrl
///
/// Polls the site with the listeners of the job. If it replies with a permanent redirect (301 or 308), the target is polled,
/// too. Only if that succeeds, the target becomes the siteUrl. No poll status changes, except that a connection that was given
/// up is due again. A temporary redirect, and one from https to http, is an error with exit code 3. At a terminal it shows the
/// change and asks first.
#[derive(Args)]
#[command(after_help = "Example:\n  cxnpoll follow cxn:0123456789abcdef0123456789abcdef --dry-run")]
pub(in crate::cli) struct Follow {
    /// Connection
    #[arg(value_name = "CXN")]
    cxn: CxnArg,
    /// Job name
    #[arg(long, value_name = "J", default_value = "default", value_parser = values::job)]
    name: JobName,
    /// Limit of each call: 30s, 2m, or a number of seconds [default: `timeouts.call` of the configuration, or 60]
    #[arg(long, value_name = "TIME", value_parser = values::positive_duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    confirmation: Confirmation,
    /// Poll, show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the changes as JSON
    #[arg(long)]
    json: bool,
}

impl Follow {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let store = context.store_for(!self.dry_run)?;
        let cxn = self.cxn.load(&store)?;
        if cxn.via_port.is_some() {
            return Err(Error::Edit(EditError::HasViaPort(cxn.cxn_id)));
        }
        let app = context.app(&store, &cxn.app_id)?;
        let client = context.client(&app, self.timeout)?;
        let found = find_target(&app, &self.name, &context.listeners, &client, &cxn, context.started)?;
        let cxn_id = || cxn.cxn_id.clone();
        let site_url = found.map_err(|reason| Error::Edit(EditError::NotFollowed { cxn_id: cxn_id(), reason }))?;
        let edit = Edit { site_url: Some(site_url), ..Edit::default() };
        let Self { confirmation, dry_run, json, .. } = self;
        edit.make(context, &store, &cxn, &Mode { action: "follow", is_conditional: true, dry_run, json, confirmation })
    }
}
