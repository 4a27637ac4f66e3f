//! Option values that are one of several names: states and failure classes, with their meanings.

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Command};

use super::values;
use crate::model::FailureClass;
use crate::retry::State;

/// Parses the name of a state.
pub(super) fn states() -> impl TypedValueParser<Value = State> {
    named(&State::ALL, State::name, |state| match state {
        State::New => "It was never polled",
        State::Healthy => "Its last poll succeeded",
        State::Retrying => "It fails, and is polled again",
        State::GivenUp => "It failed too often, and is not polled until it is revived",
        State::Disabled => "It is not polled until it is enabled",
        State::Deferred => "The site asked to be polled later",
    })
}

/// Parses the name of a failure class.
pub(super) fn classes() -> impl TypedValueParser<Value = FailureClass> {
    named(&FailureClass::ALL, FailureClass::name, class_meaning)
}

/// What a failure class means, without a full stop.
pub(super) fn class_meaning(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Dns => "The host name has no address",
        FailureClass::Connect => "The connection was refused, or the host is unreachable",
        FailureClass::Tls => "No secure connection",
        FailureClass::Timeout => "A time limit passed",
        FailureClass::Disconnected => "The connection was closed before the reply was complete",
        FailureClass::Http => "Status 400 or above",
        FailureClass::Gone => "Status 410",
        FailureClass::Redirect => "A redirect that is not followed",
        FailureClass::TooLarge => "The reply is too large",
        FailureClass::Blocked => "Refused by the network policy",
        FailureClass::Garbled => "The reply is not a message",
        FailureClass::Protocol => "The message breaks a rule of CXN-0.2",
        FailureClass::Api => "The site's API returned an error",
        FailureClass::Listener => "The job's own logic failed",
        FailureClass::Local => "This machine could not try",
    }
}

/// Parses one of `all` by its name. Help and completions list them.
fn named<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    name: fn(T) -> &'static str,
    meaning: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    let values = all.iter().map(|one| PossibleValue::new(name(*one)).help(meaning(*one))).collect();
    Listed(values).try_map(move |text| {
        let names = || all.iter().map(|one| name(*one).to_owned()).collect::<Vec<_>>();
        all.iter().copied().find(|one| name(*one) == text).ok_or_else(|| one_of(&names(), &text))
    })
}

/// The expected names, with a suggestion if one is similar to `text`.
fn one_of(names: &[String], text: &str) -> String {
    let similar = values::closest(text, names).map(|name| format!("; did you mean {name}?"));
    format!("expected one of {}{}", names.join(", "), similar.unwrap_or_default())
}

/// Parses any text; help and completions list the values.
#[derive(Clone)]
struct Listed(Vec<PossibleValue>);

impl TypedValueParser for Listed {
    type Value = String;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &std::ffi::OsStr) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().cloned()))
    }
}
