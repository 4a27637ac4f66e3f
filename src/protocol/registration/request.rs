//! What a request asks for.

use serde_json::{Map, Value};

use super::details::{self, Sender, SiteDetails};
use crate::model::AppId;
use crate::protocol::is_page;

/// The entity of all requests. Its case matters.
const ENTITY: &str = "Cxn";

/// A request whose details are good.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The connection.
    pub sender: Sender,
    /// What it asks for.
    pub action: Action,
}

/// What a site asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// To connect, or to change its details.
    Register(Box<SiteDetails>),
    /// To be disconnected.
    Unregister,
    /// A link to a page of the app; `None` if its name is missing, or cannot be that of a page.
    GetLink(Option<String>),
}

/// A request that is refused for what it holds. The texts name fields, never values.
#[derive(Debug, Clone, PartialEq)]
pub struct Invalid {
    /// The connection that gets the answer; `None` if it cannot be encrypted for one.
    pub sender: Option<Sender>,
    /// What is wrong.
    pub text: String,
}

impl Request {
    /// Reads the plaintext of a request to an app.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn read(plaintext: &Value, app_id: &AppId) -> Result<Self, Invalid> {
        let without_sender = |text: String| Invalid { sender: None, text };
        let cxn = plaintext["cxn"].as_object().ok_or_else(|| without_sender("cxn is missing".to_owned()))?;
        let sender = details::sender(cxn).map_err(without_sender)?;
        let action = action(plaintext, cxn, app_id);
        action
            .map(|action| Self { sender: sender.clone(), action })
            .map_err(|text| Invalid { sender: Some(sender), text })
    }
}

fn action(plaintext: &Value, cxn: &Map<String, Value>, app_id: &AppId) -> Result<Action, String> {
    details::check_app(cxn, app_id)?;
    let action = plaintext["action"].as_str().unwrap_or_default().to_ascii_lowercase();
    let register = if action == "register" { Some(details::of_site(cxn)?) } else { None };
    if plaintext["entity"] != ENTITY {
        return Err(format!("the entity is not {ENTITY}"));
    }
    match (action.as_str(), register) {
        (_, Some(details)) => Ok(Action::Register(Box::new(details))),
        ("unregister", _) => Ok(Action::Unregister),
        ("getlink", _) => {
            let page = plaintext["params"]["page"].as_str().filter(|page| is_page(page));
            Ok(Action::GetLink(page.map(str::to_owned)))
        }
        _ => Err("the action is not register, unregister or getlink".to_owned()),
    }
}
