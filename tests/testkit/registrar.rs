//! Apps that take registrations, and the recorded requests of sites to them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cxnpoll::config::Config;
use cxnpoll::protocol::decode;
use cxnpoll::registration::{Request, Service, answer};
use cxnpoll::store::Store;
use cxnpoll::store::error::Result as StoreResult;
use cxnpoll::transfer;
use serde::Deserialize;
use serde_json::Value;

use super::{World, code, stderr};

/// The app of the recorded requests.
pub const RECORDED_APP: &str = "app:org.example.poll";
/// Where sites send them.
pub const ENDPOINT: &str = "/app:org.example.poll/cxn/register";
/// A time at which the recorded requests are valid: 2026-11-25.
pub const RECORDED_AT: i64 = 1_795_600_864;
const STORE_WAIT: Duration = Duration::from_secs(30);

/// The file of the recorded requests.
pub fn recorded() -> &'static Value {
    static FILE: LazyLock<Value> = LazyLock::new(|| {
        let text = include_str!("../../fixtures/registration-vectors.json");
        let mut deserializer = serde_json::Deserializer::from_str(text);
        deserializer.disable_recursion_limit();
        Value::deserialize(&mut deserializer).unwrap()
    });
    &FILE
}

/// A recorded request.
pub fn vector(name: &str) -> &'static Value {
    let vectors = recorded()["vectors"].as_array().unwrap();
    vectors.iter().find(|vector| vector["name"] == name).unwrap_or_else(|| panic!("there is no vector {name}"))
}

/// The body of a recorded request.
pub fn body(vector: &Value) -> Vec<u8> {
    let mut body = BASE64_STANDARD.decode(vector["message_b64"].as_str().unwrap()).unwrap();
    if let Some(length) = vector["fill_to"].as_u64() {
        body.resize(usize::try_from(length).unwrap(), b'x');
    }
    body
}

/// A reply of the program, as a web server reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct CgiReply {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl CgiReply {
    /// Reads a reply, and checks what all replies have.
    pub fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a reply has a head") + 4;
        let head = std::str::from_utf8(&bytes[..end - 4]).unwrap();
        let headers: BTreeMap<_, _> =
            head.split("\r\n").map(|line| line.split_once(": ").unwrap()).map(|(k, v)| (k.into(), v.into())).collect();
        let status: &String = &headers["Status"];
        assert_eq!(headers["Cache-Control"], "no-store");
        assert!(
            head.starts_with("Status: ")
                && headers.contains_key("Content-Type")
                && !head.contains('\n'.to_string().repeat(2).as_str())
        );
        let body = bytes[end..].to_vec();
        let length: usize = headers["Content-Length"].parse().unwrap();
        assert!(body.is_empty() || body.len() == length, "{length} and {}", body.len());
        Self { status: status[..3].parse().unwrap(), headers, body }
    }

    /// What the reply is to the sender of a recorded request, and its JSON.
    ///
    /// It is `insecure`, `error`, `success` or `other`.
    pub fn kind(&self, vector: &Value, now: i64) -> (&'static str, Value) {
        if let Some(json) = self.body.strip_prefix(b"CXN-0.2-INSECURE\x01") {
            return ("insecure", serde_json::from_slice(json).unwrap());
        }
        let cxn = &vector["request_cxn"];
        let (Some(cxn_id), Some(secret)) = (cxn["cxnId"].as_str(), cxn["secret"].as_str()) else {
            return ("other", Value::Null);
        };
        let secret = cxnpoll::Secret::from_base64(secret).unwrap();
        match decode(&self.body, &cxn_id.parse().unwrap(), &secret, now) {
            Ok(json) if json["is_error"] == 0 => ("success", json),
            Ok(json) => ("error", json),
            Err(_) => ("other", Value::Null),
        }
    }

    /// The text of an error, whatever its kind.
    pub fn error(&self, vector: &Value) -> String {
        self.kind(vector, RECORDED_AT).1["error_message"].as_str().unwrap().to_owned()
    }
}

/// A directory with the two recorded apps, their keys, and a store.
pub struct Registrar {
    pub world: World,
}

impl Registrar {
    /// Makes the apps and an empty store.
    pub fn new() -> Self {
        let registrar = Self::without_store();
        Store::create(&registrar.world.store(), STORE_WAIT).unwrap();
        registrar
    }

    /// Makes the apps.
    pub fn without_store() -> Self {
        let world = World::new();
        let mut config = Vec::new();
        for (app_id, app) in recorded()["apps"].as_object().unwrap() {
            let name = app_id.trim_start_matches("app:");
            let write = |end: &str, text: &str, mode| {
                let path = world.path(&format!("{name}.{end}"));
                fs::write(&path, text).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
                path.display().to_string()
            };
            let key = write("pem", app["keys"]["privatekey"].as_str().unwrap(), 0o600);
            let certificate = write("crt", app["appCert"].as_str().unwrap(), 0o644);
            let secret = write("link", recorded()["links"]["secret"].as_str().unwrap(), 0o600);
            config.push(format!(
                "[apps.\"{name}\"]\napp-url = {}\napp-cert = \"{certificate}\"\nprivate-key = \"{key}\"\n\
                 link-secret-file = \"{secret}\"\n[apps.\"{name}\".links]\nsettings = \"https://app.example.org\"\n",
                app["appUrl"]
            ));
        }
        world.set_config(&config.concat());
        Self { world }
    }

