//! Strange replies, and what the program makes of each: see `fixtures/network.json`.
//!
//! Each kind of reply is one test, which reports all cases of the kind that fail.

mod case;
mod check;
mod fill;
mod site;
mod stream;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use case::Case;

/// The number of cases of one kind that run at a time.
const CASES_AT_A_TIME: usize = 6;

/// Makes a test of each kind; an underscore stands for the hyphen in the name of the kind.
macro_rules! kinds {
    ($($name:ident),* $(,)?) => {
        const KINDS: &[&str] = &[$(stringify!($name)),*];

        $(
            #[test]
            fn $name() {
                run_all(stringify!($name));
            }
        )*
    };
}

kinds!(
    chunked,
    early_reply,
    error_body,
    evidence,
    framing,
    interim,
    odd_head,
    redirect,
    refused_head,
    retry_after,
    status,
);

#[test]
fn every_case_is_run() {
    let cases = case::all();
    let kinds: BTreeSet<_> = cases.iter().map(|case| case.kind.replace('-', "_")).collect();
    assert!(kinds.iter().eq(KINDS), "{kinds:?}");
    let names: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.len());
}

/// Runs all cases of a kind; panics with everything that is wrong.
fn run_all(kind: &str) {
    let mut cases = case::all();
    cases.retain(|case| case.kind.replace('-', "_") == kind);
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..CASES_AT_A_TIME {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(failure) = failure_of(case) {
                        failures.lock().unwrap().push(failure);
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    println!("{kind}: {} of {} cases passed", cases.len() - failures.len(), cases.len());
    assert!(failures.is_empty(), "{kind}: {} of {} cases failed\n{}", failures.len(), cases.len(), failures.join("\n"));
}

/// Runs a case; returns all that is wrong, or `None`.
fn failure_of(case: &Case) -> Option<String> {
    let problems = catch_unwind(AssertUnwindSafe(|| check::run(case))).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        vec![message.unwrap_or("the test panicked").to_owned()]
    });
    (!problems.is_empty()).then(|| format!("{}: {}\n  {}", case.name, case.about, problems.join("\n  ")))
}
