//! A headless Chromium, driven over its DevTools protocol: JSON messages in WebSocket frames (RFC 6455).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Names the browser where it is not `chromium`.
const BROWSER: &str = "PROFILER_TEST_BROWSER";
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page; gone when dropped.
pub(crate) struct Browser {
    process: Child,
    stream: TcpStream,
    session: String,
    next: u64,
    /// What the page's console and policy said that is no success.
    pub(crate) complaints: Vec<String>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts it with a window of this size.
    pub(crate) fn start(width: u32, height: u32) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let program = std::env::var(BROWSER).unwrap_or_else(|_| "chromium".to_owned());
        let mut process = Command::new(&program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--remote-debugging-port=0",
            ])
            .arg(format!("--window-size={width},{height}"))
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "{program}: {error}; install Debian's chromium or name a browser in {BROWSER}"
                )
            });
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                line.strip_prefix("DevTools listening on ws://")
                    .map(str::to_owned)
            })
            .expect("the browser says where it listens");
        // What else it says is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.map_while(Result::ok).count());
        let (host, path) = address.split_once('/').unwrap();
        let mut browser = Self {
            process,
            stream: connect(host, path),
            session: String::new(),
            next: 0,
            complaints: Vec::new(),
            _profile: profile,
        };
        let targets = browser.call("Target.getTargets", &json!({}));
        let page = targets["targetInfos"]
            .as_array()
            .unwrap()
            .iter()
            .find(|t| t["type"] == "page");
        let target = page.unwrap()["targetId"].clone();
        let attached = browser.call(
            "Target.attachToTarget",
            &json!({"targetId": target, "flatten": true}),
        );
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            browser.call(domain, &json!({}));
        }
        browser
    }

    /// Calls a method; its result.
    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.next += 1;
        let id = self.next;
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.send(message.to_string().as_bytes());
        loop {
            let answer = self.receive();
            if answer["id"] == id {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
            self.note(&answer);
        }
    }

    fn note(&mut self, event: &Value) {
        match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => {
                self.complaints
                    .push(event["params"]["exceptionDetails"].to_string());
            }
            Some("Log.entryAdded") if event["params"]["entry"]["level"] == "error" => {
                self.complaints.push(event["params"]["entry"].to_string());
            }
            _ => {}
        }
    }

    /// Opens an address.
    pub(crate) fn open(&mut self, url: &str) {
        // The same page with another hash would not load anew.
        self.call("Page.navigate", &json!({"url": "about:blank"}));
        self.until("location.href === 'about:blank'");
        self.call("Page.navigate", &json!({ "url": url }));
    }

    /// The value of an expression; of its promise if it is one.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let parameters =
            json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", &parameters);
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {}",
            answer["exceptionDetails"]
        );
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true; how long that took.
    pub(crate) fn until(&mut self, expression: &str) -> Duration {
        let began = Instant::now();
        while self.value(&format!("Boolean({expression})")) != Value::Bool(true) {
            assert!(
                began.elapsed() < PATIENCE,
                "never: {expression}; {:?}",
                self.complaints
            );
            // Let the page draw: it is asked again after its next frame.
            self.value("new Promise((done) => requestAnimationFrame(() => done(0)))");
        }
        began.elapsed()
    }

    /// A click of the mouse there.
    pub(crate) fn click(&mut self, x: f64, y: f64) {
        self.mouse("mouseMoved", x, y);
        self.mouse("mousePressed", x, y);
        self.mouse("mouseReleased", x, y);
    }

    /// A click of the mouse's right button there.
    pub(crate) fn context_click(&mut self, x: f64, y: f64) {
        self.mouse("mouseMoved", x, y);
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": x, "y": y, "button": "right", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", &event);
        }
    }

    /// The mouse, pressed at one place and released at another.
    pub(crate) fn drag(&mut self, from: (f64, f64), to: (f64, f64)) {
        self.mouse("mousePressed", from.0, from.1);
        self.mouse("mouseMoved", f64::midpoint(from.0, to.0), to.1);
        self.mouse("mouseMoved", to.0, to.1);
        self.mouse("mouseReleased", to.0, to.1);
    }

    /// An event of the mouse.
    pub(crate) fn mouse(&mut self, kind: &str, x: f64, y: f64) {
        let pressed = kind != "mouseMoved";
        self.call(
            "Input.dispatchMouseEvent",
            &json!({"type": kind, "x": x, "y": y, "button": if pressed { "left" } else { "none" }, "clickCount": u8::from(pressed)}),
        );
    }

    /// A key, pressed and released.
    pub(crate) fn key(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            self.call("Input.dispatchKeyEvent", &json!({"type": kind, "key": key}));
        }
    }

    /// Text, as typed into what has the focus.
    pub(crate) fn text(&mut self, text: &str) {
        self.call("Input.insertText", &json!({ "text": text }));
    }

    /// One text frame, masked with zeros.
    fn send(&mut self, text: &[u8]) {
        let mut frame = vec![0x81];
        match text.len() {
            length @ 0..126 => frame.push(0x80 | length as u8),
            length @ 126..65_536 => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(text);
        self.stream.write_all(&frame).unwrap();
    }

    /// The next text message; others are skipped.
    fn receive(&mut self) -> Value {
        let mut message = Vec::new();
        loop {
            let [first, second] = self.bytes();
            let length = match second & 0x7f {
                126 => u64::from(u16::from_be_bytes(self.bytes())),
                127 => u64::from_be_bytes(self.bytes()),
                short => u64::from(short),
            };
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.stream.read_exact(&mut payload).unwrap();
            if matches!(first & 0x0f, 0 | 1) {
                message.extend(payload);
                if first & 0x80 != 0 {
                    return serde_json::from_slice(&message).unwrap();
                }
            }
        }
    }

    fn bytes<const LENGTH: usize>(&mut self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its children end with it; the profile's directory goes after it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn connect(host: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET /{path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: cHJvZmlsZXItYWdlbnQtMQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    assert!(
        head.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    stream
}
