//! Whose process has the other end of a connection within this machine.
//!
//! The kernel tells the user of a socket that is named by its four parts (`sock_diag(7)`, `NETLINK_SOCK_DIAG`,
//! `include/uapi/linux/inet_diag.h`), or lists all of them in `/proc/net/tcp`. A socket that its process has closed has no
//! user any more, and reads no answer: it is nobody's.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

/// Bytes of `/proc/net/tcp` that are read: some 50,000 sockets.
const MAX_LIST: u64 = 8 << 20;
const TCP: u8 = 6;
/// `SOCK_DIAG_BY_FAMILY`, the one kind of message.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// `NLMSG_ERROR`: no such socket, or no such protocol.
const ERROR: u16 = 2;
/// Of `struct nlmsghdr`.
const HEADER: usize = 16;

/// The other end of a connection.
#[derive(Debug)]
pub struct Peer {
    /// The address of the other end.
    remote: SocketAddr,
    /// The address of this one.
    local: SocketAddr,
    user: OnceLock<Option<u32>>,
}

impl Peer {
    /// The one at `remote` of a connection that was accepted at `local`.
    #[must_use]
    pub const fn new(remote: SocketAddr, local: SocketAddr) -> Self {
        Self {
            remote,
            local,
            user: OnceLock::new(),
        }
    }

    /// The id of the user whose process has it, where that is a process of this machine and of this network namespace.
    pub fn user(&self) -> Option<u32> {
        *self
            .user
            .get_or_init(|| match ask(self.remote, self.local) {
                Ok(user) => user,
                // The kernel was built without it.
                Err(_) => list(self.remote, self.local),
            })
    }
}

/// Asks the kernel for one socket.
fn ask(own: SocketAddr, other: SocketAddr) -> Result<Option<u32>, Errno> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    send(&socket, &request(own, other), SendFlags::empty())?;
    let mut answer = [0; 1024];
    // The answer is there when the request has been sent.
    let (length, _) = recv(&socket, &mut answer[..], RecvFlags::DONTWAIT)?;
    parse(answer.get(..length).unwrap_or_default())
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn request(own: SocketAddr, other: SocketAddr) -> Vec<u8> {
    let family = match own {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let mut body = vec![family.as_raw() as u8, TCP, 0, 0];
    // In every state.
    body.extend(u32::MAX.to_ne_bytes());
    body.extend(own.port().to_be_bytes());
    body.extend(other.port().to_be_bytes());
    for address in [own.ip(), other.ip()] {
        let mut bytes = [0; 16];
        match address {
            IpAddr::V4(address) => bytes[..4].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => bytes = address.octets(),
        }
        body.extend(bytes);
    }
    // Through any interface; no cookie.
    body.extend([0; 4]);
    body.extend([0xff; 8]);
    let mut message = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
    message.extend(BY_FAMILY.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// The user in a `struct inet_diag_msg`; nobody where there is no such socket, or no process has it.
fn parse(answer: &[u8]) -> Result<Option<u32>, Errno> {
    /// Where in the message: behind four bytes, the socket's id, a time and two lengths.
    const USER: usize = HEADER + 4 + 48 + 12;
    const INODE: usize = USER + 4;
    let word = |at: usize| {
        let bytes = answer.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    let kind = answer
        .get(4..6)
        .map(|kind| u16::from_ne_bytes([kind[0], kind[1]]));
    match (kind, word(HEADER)) {
        (Some(BY_FAMILY), _) => match (word(USER), word(INODE)) {
            (Some(user), Some(inode)) => Ok((inode != 0).then_some(user)),
            _ => Err(Errno::PROTO),
        },
        // The error is negative. There is a protocol, but no such socket.
        (Some(ERROR), Some(code)) if code.wrapping_neg() == Errno::NOENT.raw_os_error() as u32 => {
            Err(Errno::NOENT)
        }
        _ => Err(Errno::PROTO),
    }
}

/// Looks for one socket in the kernel's list.
fn list(own: SocketAddr, other: SocketAddr) -> Option<u32> {
    let file = match own {
        SocketAddr::V4(_) => "/proc/thread-self/net/tcp",
        SocketAddr::V6(_) => "/proc/thread-self/net/tcp6",
    };
    let file = BufReader::new(File::open(file).ok()?.take(MAX_LIST));
    let (own, other) = (written(own), written(other));
    let mut lines = file.lines().map_while(Result::ok);
    lines.find_map(|line| user_of(&line, &own, &other))
}

/// The user of a line of `/proc/net/tcp` (`proc_net_tcp.txt`), if it is of the socket between the two.
fn user_of(line: &str, own: &str, other: &str) -> Option<u32> {
    let words: Vec<&str> = line.split_ascii_whitespace().take(10).collect();
    let [_, local, remote, _, _, _, _, user, _, inode] = *words.as_slice() else {
        return None;
    };
    let is_it = local == own && remote == other && inode != "0";
    is_it.then(|| user.parse().ok()).flatten()
}

/// An address as the list has it: words as this machine reads them from memory, then the port.
fn written(address: SocketAddr) -> String {
    let bytes = match address.ip() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let words = bytes.as_chunks::<4>().0.iter();
    let mut text: String = words
        .map(|word| format!("{:08X}", u32::from_ne_bytes(*word)))
        .collect();
    text += &format!(":{:04X}", address.port());
    text
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn own_user() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    /// A connection: the end that was accepted, and the other one.
    fn connection(address: &str) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, client)
    }

    #[test]
    fn a_connection_of_this_process_is_its_user_s() {
        for address in ["127.0.0.1", "::1"] {
            let (accepted, _client) = connection(address);
            let (remote, local) = (
                accepted.peer_addr().unwrap(),
                accepted.local_addr().unwrap(),
            );
            assert_eq!(list(remote, local), Some(own_user()), "{address}");
            let peer = Peer::new(remote, local);
            assert_eq!(peer.user(), Some(own_user()), "{address}");
        }
    }

    #[test]
    fn an_end_that_was_closed_is_nobody_s() {
        let (accepted, client) = connection("127.0.0.1");
        let peer = Peer::new(
            accepted.peer_addr().unwrap(),
            accepted.local_addr().unwrap(),
        );
        drop(client);
        assert_eq!(peer.user(), None);
    }

    #[test]
    fn a_line_of_the_list_is_read() {
        let line = "   1: 0100007F:A3C2 0100007F:1003 01 00000000:00000000 00:00000000 00000000  1000        0 51234 1 0";
        let user = |own, other| user_of(line, own, other);
        assert_eq!(user("0100007F:A3C2", "0100007F:1003"), Some(1000));
        assert_eq!(user("0100007F:1003", "0100007F:A3C2"), None);
        let orphan = line.replace("51234", "0");
        assert_eq!(user_of(&orphan, "0100007F:A3C2", "0100007F:1003"), None);
    }

    #[test]
    fn no_answer_is_mistaken_for_one() {
        for answer in [&[][..], &[0; 16], &[0xff; 40]] {
            assert!(parse(answer).is_err());
        }
    }
}
