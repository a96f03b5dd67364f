//! Which users of this machine may see the page where it asks for no token.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::failure::Failure;
use crate::listen::Peer;

/// Users by their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Users(BTreeSet<u32>);

impl Users {
    /// Root, the user that this process runs as, and these.
    #[must_use]
    pub fn with(others: impl IntoIterator<Item = u32>) -> Self {
        let own = [0, rustix::process::geteuid().as_raw()];
        Self(own.into_iter().chain(others).collect())
    }

    fn have(&self, user: Option<u32>) -> bool {
        user.is_some_and(|user| self.0.contains(&user))
    }
}

/// Lets through who is one of them.
pub(super) async fn require(
    State(users): State<Arc<Users>>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Arc<Peer>>();
    let user = peer.and_then(|peer| peer.user());
    if users.have(user) {
        return next.run(request).await;
    }
    refusal(user, request.uri().path())
}

fn refusal(user: Option<u32>, path: &str) -> Response {
    let who = user.map_or("an unknown user".to_owned(), |user| format!("user {user}"));
    let message = format!(
        "{who} may not see this page: it shows programs of other users. Add the user to `page.users` of the agent's \
         configuration, or have it ask for a token (`page.token_file`, --token-file), or show it to everybody \
         (`page.allow_unauthenticated: true`, --allow-unauthenticated)"
    );
    match path.starts_with("/api/") {
        true => Failure(StatusCode::FORBIDDEN, message).into_response(),
        false => (StatusCode::FORBIDDEN, format!("{message}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_the_own_user_and_those_that_are_named_see_it() {
        let own = rustix::process::geteuid().as_raw();
        let users = Users::with([4711]);
        for user in [0, own, 4711] {
            assert!(users.have(Some(user)), "{user}");
        }
        assert!(!users.have(Some(4712)));
        assert!(!users.have(None));
    }
}