    /// Adds text at the start of the configuration.
    pub fn configure(&self, text: &str) {
        self.world.set_config(&format!("{text}\n{}", self.world.config()));
    }

    /// Answers a request in this process, at a time.
    pub fn answer(&self, app_id: &str, body: Vec<u8>, remote: &str, now: i64) -> CgiReply {
        let config = Config::load(Some(&self.world.path("cxnpoll.toml"))).unwrap();
        let listeners = config.listeners();
        let open_store = || Ok(Store::open(&self.world.store(), STORE_WAIT)?);
        let service = Service { config: &config, listeners: &listeners, open_store: &open_store };
        let request = Request {
            method: "POST".into(),
            path: format!("/{app_id}/cxn"),
            content_length: None,
            remote: remote.into(),
        };
        let answered = answer(&service, &request, Ok(body), now);
        assert!(answered.fault.is_none(), "{:?}", answered.fault);
        CgiReply::read(&answered.reply.to_bytes(false))
    }

    /// The connections in the store, as the recorded requests have them.
    pub fn connections(&self) -> BTreeMap<String, Value> {
        let mut found = BTreeMap::new();
        Store::open(&self.world.store(), STORE_WAIT)
            .unwrap()
            .for_each_cxn(|_, cxn, _| -> StoreResult<()> {
                let id = cxn.cxn_id.as_str().to_owned();
                let mut line: Value = serde_json::from_str(&transfer::line(&cxn, None)).unwrap();
                for key in ["batchCode", "disabled", "pollStatus"] {
                    line.as_object_mut().unwrap().remove(key);
                }
                line.as_object_mut().unwrap().retain(|_, value| !value.is_null());
                found.insert(id, line);
                Ok(())
            })
            .unwrap();
        found
    }

    /// Runs the program with variables and a body.
    pub fn run(&self, variables: &[(&str, &str)], body: &[u8]) -> Output {
        self.run_with(&["registration"], variables, body)
    }

    /// Runs the program with arguments, variables and a body. Nothing secret may be in what it writes.
    pub fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)], body: &[u8]) -> Output {
        let log = self.world.path("registration.log");
        let mut command = self.world.command(&[arguments, &["--log-file", log.to_str().unwrap()]].concat());
        command.env("REMOTE_ADDR", "127.0.0.1").envs(variables.iter().copied()).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        match child.stdin.take().unwrap().write_all(body) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => panic!("{error}"),
            _ => {}
        }
        let output = child.wait_with_output().unwrap();
        assert_nothing_secret(&output.stdout);
        assert_nothing_secret(&output.stderr);
        assert_nothing_secret(&fs::read(log).unwrap_or_default());
        output
    }

    /// Posts a body to the endpoint of the recorded app; the program must end well and print no message.
    pub fn post(&self, body: &[u8]) -> CgiReply {
        self.post_from("127.0.0.1", body)
    }

    /// Posts a body from an address, as [`Registrar::post`].
    pub fn post_from(&self, remote: &str, body: &[u8]) -> CgiReply {
        let length = body.len().to_string();
        let variables =
            [("REQUEST_METHOD", "POST"), ("PATH_INFO", ENDPOINT), ("CONTENT_LENGTH", &length), ("REMOTE_ADDR", remote)];
        let output = self.run(&variables, body);
        assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
        CgiReply::read(&output.stdout)
    }

    /// Posts a recorded request to the endpoint of the recorded app.
    pub fn send(&self, name: &str) -> CgiReply {
        self.post(&body(vector(name)))
    }

    /// The lines of the log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.world.path("registration.log")).unwrap_or_default()
    }
}

/// Asserts that nothing secret of any recorded request, nor of an app, is in what the program wrote.
pub fn assert_nothing_secret(bytes: &[u8]) {
    static SECRETS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let vectors = recorded()["vectors"].as_array().unwrap();
        let of_vectors =
            vectors.iter().flat_map(|vector| [&vector["one_time_secret"], &vector["request_cxn"]["secret"]]);
        let of_vectors = of_vectors.filter_map(Value::as_str).filter(|secret| secret.len() >= 40);
        let keys =
            recorded()["apps"].as_object().unwrap().values().flat_map(|app| {
                app["keys"]["privatekey"].as_str().unwrap().lines().skip(8).filter(|line| line.len() > 40)
            });
        // The first lines of a key are public. What `perm` holds, and the start of each secret, which PHP shows in traces.
        let others = ["Reads what the site is made of", "\"actions\"", "panicked at src", ".rs:"];
        of_vectors.chain(keys).map(|secret| secret[..12].to_owned()).chain(others.map(str::to_owned)).collect()
    });
    let text = String::from_utf8_lossy(bytes);
    for secret in SECRETS.iter() {
        assert!(!text.contains(secret), "{text}");
    }
}
