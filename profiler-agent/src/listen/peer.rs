//! Whose process has the other end of a connection within this machine.
//!
//! The kernel tells the user of a socket that is named by its four parts (`sock_diag(7)`, `NETLINK_SOCK_DIAG`,
//! `include/uapi/linux/inet_diag.h`), or lists all of them in `/proc/net/tcp`. A socket that its process has closed has no
//! user any more, and reads no answer: it is nobody's.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{LazyLock, OnceLock};

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
        *self.user.get_or_init(|| {
            if *TELLS_OF_ONE {
                // What it does not know any more is nobody's.
                let owner = ask(self.remote, self.local).ok().flatten();
                owner.and_then(Owner::user)
            } else {
                list(self.remote, self.local)
            }
        })
    }
}

/// Does the kernel tell of one socket alone? It may be built without that. The list of all takes long where there are many,
/// and is not worth it for a client that has closed its connection at once.
static TELLS_OF_ONE: LazyLock<bool> = LazyLock::new(|| {
    let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = listener.as_ref().map(TcpListener::local_addr);
    let Ok(Ok(address)) = address else {
        return false;
    };
    matches!(ask(address, nobody), Ok(Some(_)))
});

/// Whose a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    user: u32,
    /// 0 where no process has it any more: the user says nothing then.
    inode: u32,
}

impl Owner {
    fn user(self) -> Option<u32> {
        (self.inode != 0).then_some(self.user)
    }
}

/// Asks the kernel for one socket; nothing where it knows of none.
fn ask(own: SocketAddr, other: SocketAddr) -> Result<Option<Owner>, Errno> {
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
    Ok(parse(answer.get(..length).unwrap_or_default()))
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

/// The owner in a `struct inet_diag_msg`; nothing where the answer is another one (`NLMSG_ERROR`).
fn parse(answer: &[u8]) -> Option<Owner> {
    /// Where in the message: behind four bytes, the socket's id, a time and two lengths.
    const USER: usize = HEADER + 4 + 48 + 12;
    const INODE: usize = USER + 4;
    let word = |at: usize| {
        let bytes = answer.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    (answer.get(4..6)? == BY_FAMILY.to_ne_bytes()).then_some(())?;
    Some(Owner {
        user: word(USER)?,
        inode: word(INODE)?,
    })
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
    fn a_single_socket_is_asked_for_here() {
        assert!(
            *TELLS_OF_ONE,
            "the tests' kernel has the diagnosis of sockets (CONFIG_INET_DIAG)"
        );
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
            assert_eq!(parse(answer), None);
        }
    }
}
