//! From a request to its answer: what every path has in common.

use super::body::BodyFault;
use super::endpoint;
use super::error::{Error, Result};
use super::reply::Reply;
use super::request::Request;
use super::route::{Resource, Route};
use super::service::{Answer, Note, Service};
use crate::config::metadata_document;
use crate::model::UnixTime;

/// Answers a request that arrived at the time `now`, by the real clock.
#[must_use]
pub fn answer(service: &Service<'_>, request: &Request, body: Result<Vec<u8>, BodyFault>, now: UnixTime) -> Answer {
    let (mut note, mut late_fault) = (Note::default(), None);
    let (reply, fault) = match decide(service, request, body, now, &mut note, &mut late_fault) {
        Ok(reply) => (reply, late_fault),
        Err(error) => {
            "a fault on this side".clone_into(&mut note.outcome);
            (error.reply(), Some(error))
        }
    };
    Answer { reply, note, fault }
}

fn decide(
    service: &Service<'_>,
    request: &Request,
    body: Result<Vec<u8>, BodyFault>,
    now: UnixTime,
    note: &mut Note,
    late_fault: &mut Option<Error>,
) -> Result<Reply> {
    let not_found = |note: &mut Note, outcome: &str| {
        outcome.clone_into(&mut note.outcome);
        Ok(Reply::plain(404))
    };
    let Some(Route { app_id, resource }) = Route::of(&request.path) else { return not_found(note, "no such path") };
    if !resource.takes(&request.method) {
        "wrong method".clone_into(&mut note.outcome);
        return Ok(Reply { allow: Some(resource.methods()), ..Reply::plain(405) });
    }
    let body = match body {
        Ok(body) => body,
        Err(fault) => {
            let (status, text) = of_body(fault);
            text.clone_into(&mut note.outcome);
            return Ok(Reply::insecure(status, text));
        }
    };
    let Some(app) = service.config.app(&app_id)? else { return not_found(note, "no such app") };
    match resource {
        Resource::Endpoint => {
            endpoint::Exchange { service, app: &app, remote: &request.remote, now, note, late_fault }.answer(&body)
        }
        Resource::Metadata => {
            "metadata".clone_into(&mut note.outcome);
            let document = metadata_document(&app);
            Ok(Reply::json(&document.map_err(|missing| Error::NoMetadata { app_id, missing })?))
        }
    }
}

/// The status and the text of the reply to a request without a body.
fn of_body(fault: BodyFault) -> (u16, &'static str) {
    match fault {
        BodyFault::Length => (400, "the length of the message is not a number"),
        BodyFault::Short => (400, "the message is incomplete"),
        BodyFault::TooLarge => (413, "the message is too long"),
        BodyFault::TooSlow => (408, "the message did not arrive in time"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;
    use crate::listener::Listeners;

    /// The status of the answer, its outcome in the log, and whether something is wrong on this side.
    fn answer_to(method: &str, path: &str, body: Result<Vec<u8>, BodyFault>) -> (u16, String, bool) {
        let config = Config::parse("[apps.\"org.example.poll\"]", Path::new("")).unwrap();
        let open_store = || Err(Error::NoWebServer);
        let service = Service { config: &config, listeners: &Listeners::default(), open_store: &open_store };
        let (method, path) = (method.to_owned(), path.to_owned());
        let request = Request { method, path, content_length: None, remote: String::new() };
        let Answer { reply, note, fault } = answer(&service, &request, body, 0);
        (reply.status, note.outcome, fault.is_some())
    }

    #[test]
    fn what_is_no_request_of_a_site_needs_no_store() {
        let post = |path, body| answer_to("POST", path, body);
        let endpoint = "/org.example.poll/cxn";
        for (fault, status, text) in [
            (BodyFault::Length, 400, "the length of the message is not a number"),
            (BodyFault::Short, 400, "the message is incomplete"),
            (BodyFault::TooLarge, 413, "the message is too long"),
            (BodyFault::TooSlow, 408, "the message did not arrive in time"),
        ] {
            assert_eq!(post(endpoint, Err(fault)), (status, text.to_owned(), false));
        }
        assert_eq!(post("/org.example.other/cxn", Ok(Vec::new())), (404, "no such app".to_owned(), false));
        assert_eq!(post("/org.example.poll", Err(BodyFault::TooSlow)), (404, "no such path".to_owned(), false));
        assert_eq!(answer_to("GET", endpoint, Ok(Vec::new())), (405, "wrong method".to_owned(), false));
        assert_eq!(post(endpoint, Ok(Vec::new())), (500, "a fault on this side".to_owned(), true));
    }

    #[test]
    fn metadata_that_lacks_something_is_not_served() {
        let metadata = answer_to("GET", "/org.example.poll/cxn/metadata.json", Ok(Vec::new()));
        assert_eq!(metadata, (503, "a fault on this side".to_owned(), true));
    }
}
