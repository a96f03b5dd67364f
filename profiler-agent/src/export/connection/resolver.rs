//! Names to addresses, with a deadline.
//!
//! The C library looks names up, and nothing ends a look-up that it began: a name server that does not answer holds it
//! for half a minute. So each is on a thread of its own that can be left behind. A connector has one look-up under way at
//! most: who asks for the same name meanwhile waits for that one. Nobody else waits.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::Builder;
use std::time::Duration;

use hyper_util::client::legacy::connect::dns::Name;
use tokio::sync::watch;
use tower_service::Service;

/// How long an attempt waits for addresses. A look-up that takes longer serves a later attempt.
const DEADLINE: Duration = Duration::from_secs(5);

/// What a look-up found, or why not; `None` while it goes on.
type Found = Option<Result<Vec<SocketAddr>, String>>;
/// A name and what its look-up finds.
type UnderWay = (String, watch::Receiver<Found>);
type LookUp = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Looks up the names of one receiver.
#[derive(Clone)]
pub(super) struct Resolver {
    look_up: Arc<LookUp>,
    under_way: Arc<Mutex<Option<UnderWay>>>,
}

impl Resolver {
    /// By the C library, as its configuration says.
    pub(super) fn system() -> Self {
        Self::new(|name| Ok((name, 0).to_socket_addrs()?.collect()))
    }

    fn new(look_up: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static) -> Self {
        Self {
            look_up: Arc::new(look_up),
            under_way: Arc::default(),
        }
    }

    /// The look-up of `name` that is under way, or a new one. While that of another name is, there is none.
    fn start(&self, name: &str) -> io::Result<watch::Receiver<Found>> {
        let mut under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // A thread that panicked has dropped its end.
        under_way.take_if(|(_, found)| found.borrow().is_some() || found.has_changed().is_err());
        if let Some((of, found)) = under_way.as_ref() {
            return match of == name {
                true => Ok(found.clone()),
                false => Err(io::Error::other(format!(
                    "the name server has not answered for {of} yet"
                ))),
            };
        }
        let (done, found) = watch::channel(None);
        let (look_up, wanted) = (Arc::clone(&self.look_up), name.to_owned());
        Builder::new().name("resolve".to_owned()).spawn(move || {
            let result = look_up(&wanted).map_err(|error| error.to_string());
            // Everybody may have stopped waiting.
            let _ = done.send(Some(result));
        })?;
        *under_way = Some((name.to_owned(), found.clone()));
        Ok(found)
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let started = self.start(name.as_str());
        Box::pin(async move {
            let mut found = started?;
            let waited = tokio::time::timeout(DEADLINE, found.wait_for(Option::is_some)).await;
            match waited {
                Ok(Ok(found)) => match found.as_ref() {
                    Some(Ok(addresses)) => Ok(addresses.clone().into_iter()),
                    Some(Err(error)) => Err(io::Error::other(error.clone())),
                    None => Err(io::ErrorKind::NotFound.into()),
                },
                Ok(Err(_)) => Err(io::Error::other("the look-up failed: see the log")),
                Err(_) => Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no answer from the name server for {name} within 5 s"),
                )),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::sync_channel;

    use super::*;

    const ADDRESS: SocketAddr = SocketAddr::new(
        std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
        0,
    );

    async fn ask(resolver: &mut Resolver, name: &str) -> Result<Vec<SocketAddr>, String> {
        let found = resolver.call(Name::from_str(name).unwrap()).await;
        found
            .map(Iterator::collect)
            .map_err(|error| error.to_string())
    }

    // Time is paused: it goes on to the next timer when every task waits.
    #[tokio::test(start_paused = true)]
    async fn a_name_server_that_hangs_holds_one_thread_and_no_attempt() {
        let started = Arc::new(AtomicUsize::new(0));
        let (answer, answered) = sync_channel::<()>(0);
        let answered = Mutex::new(answered);
        let count = Arc::clone(&started);
        let mut resolver = Resolver::new(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            answered.lock().unwrap().recv().unwrap();
            Ok(vec![ADDRESS])
        });
        for _ in 0..10 {
            let error = ask(&mut resolver, "collector").await.unwrap_err();
            assert!(error.contains("for collector within 5 s"), "{error}");
        }
        let error = ask(&mut resolver, "other").await.unwrap_err();
        assert!(error.contains("for collector yet"), "{error}");
        let (mut found, sender) = (resolver.start("collector").unwrap(), answer);
        sender.send(()).unwrap();
        assert!(found.wait_for(Option::is_some).await.is_ok());
        assert_eq!(started.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn what_is_found_is_given_and_looked_up_again_later() {
        let started = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&started);
        let mut resolver = Resolver::new(move |name| {
            count.fetch_add(1, Ordering::Relaxed);
            match name {
                "here" => Ok(vec![ADDRESS]),
                _ => Err(io::Error::other("no such name")),
            }
        });
        assert_eq!(ask(&mut resolver, "here").await, Ok(vec![ADDRESS]));
        assert_eq!(
            ask(&mut resolver, "there").await,
            Err("no such name".to_owned())
        );
        assert_eq!(ask(&mut resolver, "here").await, Ok(vec![ADDRESS]));
        assert_eq!(started.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn the_system_knows_its_own_name() {
        let found = ask(&mut Resolver::system(), "localhost").await.unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback()) && !found.is_empty());
    }
}
