//! Clients that hold what they can get of the agent's listeners.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use profiler_tests::agent::until;
use profiler_tests::daemon::Daemon;

/// More than either listener has places.
const CLIENTS: usize = 70;

/// Connections that begin a request.
fn begun(address: SocketAddr, head: &str) -> Vec<TcpStream> {
    let connect = |_| {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.write_all(head.as_bytes()).expect("a part of a head");
        stream
    };
    (0..CLIENTS).map(connect).collect()
}

#[test]
fn probes_metrics_and_status_are_answered_whatever_slow_clients_hold() {
    let daemon = Daemon::with("");
    until("windows close", || !daemon.windows().is_empty());
    let (stop, stopped) = channel::<()>();
    std::thread::scope(|scope| {
        let mut held = Vec::new();
        for address in [daemon.page_address(), daemon.telemetry_address()] {
            held.extend(begun(address, "GET /healthz HTTP/1.1\r\nx: "));
            held.extend(begun(
                address,
                "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\nG",
            ));
        }
        let drip = scope.spawn(move || {
            while stopped.recv_timeout(Duration::from_millis(200)) == Err(RecvTimeoutError::Timeout)
            {
                for stream in &mut held {
                    // Some are closed by now: that is the point.
                    let _ = stream.write_all(b"a");
                }
            }
        });
        for _ in 0..5 {
            for path in ["/healthz", "/readyz", "/metrics"] {
                assert_eq!(daemon.page(path).status, 200, "{path}");
                assert_eq!(daemon.telemetry(path, "").status, 200, "{path}");
            }
            assert_eq!(daemon.page("/api/status").status, 200);
            assert_eq!(daemon.page("/api/services").status, 200);
        }
        // SIGTERM ends it in time, with success, while they hold on.
        daemon.stop();
        drop(stop);
        drip.join().expect("the thread of the clients");
    });
}

#[test]
fn a_token_is_asked_for_by_the_page_alone() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let file = directory.path().join("token");
    let token = "c0ffee00c0ffee00c0ffee00c0ffee00";
    std::fs::write(&file, format!("{token}\n")).expect("a file");
    let daemon = Daemon::with(&format!(
        "page: {{endpoint: \"0.0.0.0:PAGE_PORT\", token_file: {}}}\n",
        file.display()
    ));
    for (path, status) in [
        ("/", 401),
        ("/api/status", 401),
        ("/metrics", 401),
        ("/healthz", 200),
    ] {
        assert_eq!(daemon.page(path).status, status, "{path}");
    }
    assert_eq!(daemon.telemetry("/metrics", "").status, 200);
    daemon.stop();
}
