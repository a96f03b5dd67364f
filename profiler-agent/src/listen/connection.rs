//! One connection: HTTP/1.1 over its stream, until it ends or its time is over.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tower_service::Service as _;

use super::peer::Peer;
use super::phase::Event;
use super::room::{Answers, Id, Room};

/// Bytes of a head, and bytes of an answer that wait to be sent: a focus is a long query.
const BUFFER: usize = 128 << 10;

/// What slow clients may hold of answers: a page loads a few at a time, of some MiB at most.
const ANSWERS: Answers = Answers {
    all: 32 << 20,
    peer: 24 << 20,
    short: 512 << 10,
};

/// A connection's place in the room; given up when the last copy's owner drops the connection.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    room: Arc<Mutex<Room>>,
    id: Id,
}

impl Seat {
    pub(super) fn new(room: &Arc<Mutex<Room>>, id: Id) -> Self {
        Self {
            room: Arc::clone(room),
            id,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Room> {
        // No operation leaves the room inconsistent when it panics.
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, bytes: u64) -> bool {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.lock().hold(self.id, bytes, &ANSWERS)
    }

    fn note(&self, event: Event) {
        self.lock().note(self.id, event, Instant::now());
    }
}

/// The answer in place of one for which there is no room.
fn crowded() -> Response {
    let text = "{\"error\":\"too many answers wait to be taken: ask again in a few seconds\"}";
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::RETRY_AFTER, "5"),
    ];
    (StatusCode::SERVICE_UNAVAILABLE, headers, text).into_response()
}

/// Answers what is asked on `stream`; returns when nothing more will be.
pub(super) async fn serve(
    stream: TcpStream,
    peer: Option<Arc<Peer>>,
    seat: Seat,
    router: Router,
    mut closing: watch::Receiver<bool>,
) -> Id {
    let stream = Watched {
        stream,
        seat: seat.clone(),
    };
    let asked = seat.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        asked.note(Event::Asked);
        if let Some(peer) = &peer {
            request.extensions_mut().insert(Arc::clone(peer));
        }
        let seat = asked.clone();
        let answer = router.clone().call(request.map(Body::new));
        async move {
            let mut answer = answer.await?;
            let length = answer.body().size_hint().lower();
            if !seat.hold(length) {
                answer = crowded();
            }
            seat.note(Event::Answered);
            Ok::<_, Infallible>(answer.map(|body| Answer { body, seat }))
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            // The room's deadlines are the only ones.
            .header_read_timeout(None)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut closed = pin!(async move {
        // An error means that the listener is gone: closing as well.
        let _ = closing.wait_for(|closing| *closing).await;
    });
    let mut is_closing = false;
    let mut deadline = pin!(sleep_until(Instant::now()));
    poll_fn(|context| {
        if !is_closing && closed.as_mut().poll(context).is_ready() {
            is_closing = true;
            connection.as_mut().graceful_shutdown();
        }
        // An error is the other side's: there is nobody to tell.
        if connection.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let Some(until) = seat.lock().deadline(seat.id) else {
            return Poll::Ready(());
        };
        if deadline.deadline() != until {
            deadline.as_mut().reset(until);
        }
        deadline.as_mut().poll(context)
    })
    .await;
    seat.lock().leave(seat.id);
    seat.id
}

/// A stream that says what happens on it.
struct Watched {
    stream: TcpStream,
    seat: Seat,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.seat.note(Event::Received);
        }
        result
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called when everything that waited is written: a TCP stream holds nothing back.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.seat.note(Event::Flushed);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// An answer's body, which says when it has been taken whole.
struct Answer {
    body: Body,
    seat: Seat,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.seat.note(Event::Completed);
    }
}
