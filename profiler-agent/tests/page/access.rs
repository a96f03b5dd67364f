//! Who gets an answer: with a token and without, and while queries hang.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use profiler_agent::page::{Limits, SavedSource, Source, Token};
use profiler_agent::profile::{ArchiveError, ArchivedWindow, Profile, UnixTime, WindowId};

use crate::served::Served;

const TOKEN: &str = "correct-horse-battery-staple";

fn asking() -> Served {
    let token = Token::parse(TOKEN.as_bytes()).unwrap();
    let source = Arc::new(SavedSource::new([]));
    Served::asking(source, Limits::VIEWER, Some(token))
}

#[test]
fn without_the_token_there_are_probes_and_nothing_else() {
    let page = asking();
    for path in [
        "/",
        "/assets/main.js",
        "/api/status",
        "/api/services",
        "/metrics",
        "/elsewhere",
        "/?token=correct-horse-battery-stapl",
        "/api/status?token=correct-horse-battery-staple",
    ] {
        let (status, head, body) = page.request(&format!("GET {path}"), "Host: localhost\r\n");
        assert_eq!(status, 401, "{path}: {body}");
        assert!(head.contains("www-authenticate: bearer"), "{head}");
        assert!(body.contains("page.token_file"), "{body}");
    }
    assert_eq!(page.get("/healthz"), (200, "healthy".to_owned()));
}

#[test]
fn the_token_is_sent_by_scripts_and_exchanged_for_a_cookie_by_browsers() {
    let page = asking();
    let bearer = format!("Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n");
    for path in ["/", "/api/status", "/metrics"] {
        assert_eq!(page.request(&format!("GET {path}"), &bearer).0, 200);
    }
    let (status, head, _) = page.request(&format!("GET /?token={TOKEN}"), "Host: localhost\r\n");
    assert_eq!(status, 303);
    assert!(head.contains("location: /\r\n"), "{head}");
    let cookie = head
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "));
    let (cookie, attributes) = cookie.unwrap().split_once(';').unwrap();
    assert!(!cookie.contains(TOKEN));
    assert!(attributes.contains("httponly") && attributes.contains("samesite"));
    let with_cookie = format!("Host: localhost\r\nCookie: other=1; {cookie}\r\n");
    assert_eq!(page.request("GET /api/status", &with_cookie).0, 200);
    // A page of another name is none, whoever asks.
    let foreign = bearer.replace("localhost", "evil.example");
    assert_eq!(page.request("GET /api/status", &foreign).0, 421);
}

/// A source whose windows hang until they may go on; says when each query begins.
struct Hanging {
    begun: Sender<()>,
    go_on: Mutex<Receiver<()>>,
    visits: Arc<AtomicUsize>,
}

impl Source for Hanging {
    fn live(&self) -> bool {
        true
    }
    fn extent(&self) -> Result<Option<(UnixTime, UnixTime)>, ArchiveError> {
        Ok(None)
    }
    fn windows(
        &self,
        _: UnixTime,
        _: UnixTime,
        _: &mut dyn FnMut(ArchivedWindow),
    ) -> Result<Vec<WindowId>, ArchiveError> {
        self.visits.fetch_add(1, Ordering::Relaxed);
        self.begun.send(()).unwrap();
        // The other end is dropped to let all go on.
        let _ = self.go_on.lock().unwrap().recv();
        Ok(Vec::new())
    }
    fn profile(&self, _: WindowId) -> Result<Option<Arc<Profile>>, ArchiveError> {
        Ok(None)
    }
    fn label(&self, _: WindowId) -> Option<&str> {
        None
    }
}

#[test]
fn status_and_probes_wait_for_no_query_and_too_many_queries_are_refused() {
    let ((begun, begins), (go_on, held)) = (channel(), channel());
    let visits = Arc::new(AtomicUsize::new(0));
    let source = Arc::new(Hanging {
        begun,
        go_on: Mutex::new(held),
        visits: Arc::clone(&visits),
    });
    let limits = Limits {
        queries: 1,
        waiting: 2,
        ..Limits::AGENT
    };
    let page = Served::new(source, limits);
    std::thread::scope(|scope| {
        let (answer, answers) = channel();
        let ask = || {
            let (page, answer) = (&page, answer.clone());
            scope.spawn(move || {
                let asked = page.request("GET /api/services", "Host: localhost\r\n");
                answer.send(asked).unwrap();
            });
        };
        ask();
        begins.recv().unwrap();
        // One runs and two wait; three find no place.
        (0..5).for_each(|_| ask());
        for (status, head, body) in answers.iter().take(3) {
            assert_eq!(status, 503, "{body}");
            assert!(head.contains("retry-after: 5"), "{head}");
            assert!(body.contains("too many queries"), "{body}");
        }
        assert_eq!(page.get("/api/status").0, 200);
        assert_eq!(page.get("/healthz").0, 200);
        assert_eq!(page.get("/metrics").0, 200);
        assert_eq!(visits.load(Ordering::Relaxed), 1, "a query went on");
        drop(go_on);
        for (status, _, body) in answers.iter().take(3) {
            assert_eq!(status, 200, "{body}");
        }
    });
}
