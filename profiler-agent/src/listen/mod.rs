//! A listener that the network cannot use up. A connection is a descriptor and memory, and the agent needs both for
//! its work; whoever reaches the listener may open as many as they like and send what they like, as slowly as they like.
//!
//! - Time: [`phase`] gives each part of a request its deadline, from its beginning: the head 10 s, the work on the
//!   answer 90 s, the taking of it 60 s, the wait for the next request 120 s. A byte now and then changes no deadline.
//!   Bodies of requests are never read.
//! - Number: 64 connections in all and 32 of one peer. A new connection always gets in ([`room`]): where there are too
//!   many, the peer with the most loses the one that is missed least. So a probe is answered whatever others hold.
//! - Memory: answers that wait to be taken are 32 MiB in all and 24 MiB of one peer; what is longer than 512 KiB and has
//!   no room is answered with 503.
//! - Order: each connection that is accepted is served before the next is accepted; a probe whose request has come
//!   with it is answered before any flood behind it drops it.
//! - Who it is: each request has the [`Peer`] that it came from.
//! - Work: what takes time is done in a [`Pool`], never on the thread that serves.

mod connection;
mod peer;
mod phase;
mod pool;
mod room;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep};

use connection::Seat;
pub use peer::Peer;
pub use pool::{Busy, Pool};
use room::{Bounds, Id, Room};

/// A browser has six connections to a server; Prometheus and the kubelet have one each.
const BOUNDS: Bounds = Bounds { all: 64, peer: 32 };
/// Pause after a connection could not be accepted: for want of descriptors, say.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers on `listener` until `shutdown` completes, and then what was asked before. Connections end when this future
/// is dropped.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
    let (closing, closed) = watch::channel(false);
    let mut connections = Connections {
        room: Arc::new(Mutex::new(Room::new(BOUNDS))),
        tasks: JoinSet::new(),
        handles: HashMap::new(),
    };
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    connections.start(stream, address, &router, &closed);
                    tokio::task::yield_now().await;
                }
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    connections.dismiss();
                    sleep(PAUSE).await;
                }
            },
            Some(ended) = connections.tasks.join_next(), if !connections.tasks.is_empty() => {
                if let Ok(id) = ended {
                    connections.handles.remove(&id);
                }
            }
        }
    }
    drop(listener);
    closing.send_replace(true);
    while connections.tasks.join_next().await.is_some() {}
}

/// The connections with their tasks.
struct Connections {
    room: Arc<Mutex<Room>>,
    tasks: JoinSet<Id>,
    handles: HashMap<Id, AbortHandle>,
}

impl Connections {
    fn start(
        &mut self,
        stream: TcpStream,
        address: SocketAddr,
        router: &Router,
        closed: &watch::Receiver<bool>,
    ) {
        let admitted = {
            let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
            room.admit(address.ip().into(), Instant::now())
        };
        let (id, dropped) = admitted;
        self.drop_one(dropped);
        let seat = Seat::new(&self.room, id);
        let peer = stream.local_addr().map(|local| Peer::new(address, local));
        let peer = peer.ok().map(Arc::new);
        let served = connection::serve(stream, peer, seat, router.clone(), closed.clone());
        self.handles.insert(id, self.tasks.spawn(served));
    }

    fn dismiss(&mut self) {
        let dropped = self
            .room
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .dismiss();
        self.drop_one(dropped);
    }

    fn drop_one(&mut self, dropped: Option<Id>) {
        if let Some(handle) = dropped.and_then(|id| self.handles.remove(&id)) {
            handle.abort();
        }
    }
}

/// Does the error say something about the connection alone, which its other end gave up?
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
