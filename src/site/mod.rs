//! Calls to sites: where they go, what may be connected to, and what can fail.
//!
//! A call sends bytes and returns bytes. The protocol gives them their meaning.

mod addresses;
mod adoption;
mod api;
mod authorities;
mod client;
mod egress;
mod endpoint;
mod evidence;
mod failure;
mod http_date;
mod markup;
mod moved;
mod name_servers;
mod options;
mod own_addresses;
mod poll_calls;
mod redirect;
mod reply;
mod resolver;
mod retry_after;
mod shortage;
#[cfg(test)]
mod tests;
mod tls_reason;
mod transport;

pub use adoption::{NotFollowed, Redirection, Targets};
pub use api::Api;
pub use authorities::check as check_authorities;
pub use client::Client;
pub use egress::{EgressPolicy, Refused, RefusedPorts};
pub use endpoint::Endpoint;
pub use moved::suggested_site_url;
pub use name_servers::{check as check_name_servers, check_each as check_each_name_server, name_servers};
pub use options::{Options, Timeouts};
pub use poll_calls::PollCalls;
pub use reply::Reply;
pub use resolver::MAX_LOOKUPS;
pub use transport::idle::MAX_SPARE_CONNECTIONS;
