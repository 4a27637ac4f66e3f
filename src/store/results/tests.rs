//! Kept results in a store.

use std::time::Duration;

use serde_json::json;

use super::{Limits, StoredResult, Which};
use crate::model::{Failure, FailureClass};
use crate::store::engine::open_database;
use crate::store::schema::MAX_VALUE_BYTES;
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

fn read(store: &Store, which: Which) -> Vec<StoredResult> {
    let mut all = Vec::new();
    store
        .for_each_result(None, None, which, |result| {
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
    assert!(read(&store, Which::All).is_empty() && !store.path().join("results").exists());

    let limits = Limits { failures: 2, all: 3, max_kib: 1 };
    store.keep_results(&[result("a", "j", 1, false).encode(&limits).unwrap()], &Limits { all: 0, ..limits }).unwrap();
    assert!(read(&store, Which::All).is_empty());
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
        let all = read(&store, Which::All).into_iter();
        all.filter(|result| result.cxn_id.as_str() == format!("cxn:{cxn}") && result.job.as_str() == job)
            .map(|result| result.at)
            .collect::<Vec<_>>()
    };
    // The oldest of three failures went first, and then the first success.
    assert_eq!(at("a", "j"), [4, 5]);
    assert_eq!((at("a", "k"), at("b", "j")), (vec![3, 4, 5], vec![3, 4, 5]));
    let latest = read(&store, Which::Newest);
    assert_eq!(latest.iter().map(|result| result.at).collect::<Vec<_>>(), [5, 5, 5]);
    assert_eq!(latest[0], result("a", "j", 5, true));
    let ok = result("a", "j", 3, false).encode(&limits).unwrap();
    store.keep_results(&[ok], &limits).unwrap();
    let newest_success = |job: Option<&str>| {
        let (mut found, job) = (Vec::new(), job.map(|job| job.parse().unwrap()));
        let keep = |result: StoredResult| {
            found.push((result.cxn_id.to_string(), result.job.to_string(), result.at));
            Ok::<_, Error>(())
        };
        store.for_each_result(None, job.as_ref(), Which::NewestSuccess, keep).unwrap();
        found.iter().map(|(cxn, job, at)| format!("{cxn} {job} {at}")).collect::<Vec<_>>()
    };
    assert_eq!(newest_success(None), ["cxn:a j 3", "cxn:a k 5", "cxn:b j 5"]);
    assert_eq!(newest_success(Some("j")), ["cxn:a j 3", "cxn:b j 5"]);

    let large = StoredResult { value: json!("x".repeat(2000)), bytes: 2002, ..result("c", "j", 1, false) };
    store.keep_results(&[large.encode(&limits).unwrap()], &limits).unwrap();
    let found = read(&store, Which::Newest).pop().unwrap();
    assert_eq!((found.value.is_null(), found.bytes, &found.to_json()["omitted"]), (true, 2002, &json!(true)));

    assert_eq!(store.remove_results(Some(&"cxn:a".parse().unwrap()), Some(&"j".parse().unwrap())).unwrap(), 3);
    assert_eq!(store.remove_results(None, Some(&"j".parse().unwrap())).unwrap(), 4);
    assert_eq!(store.remove_results(None, None).unwrap(), 3);
}

#[test]
fn a_long_result_is_stored_in_parts() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::create(&directory.path().join("store"), Duration::from_secs(5)).unwrap();
    let limits = Limits::default();
    let random: Vec<u64> = (0..2_000_u64).map(|number| number.wrapping_mul(0x9E37_79B9_7F4A_7C15)).collect();
    let long = StoredResult {
        value: json!(random),
        bytes: json!(random).to_string().len() as u64,
        ..result("a", "j", 1, false)
    };
    let encoded = long.encode(&limits).unwrap();
    assert!(encoded.record.len() > 3 * MAX_VALUE_BYTES);
    let stored = || {
        let database = open_database(&store.path().join("results")).unwrap();
        let pieces = database.open_tree("pieces").unwrap();
        let lengths: Vec<_> = database.iter().chain(pieces.iter()).map(|entry| entry.unwrap().1.len()).collect();
        (lengths.iter().sum::<usize>(), lengths.into_iter().max().unwrap_or(0))
    };
    store.keep_results(&[encoded], &limits).unwrap();
    assert_eq!(read(&store, Which::All), std::slice::from_ref(&long));
    let encoded = long.encode(&limits).unwrap();
    assert_eq!(stored(), (encoded.record.len(), MAX_VALUE_BYTES));

    // A shorter one in its place, or its removal, leaves none of the parts.
    let short = result("a", "j", 1, false).encode(&limits).unwrap();
    let length = short.record.len();
    store.keep_results(&[short], &limits).unwrap();
    assert_eq!(stored(), (length, length));
    store.keep_results(&[long.encode(&limits).unwrap()], &limits).unwrap();
    store.remove_results(None, None).unwrap();
    assert_eq!(stored(), (0, 0));

    // Former builds stored it whole.
    open_database(&store.path().join("results")).unwrap().insert(&encoded.key, &encoded.record[..]).unwrap();
    assert_eq!(read(&store, Which::All), [long]);
}
