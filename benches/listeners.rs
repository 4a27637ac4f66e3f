//! The cost of an event that a reused listener program handles, compared with bare pipes.
//!
//! `cargo bench --bench listeners`; needs Python. The bare loop uses the same pipes to the same
//! program. The difference between the two is the overhead of `cxnpoll`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::{fs, hint};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use cxnpoll::config::Config;
use cxnpoll::listener::Phase;
use cxnpoll::{AppMeta, Cxn, JobName, PollEvent, Secret, Tls};
use serde_json::json;

/// A listener that answers every line with success.
const PROGRAM: &str = "import sys\nfor line in sys.stdin: print('{\"ok\":true}', flush=True)\n";
const CONFIG: &str = "[[listeners]]\nevent = 'civi_cxn.poll'\nprogram = ['python3', 'listener.py']\nreuse = true\n";
/// The number of events per iteration.
const EVENTS: u64 = 1000;

fn events(criterion: &mut Criterion) {
    let app = app();
    let cxn = cxn(&app);
    let job = JobName::default();
    let event = || PollEvent::new(&app, &job, &cxn, 1_767_225_600, None, false);

    let mut group = criterion.benchmark_group("listeners");
    group.throughput(Throughput::Elements(EVENTS)).sample_size(20);
    reused_program(&mut group, &app, &job, event);
    bare_pipes(&mut group, &format!("{}\n", event().to_json()));
    group.finish();
}

/// Passes events to the program the way a run does.
fn reused_program<'a>(
    group: &mut BenchmarkGroup<WallTime>,
    app: &AppMeta,
    job: &JobName,
    event: impl Fn() -> PollEvent<'a>,
) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("listener.py"), PROGRAM).expect("the program is written");
    let file = dir.path().join("cxnpoll.toml");
    fs::write(&file, CONFIG).expect("the configuration is written");
    let config = Config::load(Some(&file)).expect("the configuration is valid");

    let mut caller = config.listeners().of(&app.app_id, job, Phase::Poll).dispatcher();
    group.bench_function("reused program", |bencher| {
        bencher.iter(|| (0..EVENTS).for_each(|_| assert!(matches!(caller.poll(&mut event()), Ok(Ok(()))))));
    });
}

/// Writes the same line to the same program and reads its answers, without anything else.
fn bare_pipes(group: &mut BenchmarkGroup<WallTime>, line: &str) {
    let mut child = Command::new("python3")
        .args(["-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python is installed");
    let mut input = child.stdin.take().expect("a pipe");
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    group.bench_function("bare pipes", |bencher| {
        bencher.iter(|| {
            for _ in 0..EVENTS {
                input.write_all(line.as_bytes()).expect("the program reads");
                let mut answer = String::new();
                output.read_line(&mut answer).expect("the program answers");
                hint::black_box(answer);
            }
        });
    });
    drop(input);
    child.wait().expect("the program exits");
}

fn app() -> AppMeta {
    AppMeta {
        app_id: "app:org.example.myapp".parse().expect("a valid appId"),
        app_cert: String::new(),
        disabled: false,
        tls: Tls::Verify,
        metadata: json!({"title": "My app"}),
    }
}

fn cxn(app: &AppMeta) -> Cxn {
    Cxn {
        cxn_id: "cxn:0123456789".parse().expect("a valid cxnId"),
        secret: Secret::from_bytes([7; 32]),
        app_id: app.app_id.clone(),
        app_url: "https://app.example.org/cxn".into(),
        site_url: "https://site.example.org/civicrm/cxn/api".into(),
        perm: Arc::new(json!({"desc": "", "api": [{"entity": "*", "actions": "*"}]})),
        via_port: None,
        batch_code: 7.try_into().expect("a valid batch code"),
        disabled: false,
    }
}

criterion_group!(benches, events);
criterion_main!(benches);
