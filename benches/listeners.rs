//! What an event costs that goes through a reused program, against a bare loop over the same pipes.
//!
//! `cargo bench --bench listeners`; it needs Python. The difference is ours; the rest is the program and the pipes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::{fs, hint};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use cxnpoll::config::Config;
use cxnpoll::listener::Phase;
use cxnpoll::{AppMeta, Cxn, JobName, PollEvent, Secret, Tls};
use serde_json::json;

/// Answers every line.
const PROGRAM: &str = "import sys\nfor line in sys.stdin: print('{\"ok\":true}', flush=True)\n";
/// How many events an iteration has.
const EVENTS: u64 = 1000;

fn events(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("listener.py"), PROGRAM).expect("a file");
    let file = folder.path().join("cxnpoll.toml");
    let listener = "[[listeners]]\nevent = 'civi_cxn.poll'\nprogram = ['python3', 'listener.py']\nreuse = true\n";
    fs::write(&file, listener).expect("a file");
    let config = Config::load(Some(&file)).expect("it is right");

    let app_id = "app:org.example.myapp".parse().expect("an id");
    let app = AppMeta {
        app_id,
        app_cert: String::new(),
        disabled: false,
        tls: Tls::Verify,
        metadata: json!({"title": "My app"}),
    };
    let job = JobName::default();
    let cxn = Cxn {
        cxn_id: "cxn:0123456789".parse().expect("an id"),
        secret: Secret::from_bytes([7; 32]),
        app_id: app.app_id.clone(),
        app_url: "https://app.example.org/cxn".into(),
        site_url: "https://site.example.org/civicrm/cxn/api".to_owned(),
        perm: Arc::new(json!({"desc": "", "api": [{"entity": "*", "actions": "*"}]})),
        via_port: None,
        batch_code: 7.try_into().expect("a code"),
        disabled: false,
    };
    let event = || PollEvent::new(&app, &job, &cxn, 1_767_225_600, None, false);

    let mut group = criterion.benchmark_group("listeners");
    group.throughput(Throughput::Elements(EVENTS)).sample_size(20);
    let mut caller = config.listeners().of(&app.app_id, &job, Phase::Poll).caller();
    group.bench_function("reused program", |bencher| {
        bencher.iter(|| (0..EVENTS).for_each(|_| assert!(matches!(caller.poll(&mut event()), Ok(Ok(()))))));
    });

    let line = format!("{}\n", event().to_json());
    let mut child = Command::new("python3")
        .args(["-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python is there");
    let (mut input, output) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
    let mut output = BufReader::new(output);
    group.bench_function("bare pipes", |bencher| {
        bencher.iter(|| {
            for _ in 0..EVENTS {
                input.write_all(line.as_bytes()).expect("it listens");
                let mut answer = String::new();
                output.read_line(&mut answer).expect("it answers");
                hint::black_box(answer);
            }
        });
    });
    drop(input);
    child.wait().expect("it ends");
    group.finish();
}

criterion_group!(benches, events);
criterion_main!(benches);
