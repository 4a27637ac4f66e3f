//! A browser without a window, which is driven over pipes by the `DevTools` protocol of Chrome.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::testkit::tools;

/// The browsers that can be used; the first is the smallest.
const PROGRAMS: [&str; 3] = ["chromium-headless-shell", "chromium", "google-chrome"];
/// The browser reads commands from descriptor 3 and writes to descriptor 4.
const ON_PIPES: &str = r#"exec "$0" "$@" 3<&0 4>&1 1>&2 </dev/null"#;

/// A page in a browser. The browser ends with it.
pub struct Page {
    browser: Child,
    commands: ChildStdin,
    replies: BufReader<ChildStdout>,
    session: Option<String>,
    id: u64,
    is_loaded: bool,
    /// The URLs that were requested.
    pub requests: Vec<String>,
    _profile: TempDir,
}

impl Page {
    /// Starts a browser with an empty page; `None` if there is no browser, and the test is to end.
    pub fn start() -> Option<Self> {
        let program = PROGRAMS.into_iter().find(|program| tools::is_installed(program)).unwrap_or(PROGRAMS[0]);
        if !tools::require(program) {
            return None;
        }
        let profile = tempfile::tempdir().unwrap();
        let mut browser = Command::new("sh")
            .args(["-c", ON_PIPES, program, "--headless", "--no-sandbox", "--remote-debugging-pipe", "--disable-gpu"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--host-resolver-rules=MAP * ~NOTFOUND", "--disable-dev-shm-usage", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (commands, replies) = (browser.stdin.take().unwrap(), BufReader::new(browser.stdout.take().unwrap()));
        let (session, requests) = (None, Vec::new());
        let mut page =
            Self { browser, commands, replies, session, id: 0, is_loaded: false, requests, _profile: profile };
        let target = page.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attached = json!({"targetId": target["targetId"], "flatten": true});
        page.session = page.call("Target.attachToTarget", &attached)["sessionId"].as_str().map(str::to_owned);
        page.call("Page.enable", &json!({}));
        page.call("Network.enable", &json!({}));
        Some(page)
    }

    /// Opens a file with a window of this width, in a light or a dark scheme of colours.
    pub fn open(&mut self, file: &Path, width: u32, scheme: &str) {
        let metrics = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        self.call("Emulation.setEmulatedMedia", &json!({"features": [feature]}));
        self.is_loaded = false;
        self.call("Page.navigate", &json!({"url": format!("file://{}", file.display())}));
        while !self.is_loaded {
            self.receive();
        }
    }

    /// The value of an expression in JavaScript, which may be a promise.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let reply = self.call("Runtime.evaluate", &parameters);
        assert_eq!(reply["exceptionDetails"], Value::Null, "{reply}");
        reply["result"]["value"].clone()
    }

    /// Prints the page to a PDF, and returns the number of its pages.
    pub fn print(&mut self) -> usize {
        let pdf = self.call("Page.printToPDF", &json!({"preferCSSPageSize": true}));
        let pdf = BASE64_STANDARD.decode(pdf["data"].as_str().unwrap()).unwrap();
        let page = b"/Type /Page\n";
        pdf.windows(page.len()).filter(|bytes| bytes == page).count()
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.id += 1;
        let mut command = json!({"id": self.id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        self.commands.write_all(format!("{command}\0").as_bytes()).unwrap();
        loop {
            let mut reply = self.receive();
            if reply["id"] == self.id {
                assert_eq!(reply["error"], Value::Null, "{method}: {reply}");
                return reply["result"].take();
            }
        }
    }

    /// The next reply or event.
    fn receive(&mut self) -> Value {
        let mut message = Vec::new();
        self.replies.read_until(0, &mut message).unwrap();
        assert_eq!(message.pop(), Some(0), "the browser ended");
        let message: Value = serde_json::from_slice(&message).unwrap();
        self.is_loaded |= message["method"] == "Page.loadEventFired";
        if message["method"] == "Network.requestWillBeSent" {
            self.requests.extend(message["params"]["request"]["url"].as_str().map(str::to_owned));
        }
        message
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.browser.kill();
        let _ = self.browser.wait();
    }
}
