//! Registrations: sites that connect to an app by themselves.
//!
//! A web server starts this program for each request.
//!
//! [`Request`] is what CGI/1.1 (RFC 3875) passes in the environment, [`read_body`] reads standard input, and [`answer()`] decides
//! everything before a byte of the reply is written. Its time and store are passed in. What is wrong with a request is part of
//! its reply. An [`Error`] is a fault on this side: its reply has a general text, and the reason is for the administrator.

mod answer;
mod body;
mod endpoint;
mod error;
mod rate;
mod rate_file;
mod reply;
mod request;
mod route;
mod service;

pub use answer::answer;
pub use body::{BODY_TIMEOUT, BodyFault, read as read_body};
pub use error::{Error, Result};
pub use reply::Reply;
pub use request::Request;
pub use service::{Answer, Note, Service};
