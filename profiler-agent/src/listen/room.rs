//! Who has a place among the connections, and who loses it to a new one. Pure: times are given.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use tokio::time::Instant;

use super::phase::{Event, Phase, Progress};

/// How many connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// In all.
    pub(super) all: usize,
    /// Of one peer.
    pub(super) peer: usize,
}

/// Bytes of answers that wait to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answers {
    /// In all.
    pub(super) all: usize,
    /// Of one peer.
    pub(super) peer: usize,
    /// An answer that is no longer than this always has its place.
    pub(super) short: usize,
}

/// Who is at the other end: an IPv4 address, or the network of an IPv6 address, in which a machine has as many
/// addresses as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Peer(IpAddr);

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                [a, b, c, d, 0, 0, 0, 0].into()
            }
        })
    }
}

/// Names a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id(u64);

/// The connections that there are.
#[derive(Debug)]
pub(super) struct Room {
    bounds: Bounds,
    next: u64,
    connections: BTreeMap<Id, Connection>,
}

#[derive(Debug)]
struct Connection {
    peer: Peer,
    progress: Progress,
    /// Bytes of the long answer that it takes.
    answer: usize,
}

impl Room {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            next: 0,
            connections: BTreeMap::new(),
        }
    }

    /// A place for a new connection, which there always is, and who has to leave for it.
    pub(super) fn admit(&mut self, peer: Peer, now: Instant) -> (Id, Option<Id>) {
        let own = self.connections.values().filter(|other| other.peer == peer);
        let dropped = if own.count() >= self.bounds.peer {
            self.weakest(peer)
        } else if self.connections.len() >= self.bounds.all {
            self.largest().and_then(|largest| self.weakest(largest))
        } else {
            None
        };
        if let Some(dropped) = dropped {
            self.leave(dropped);
        }
        let id = Id(self.next);
        self.next += 1;
        let connection = Connection {
            peer,
            progress: Progress::new(now),
            answer: 0,
        };
        self.connections.insert(id, connection);
        (id, dropped)
    }

    /// The connection that is missed least, where nothing new can be opened; it has left.
    pub(super) fn dismiss(&mut self) -> Option<Id> {
        let dropped = self.largest().and_then(|largest| self.weakest(largest))?;
        self.leave(dropped);
        Some(dropped)
    }

    /// The peer with the most connections: where there are too many, it is because of it.
    fn largest(&self) -> Option<Peer> {
        let mut counts: HashMap<Peer, usize> = HashMap::new();
        for connection in self.connections.values() {
            *counts.entry(connection.peer).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        most.map(|(peer, _)| peer)
    }

    /// The peer's connection that is dropped first: the oldest of those that wait for a request, else of those that
    /// send one, else of those that take an answer.
    fn weakest(&self, peer: Peer) -> Option<Id> {
        self.connections
            .iter()
            .filter(|(_, connection)| connection.peer == peer)
            .min_by_key(|(_, Connection { progress, .. })| (progress.phase, progress.since))
            .map(|(id, _)| *id)
    }

    /// Follows what a connection does.
    pub(super) fn note(&mut self, id: Id, event: Event, now: Instant) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.progress.note(event, now);
            if connection.progress.phase == Phase::Idle {
                connection.answer = 0;
            }
        }
    }

    /// May the connection have an answer of this many bytes? One that is the only one may always.
    pub(super) fn hold(&mut self, id: Id, bytes: usize, most: &Answers) -> bool {
        let Some(peer) = self.connections.get(&id).map(|connection| connection.peer) else {
            return false;
        };
        if bytes <= most.short {
            return true;
        }
        let (mut all, mut own) = (0, 0);
        for connection in self.connections.values() {
            all += connection.answer;
            if connection.peer == peer {
                own += connection.answer;
            }
        }
        let fits = |held: usize, most: usize| held == 0 || held.saturating_add(bytes) <= most;
        let holds = fits(all, most.all) && fits(own, most.peer);
        if let Some(connection) = self.connections.get_mut(&id).filter(|_| holds) {
            connection.answer = bytes;
        }
        holds
    }

    /// When the connection is to be closed; `None` when it has no place any more.
    pub(super) fn deadline(&self, id: Id) -> Option<Instant> {
        Some(self.connections.get(&id)?.progress.deadline())
    }

    pub(super) fn leave(&mut self, id: Id) {
        self.connections.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BOUNDS: Bounds = Bounds { all: 6, peer: 4 };

    fn peer(last: u8) -> Peer {
        IpAddr::from([10, 0, 0, last]).into()
    }

    fn second(start: Instant, second: u64) -> Instant {
        start + Duration::from_secs(second)
    }

    #[test]
    fn a_peer_with_too_many_loses_its_own_oldest() {
        let (mut room, start) = (Room::new(BOUNDS), Instant::now());
        let ids: Vec<Id> = (0..4)
            .map(|n| room.admit(peer(1), second(start, n)).0)
            .collect();
        // The oldest works, the next is answered and idle since later than the others connected.
        room.note(ids[0], Event::Asked, second(start, 5));
        for event in [
            Event::Asked,
            Event::Answered,
            Event::Completed,
            Event::Flushed,
        ] {
            room.note(ids[1], event, second(start, 6));
        }
        let mut dropped = (0..4).map(|n| room.admit(peer(1), second(start, 7 + n)).1);
        assert_eq!(dropped.next(), Some(Some(ids[1])), "the idle one is first");
        assert_eq!(dropped.next(), Some(Some(ids[2])));
        assert_eq!(dropped.next(), Some(Some(ids[3])));
        assert_ne!(dropped.next(), Some(Some(ids[0])), "it works");
    }

    #[test]
    fn who_has_few_connections_keeps_them_whatever_others_open() {
        let (mut room, start) = (Room::new(BOUNDS), Instant::now());
        let (probe, _) = room.admit(peer(1), start);
        for n in 1..100 {
            let (_, dropped) = room.admit(peer(2 + (n % 2) as u8), second(start, n));
            assert_ne!(dropped, Some(probe));
        }
        assert!(room.deadline(probe).is_some());
        assert_eq!(room.connections.len(), BOUNDS.all);
    }

    #[test]
    fn long_answers_have_so_much_room_until_they_are_taken() {
        const MOST: Answers = Answers {
            all: 100,
            peer: 60,
            short: 10,
        };
        let (mut room, now) = (Room::new(BOUNDS), Instant::now());
        let ids: Vec<Id> = (0..6).map(|n| room.admit(peer(n / 3), now).0).collect();
        assert!(room.hold(ids[0], 50, &MOST));
        assert!(!room.hold(ids[1], 11, &MOST), "its peer has enough");
        assert!(room.hold(ids[1], 10, &MOST), "it is short");
        assert!(room.hold(ids[3], 50, &MOST));
        assert!(!room.hold(ids[4], 11, &MOST), "there is no room");
        for event in [Event::Asked, Event::Answered, Event::Completed] {
            room.note(ids[0], event, now);
        }
        assert!(!room.hold(ids[4], 11, &MOST));
        room.note(ids[0], Event::Flushed, now);
        room.leave(ids[3]);
        assert!(room.hold(ids[4], 1000, &MOST), "it is alone");
        assert!(!room.hold(ids[0], 11, &MOST));
    }

    #[test]
    fn addresses_of_one_machine_are_one_peer() {
        let v6 = |text: &str| Peer::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(v6("2001:db8:1:2::1"), v6("2001:db8:1:2:ffff::9"));
        assert_ne!(v6("2001:db8:1:2::1"), v6("2001:db8:1:3::1"));
        assert_eq!(v6("::ffff:10.0.0.1"), peer(1));
        assert_ne!(v6("::ffff:10.0.0.1"), v6("::ffff:10.0.0.2"));
    }
}
