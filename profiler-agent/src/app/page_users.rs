//! The users of this machine that may see the page where it asks for no token.

use std::io;
use std::path::Path;

use crate::confine;
use crate::page::Users;

/// Where users have their ids: nothing else is asked, for a directory service may not answer.
const PASSWORDS: &str = "/etc/passwd";
const MAX_BYTES: u64 = 16 << 20;

/// A user that nobody knows.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The list cannot be read.
    #[error("cannot read {PASSWORDS} for `page.users`: {0}")]
    Unreadable(io::Error),
    /// The user is not in it.
    #[error(
        "page.users: there is no user `{0}` in {PASSWORDS}: write the number that `id -u` says"
    )]
    Unknown(String),
}

/// Root, the agent's own user, the one that called sudo, and those that are named by name or number.
pub(super) fn read(named: &[String]) -> Result<Users, UserError> {
    let caller = std::env::var("SUDO_UID").ok();
    let mut ids: Vec<u32> = caller.and_then(|id| id.parse().ok()).into_iter().collect();
    let mut list = None;
    for name in named {
        if let Ok(id) = name.parse() {
            ids.push(id);
            continue;
        }
        if list.is_none() {
            let content = confine::read_configured(Path::new(PASSWORDS), MAX_BYTES);
            list = Some(content.map_err(UserError::Unreadable)?);
        }
        let content = String::from_utf8_lossy(list.as_deref().unwrap_or_default());
        let id = id_of(&content, name);
        ids.push(id.ok_or_else(|| UserError::Unknown(name.clone()))?);
    }
    Ok(Users::with(ids))
}

/// The id of a user in a text as `passwd(5)` has it.
fn id_of(list: &str, name: &str) -> Option<u32> {
    list.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(name);
        is_it.then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_names() {
        let list = "root:x:0:0:root:/root:/bin/sh\n+nis\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(id_of(list, "ann"), Some(1000));
        assert_eq!(id_of(list, "an"), None);
        assert_eq!(id_of(list, "+nis"), None);
    }

    #[test]
    fn a_name_that_nobody_has_is_refused() {
        let refused = read(&["no such user".to_owned()]).unwrap_err();
        assert!(refused.to_string().contains("`no such user`"), "{refused}");
        assert!(read(&["root".to_owned(), "12345".to_owned()]).is_ok());
    }
}
