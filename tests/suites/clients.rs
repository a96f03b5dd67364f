//! Clients that hold what they can get of the agent's listeners.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use profiler_tests::agent::{self, until};
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

/// What the page answers nobody's process: the whole answer.
fn as_nobody(address: SocketAddr, path: &str) -> String {
    let script = format!(
        "exec 3<>/dev/tcp/{}/{}; printf 'GET {path} HTTP/1.1\\r\\nhost: localhost\\r\\nconnection: close\\r\\n\\r\\n' >&3; cat <&3",
        address.ip(),
        address.port()
    );
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(["bash", "-c", &script]);
    let output = command.output().expect("setpriv and bash are there");
    String::from_utf8(output.stdout).expect("a text")
}

/// On loopback other users of the machine have to be named.
#[test]
fn the_page_is_shown_to_root_and_to_users_that_are_named() {
    let daemon = Daemon::with("");
    assert_eq!(daemon.page("/").status, 200);
    assert_eq!(daemon.page("/api/status").status, 200);
    for path in ["/", "/api/status", "/assets/page.js"] {
        let answer = as_nobody(daemon.page_address(), path);
        assert!(answer.starts_with("HTTP/1.1 403 "), "{path}: {answer}");
        assert!(answer.contains("user 65534 may not see"), "{answer}");
        assert!(answer.contains("page.users"), "{answer}");
    }
    for path in ["/healthz", "/metrics"] {
        let answer = as_nobody(daemon.page_address(), path);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    }
    daemon.stop();
    for page in ["users: [nobody]", "allow_unauthenticated: true"] {
        let daemon = Daemon::with(&format!(
            "page: {{endpoint: \"127.0.0.1:PAGE_PORT\", {page}}}\n"
        ));
        let answer = as_nobody(daemon.page_address(), "/api/status");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{page}: {answer}");
        daemon.stop();
    }
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

#[test]
fn a_name_server_that_does_not_answer_holds_up_nothing() {
    let server = UdpSocket::bind("127.0.0.9:53").expect("an address of a name server");
    let wait = Duration::from_secs(60);
    server.set_read_timeout(Some(wait)).expect("a timeout");
    let exporters: String = (1..=5)
        .map(|n| format!("  otlp_grpc/{n}: {{endpoint: \"http://receiver-{n}.example:4317\"}}\n"))
        .collect();
    let daemon = Daemon::with_name_servers(
        "nameserver 127.0.0.9\noptions timeout:30 attempts:5\n",
        &format!("exporters:\n{exporters}"),
    );
    // Every exporter waits for an answer now, for minutes: each asks for its own name.
    // Two queries each, for either kind of address; a look-up that waits for another's would come after its repetitions.
    let mut asked = BTreeSet::new();
    for _ in 0..20 {
        let mut query = [0; 512];
        let length = server.recv(&mut query).expect("a query");
        let mut parts = query[..length].windows(10);
        let name = parts.find(|part| part.starts_with(b"receiver-"));
        asked.extend(name.map(|name| name[9]));
        if asked.len() == 5 {
            break;
        }
    }
    assert_eq!(asked.len(), 5, "a look-up waits for another");
    for path in ["/healthz", "/metrics", "/api/status", "/api/services"] {
        assert_eq!(daemon.page(path).status, 200, "{path}");
    }
    until("windows close", || daemon.windows().len() >= 2);
    daemon.stop();
}

#[test]
fn view_is_open_beyond_loopback_only_where_it_is_told_to_be() {
    let run = |arguments: &[&str]| {
        let all = [&["view", "--listen", "0.0.0.0:0"], arguments].concat();
        agent::run(&mut agent::command(&all))
    };
    let refused = run(&["x.pb.gz"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = agent::log(&refused);
    assert!(
        said.contains("--token-file") && said.contains("--allow-unauthenticated"),
        "{said}"
    );
    // Let through, it finds that the file is not there.
    let allowed = run(&["--allow-unauthenticated", "x.pb.gz"]);
    assert_eq!(allowed.status.code(), Some(1));
}
