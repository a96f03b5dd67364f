//! A listener that strangers cannot use up: it has so many connections at once, and none of them is silent for
//! long. Each connection is a descriptor, and the agent needs its descriptors for its work.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// A browser has six connections to a server; Prometheus and the kubelet have one each.
const CONNECTIONS: usize = 64;
/// Longer than a scrape interval is, so that Prometheus keeps its connection.
const SILENCE: Duration = Duration::from_secs(120);

/// Accepts connections while there are few of them.
#[derive(Debug)]
pub struct Bounded {
    listener: TcpListener,
    room: Arc<Semaphore>,
}

impl Bounded {
    /// Over `listener`: 64 connections at once, each closed when no byte came or went for two minutes.
    #[must_use]
    pub fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            room: Arc::new(Semaphore::new(CONNECTIONS)),
        }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let room = Arc::clone(&self.room).acquire_owned().await;
        let room = room.expect("the semaphore is never closed");
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let connection = Connection {
            stream,
            silence: Box::pin(sleep(SILENCE)),
            _room: room,
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when it is silent.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    silence: Pin<Box<Sleep>>,
    _room: OwnedSemaphorePermit,
}

impl Connection {
    /// What the stream said; an error where it waits and was silent for too long.
    fn heard<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.silence.as_mut().reset(Instant::now() + SILENCE);
            return result;
        }
        self.silence
            .as_mut()
            .poll(context)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.heard(context, result)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.heard(context, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A TCP stream holds nothing back.
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn served() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().route("/", get(async || "here"));
        tokio::spawn(async move { axum::serve(Bounded::new(listener), router).await });
        address
    }

    async fn answer(stream: &mut TcpStream) -> io::Result<String> {
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    // Time is paused: it goes on to the next timer when every task waits.
    #[tokio::test(start_paused = true)]
    async fn who_comes_after_silent_strangers_is_served_when_their_time_is_over() {
        let address = served().await;
        let start = Instant::now();
        let mut strangers = Vec::new();
        for _ in 0..CONNECTIONS {
            strangers.push(TcpStream::connect(address).await.expect("a connection"));
        }
        let mut late = TcpStream::connect(address).await.expect("the backlog");
        let answer = answer(&mut late).await.expect("an answer");
        assert!(answer.ends_with("here"), "{answer}");
        assert!(start.elapsed() >= SILENCE, "there was room");
        for stranger in &mut strangers {
            let end = stranger.read(&mut [0]).await;
            assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
        }
    }

    #[tokio::test]
    async fn who_comes_and_goes_leaves_room() {
        let address = served().await;
        for _ in 0..3 * CONNECTIONS {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            let answer = answer(&mut stream).await.expect("an answer");
            assert!(answer.ends_with("here"), "{answer}");
        }
    }
}
