//! The exit code of every kind of error, and the texts around it.

use std::time::Duration;

use super::*;
use crate::model::FailureClass;

fn io_error() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

fn app(name: &str) -> AppId {
    AppId::from_argument(name).unwrap()
}

fn cxn() -> CxnId {
    "cxn:1".parse().unwrap()
}

#[test]
fn every_error_has_its_exit_code() {
    let path = PathBuf::from("/var/lib/cxnpoll");
    let file = "cxnpoll.toml".to_owned();
    for (error, expected) in [
        (Error::Panic("oops".to_owned()), exit::INTERNAL),
        (Error::Stdout(io_error()), exit::OUTPUT),
        (Error::Prompt(io_error()), exit::INTERNAL),
        (Error::ManualPage(io_error()), exit::OUTPUT),
        (Error::Signals(io_error()), exit::INTERNAL),
        (Error::OutputFile { path: path.clone(), kind: io::ErrorKind::StorageFull }, exit::OUTPUT),
        (Error::OutputFile { path: path.clone(), kind: io::ErrorKind::NotFound }, exit::NOT_FOUND),
        (Error::NoCxnSelected { verb: "remove" }, exit::USAGE),
        (Error::Results(ResultsProblem::NoneSelected), exit::USAGE),
        (Error::Results(ResultsProblem::AmbiguousField { name: "count".to_owned(), full: Vec::new() }), exit::USAGE),
        (Error::Results(ResultsProblem::NoField { name: "version".to_owned(), fields: Vec::new() }), exit::NOT_FOUND),
        (Error::Unconfirmed { action: "remove 2 connections".to_owned(), hint: "use --yes" }, exit::USAGE),
        (Error::UnknownCommand("pol".to_owned()), exit::USAGE),
        (Error::NotBefore { option: "--since", at: 2, now: 1 }, exit::USAGE),
        (
            Error::SiteFailed { cxn_id: cxn(), failure: Failure::new(FailureClass::Dns, "no address") },
            exit::SITE_FAILED,
        ),
        (Error::UnknownApp { app_id: app("a"), suggestion: None }, exit::NOT_FOUND),
        (Error::UnknownCxn("beef".to_owned()), exit::NOT_FOUND),
        (Error::UnknownJob(JobName::default()), exit::NOT_FOUND),
        (Error::OtherApp { cxn_id: cxn(), app_id: app("a"), expected: app("b") }, exit::NOT_FOUND),
        (Error::Results(ResultsProblem::NothingKept(Some("cxn:1".to_owned()))), exit::NOT_FOUND),
        (Error::NoBackup { dir: path.clone(), future: 0 }, exit::NOT_FOUND),
        (Error::NoDirectory(path.clone()), exit::NOT_FOUND),
        (StoreError::NoStore { path: path.clone() }.into(), exit::NOT_FOUND),
        (Error::StoredRetry("x".parse::<crate::retry::Policy>().unwrap_err()), exit::STORE),
        (StoreError::NewerFormat { found: 9, known: 2 }.into(), exit::STORE),
        (Error::BackupInProgress, exit::DECLINED),
        (StoreError::InUse { path: path.clone(), waited: Duration::ZERO, last_session: None }.into(), exit::DECLINED),
        (StoreError::Cancelled.into(), exit::DECLINED),
        (RunError::CxnDisabled(cxn()).into(), exit::USAGE),
        (RunError::NoSuchCxn(cxn()).into(), exit::NOT_FOUND),
        (RunError::NoThread("no memory".to_owned()).into(), exit::INTERNAL),
        (Error::LogFile { path: path.clone(), error: io_error() }, exit::CONFIG),
        (
            Error::InvalidAppName { name: "a/b".to_owned(), error: AppId::from_argument("a/b").unwrap_err() },
            exit::CONFIG,
        ),
        (Error::NoAppMetadata("a".to_owned()), exit::CONFIG),
        (Error::ConfigProblems { count: 1, file }, exit::CONFIG),
        (ConfigError::NoHome.into(), exit::CONFIG),
        (ConfigError::NoFile { path }.into(), exit::NOT_FOUND),
    ] {
        let name = format!("{error:?}");
        let Report { message, hint, exit_code } = error.into();
        assert_eq!(exit_code, expected, "{name}");
        assert!(!message.is_empty() && !message.ends_with('.') && !message.contains("can't"), "{message}");
        assert!(hint.is_none_or(|hint| !hint.is_empty() && !hint.ends_with('.')), "{name}");
    }
}

#[test]
fn a_similar_name_is_suggested_for_an_unknown_app() {
    let hint = |suggestion: Option<&str>| {
        let suggestion = suggestion.map(str::to_owned);
        Report::from(Error::UnknownApp { app_id: app("myap"), suggestion }).hint.unwrap()
    };
    assert_eq!(hint(Some("myapp")), "did you mean myapp?");
    assert!(hint(None).contains("`cxnpoll status`"));
}

#[test]
fn an_output_file_that_may_not_be_written_has_a_hint() {
    let hint = |kind| Report::from(Error::OutputFile { path: "/tmp/pipe".into(), kind }).hint;
    assert!(hint(io::ErrorKind::PermissionDenied).is_some_and(|hint| hint.starts_with("name a file in a directory")));
    assert!(hint(io::ErrorKind::StorageFull).is_some_and(|hint| hint.starts_with("free some disk space")));
    assert_eq!(hint(io::ErrorKind::IsADirectory), None);
}

#[test]
fn one_problem_is_singular() {
    let text = |count| Report::from(Error::ConfigProblems { count, file: "x.toml".to_owned() }).message;
    assert_eq!((text(1), text(2)), ("1 problem in x.toml".to_owned(), "2 problems in x.toml".to_owned()));
}

#[test]
fn a_field_that_no_result_has_is_answered_with_those_that_there_are() {
    let hint = |name: &str, fields: &[&str]| {
        let fields = fields.iter().map(ToString::to_string).collect();
        Report::from(ResultsProblem::NoField { name: name.to_owned(), fields }).hint.unwrap()
    };
    assert_eq!(hint("verison", &["uf", "version"]), "did you mean version?");
    assert_eq!(hint("x", &["a.b", "uf\u{1b}"]), "choose from the fields that results have: uf, a.b");
    let many: Vec<_> = (0..25).map(|number| format!("f{number}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert!(hint("x", &many).ends_with(" and 5 more"));
    assert!(hint("x", &[]).contains("--latest"));
}
