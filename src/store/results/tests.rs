//! Kept results in a store.

use std::time::Duration;

use serde_json::json;

use super::{Limits, StoredResult};
use crate::model::{Failure, FailureClass};
use crate::store::{Error, Store};

fn result(cxn: &str, job: &str, at: i64, failed: bool) -> StoredResult {
    StoredResult {
        cxn_id: format!("cxn:{cxn}").parse().unwrap(),
        app_id: "app:org.example.myapp".parse().unwrap(),
        job: job.parse().unwrap(),
        at,
        failure: failed.then(|| Failure::new(FailureClass::Api, "no")),
        value: json!({"at": at}),
        bytes: json!({"at": at}).to_string().len() as u64,
    }
}

fn all(store: &Store, latest: bool) -> Vec<StoredResult> {
    let mut all = Vec::new();
    store
        .for_each_result(None, None, latest, |result| {
            all.push(result);
            Ok::<_, Error>(())
        })
        .unwrap();
    all
}

#[test]
fn the_newest_results_are_kept_within_the_limits() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::create(&directory.path().join("store"), Duration::from_secs(5)).unwrap();
    assert_eq!(store.remove_results(None, None).unwrap(), 0);
    assert!(all(&store, false).is_empty() && !store.path().join("results").exists());

    let limits = Limits { failures: 2, all: 3, max_kib: 1 };
    store.keep_results(&[result("a", "j", 1, false).encode(&limits).unwrap()], &Limits { all: 0, ..limits }).unwrap();
    assert!(all(&store, false).is_empty());
    for at in 1..=5 {
        store
            .keep_results(
                &[result("a", "j", at, at > 2), result("a", "k", at, false), result("b", "j", at, false)]
                    .map(|result| result.encode(&limits).unwrap()),
                &limits,
            )
            .unwrap();
    }
    let at = |cxn: &str, job: &str| {
        let all = all(&store, false).into_iter();
        all.filter(|result| result.cxn_id.as_str() == format!("cxn:{cxn}") && result.job.as_str() == job)
            .map(|result| result.at)
            .collect::<Vec<_>>()
    };
    // The oldest of three failures went first, and then the first success.
    assert_eq!(at("a", "j"), [4, 5]);
    assert_eq!((at("a", "k"), at("b", "j")), (vec![3, 4, 5], vec![3, 4, 5]));
    let latest = all(&store, true);
    assert_eq!(latest.iter().map(|result| result.at).collect::<Vec<_>>(), [5, 5, 5]);
    assert_eq!(latest[0], result("a", "j", 5, true));

    let large = StoredResult { value: json!("x".repeat(2000)), bytes: 2002, ..result("c", "j", 1, false) };
    store.keep_results(&[large.encode(&limits).unwrap()], &limits).unwrap();
    let found = all(&store, true).pop().unwrap();
    assert_eq!((found.value.is_null(), found.bytes, &found.to_json()["omitted"]), (true, 2002, &json!(true)));

    assert_eq!(store.remove_results(Some(&"cxn:a".parse().unwrap()), Some(&"j".parse().unwrap())).unwrap(), 2);
    assert_eq!(store.remove_results(None, Some(&"j".parse().unwrap())).unwrap(), 4);
    assert_eq!(store.remove_results(None, None).unwrap(), 3);
}
