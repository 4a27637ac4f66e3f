//! `cxnpoll event`: the event that a listener program would get.

use clap::Args;

use super::{Context, output};
use crate::batch::Batch;
use crate::error::{Error, Kind, Result};
use crate::exit;
use crate::listener::{PollEvent, RunEvent};
use crate::model::{AppId, JobName, UnixTime};

/// Print the event that a listener program would get, one line of JSON, to feed into it by hand
#[derive(Args)]
#[command(
    after_help = "Example:\n  cxnpoll event org.civicrm.myapp --cxn cxn:0123… | ./listener.py\n\nWithout --cxn it is the event before a run's first poll."
)]
pub(super) struct Event {
    /// The app, such as org.civicrm.myapp
    #[arg(value_name = "APP", value_parser = super::app)]
    app: AppId,
    /// The job's name
    #[arg(long, value_name = "J", default_value = "default", value_parser = super::job)]
    name: JobName,
    /// The connection that would be visited
    #[arg(long, value_name = "ID")]
    cxn: Option<String>,
    /// Pretend that it is this moment: RFC 3339, or seconds since 1970
    #[arg(long, value_name = "T", value_parser = super::moment)]
    now: Option<UnixTime>,
}

impl Event {
    pub(super) fn run(self, context: &Context) -> Result<u8> {
        let store = context.store()?;
        let app = context.app(&store, &self.app)?;
        let now = self.now.unwrap_or(context.started);
        let Some(cxn) = &self.cxn else {
            let event = RunEvent::new(&app, &self.name, Batch::default(), now, 0, None);
            return output::line(&event.to_json().to_string()).map(|()| exit::OK);
        };
        let missing = || Error::new(Kind::NotFound, format!("there is no connection {cxn}"));
        let found = store.session(|session| session.cxn(Context::find(session, cxn)?))?.ok_or_else(missing)?;
        if found.app_id != app.app_id {
            let message = format!("{} is a connection of {}, not of {}", found.cxn_id, found.app_id, app.app_id);
            return Err(Error::new(Kind::NotFound, message));
        }
        let event = PollEvent::new(&app, &self.name, &found, now, None, false);
        output::line(&event.to_json().to_string()).map(|()| exit::OK)
    }
}
