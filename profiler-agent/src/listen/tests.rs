use std::os::fd::{AsRawFd as _, RawFd};

use axum::body::Body;
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::phase::{ANSWER, HEAD};
use super::*;

/// Longer than sockets hold back.
const LONG: usize = 16 << 20;

async fn served() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new()
        .route("/", get(async || "here"))
        .route("/long", get(async || Body::from(vec![b'x'; LONG])))
        .route("/never", get(std::future::pending::<()>));
    tokio::spawn(serve(listener, router, std::future::pending()));
    address
}

async fn sent(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

async fn is_answered(address: SocketAddr) -> bool {
    let mut stream = sent(
        address,
        "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    )
    .await;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.is_ok() && answer.ends_with("here")
}

/// Waits until the other side closes the connection.
async fn closed(stream: &mut TcpStream) {
    while !matches!(stream.read(&mut [0; 4096]).await, Ok(0) | Err(_)) {}
}

#[tokio::test]
async fn a_new_client_gets_in_whatever_others_hold() {
    let address = served().await;
    let mut held = Vec::new();
    for text in [
        "",
        "GET / HTTP/1.1\r\nhost:",
        "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /long HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /never HTTP/1.1\r\nhost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n",
    ] {
        for _ in 0..2 * BOUNDS.all {
            held.push(sent(address, text).await);
        }
        assert!(is_answered(address).await, "{text}");
    }
}

/// Turns of the runtime in which a connection is accepted, its stream is seen to be readable, and is read.
const TURNS: usize = 16;

/// Waits until the other side has taken all that a socket has sent: its kernel, and then its task. Real time goes by: a
/// paused clock stands still while something blocks, and would go on from timer to timer while bytes are on their way on a
/// busy machine. It also goes on with each event of a socket, but not in a turn that a task has yielded.
async fn delivered(socket: RawFd) {
    let waits = move || {
        let mut left: libc::c_int = 1;
        // SAFETY: the request writes one number.
        while unsafe { libc::ioctl(socket, libc::TIOCOUTQ, &raw mut left) } == 0 && left > 0 {
            std::thread::yield_now();
        }
    };
    tokio::task::spawn_blocking(waits).await.unwrap();
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

// Time is paused: it goes on to the next timer when every task waits.
#[tokio::test(start_paused = true)]
async fn a_head_that_drips_is_closed_at_its_deadline() {
    let address = served().await;
    let start = Instant::now();
    let mut stream = sent(address, "GET / HTTP/1.1\r\nx: ").await;
    let socket = stream.as_raw_fd();
    delivered(socket).await;
    let (mut reading, mut writing) = stream.split();
    let mut byte = [0];
    let drip = async {
        loop {
            sleep(Duration::from_secs(3)).await;
            // It is closed: to wait on is to let time go on to whatever comes next.
            if writing.write_all(b"x").await.is_err() {
                return;
            }
            delivered(socket).await;
        }
    };
    tokio::select! {
        end = reading.read(&mut byte) => assert!(matches!(end, Ok(0) | Err(_)), "{end:?}"),
        () = drip => {}
    }
    let taken = start.elapsed();
    assert!(taken >= HEAD && taken < 2 * HEAD, "{taken:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_taken_is_closed_at_its_deadline() {
    let address = served().await;
    let start = Instant::now();
    let mut stream = sent(address, "GET /long HTTP/1.1\r\nhost: x\r\n\r\n").await;
    // A byte now and then makes room for no more than that.
    let mut taken = 0;
    while start.elapsed() < 2 * ANSWER {
        sleep(Duration::from_secs(20)).await;
        taken += stream.read(&mut [0]).await.unwrap_or(0);
    }
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(taken + rest.len() < LONG, "the whole answer was sent");
}

#[tokio::test]
async fn long_answers_that_nobody_takes_are_few() {
    let address = served().await;
    let long = "GET /long HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut first = sent(address, long).await;
    let mut begin = [0; 15];
    first.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200 OK");
    let mut second = sent(address, long).await;
    second.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 503 Se");
    assert!(is_answered(address).await);
    drop(first);
    // The end of the connection is seen when it comes.
    loop {
        let mut third = sent(address, long).await;
        third.read_exact(&mut begin).await.unwrap();
        if &begin == b"HTTP/1.1 200 OK" {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_holds_no_connection() {
    let address = served().await;
    let start = Instant::now();
    let text = "GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\nx";
    let mut stream = sent(address, text).await;
    closed(&mut stream).await;
    assert!(start.elapsed() <= HEAD);
}

#[tokio::test]
async fn who_comes_and_goes_leaves_room() {
    let address = served().await;
    for _ in 0..3 * BOUNDS.all {
        assert!(is_answered(address).await);
    }
}

#[tokio::test]
async fn what_was_asked_is_answered_after_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, was_asked) = tokio::sync::oneshot::channel();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let asked = Arc::new(Mutex::new(Some(asked)));
    let router = Router::new().route(
        "/",
        get(async move || {
            let asked = asked.lock().unwrap().take();
            asked.unwrap().send(()).unwrap();
            tokio::task::yield_now().await;
            "here"
        }),
    );
    let server = tokio::spawn(serve(listener, router, async { ended.await.unwrap() }));
    let client = tokio::spawn(is_answered(address));
    was_asked.await.unwrap();
    end.send(()).unwrap();
    assert!(client.await.unwrap());
    server.await.unwrap();
}
