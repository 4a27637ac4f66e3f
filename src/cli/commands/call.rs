//! `cxnpoll call`: one API call to a site.

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};
use tracing::warn;

use crate::cli::context::Context;
use crate::cli::cxn_arg::CxnArg;
use crate::cli::error::{Error, Result};
use crate::cli::ui::output;
use crate::cli::values;
use crate::exit;
use crate::listener::Method;
use crate::protocol::api_failure;
use crate::site::Api;

/// Send one API call to a site, and print the reply
///
/// The exit code is 3 if the site fails, or if its reply reports an error.
#[derive(Args)]
#[command(after_help = "Example:\n  cxnpoll call cxn:0123… Contact.get email=jo@example.org options:='{\"limit\": 1}'")]
pub(in crate::cli) struct Call {
    /// Connection to call through
    #[arg(value_name = "CXN")]
    cxn: CxnArg,
    /// API entity and action, such as System.get
    #[arg(value_name = "ENTITY.ACTION", value_parser = |text: &str| Method::try_from(text.to_owned()))]
    method: Method,
    /// Parameters: key=text, or key:=JSON
    #[arg(value_name = "KEY=VALUE", value_parser = parameter)]
    params: Vec<(String, Value)>,
    /// Limit of the call: 30s, 2m, or a number of seconds [default: `timeouts.call` of the configuration, or 60]
    #[arg(long, value_name = "TIME", value_parser = values::positive_duration)]
    timeout: Option<Duration>,
    /// Print JSON on one line, also for a failure
    #[arg(long)]
    json: bool,
}

impl Call {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<u8> {
        let store = context.store()?;
        let cxn = self.cxn.load(&store)?;
        let app = context.app(&store, &cxn.app_id)?;
        app.call_warnings().for_each(|warning| warn!("{warning}"));
        let client = context.client(&app, self.timeout)?;
        let api = Api::new(&client, &cxn, &app.app_cert);
        let Method { entity, action } = &self.method;
        match api.call(entity, action, Map::from_iter(self.params)) {
            Ok(reply) => {
                if self.json {
                    output::json_line(&reply);
                } else {
                    output::json(&reply);
                }
                Ok(if api_failure(&reply, &cxn.secret).is_some() { exit::SITE_FAILED } else { exit::OK })
            }
            Err(failure) if self.json => {
                let error = json!({"error": {"class": failure.class, "message": failure.message}});
                output::json_line(&error);
                Ok(exit::SITE_FAILED)
            }
            Err(failure) => Err(Error::SiteFailed { cxn_id: cxn.cxn_id, failure }),
        }
    }
}

/// `key=text` or `key:=JSON`.
fn parameter(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("expected key=value, or key:=JSON")?;
    let (key, value) = match key.strip_suffix(':') {
        Some(key) => (key, serde_json::from_str(value).map_err(|error| format!("not JSON: {error}"))?),
        None => (key, Value::from(value)),
    };
    if key.is_empty() { Err("expected a key before the '='".to_owned()) } else { Ok((key.to_owned(), value)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_text_or_json() {
        assert_eq!(parameter("id=7"), Ok(("id".into(), json!("7"))));
        assert_eq!(parameter("where=a=b"), Ok(("where".into(), json!("a=b"))));
        assert_eq!(parameter("options:={\"limit\":1}"), Ok(("options".into(), json!({"limit": 1}))));
        for bad in ["id", "=1", ":=1", "id:=", "id:={"] {
            assert!(parameter(bad).is_err(), "{bad}");
        }
    }
}
