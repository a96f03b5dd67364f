//! A request's body.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Bytes, Frame, SizeHint};

use crate::profile::Payload;

/// Bytes in some pieces, none of which is copied.
pub(in crate::export) struct Body(VecDeque<Bytes>);

struct Shared(Arc<Payload>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl Body {
    /// The payload's bytes.
    pub(in crate::export) fn new(payload: Arc<Payload>) -> Self {
        Self(VecDeque::from([Bytes::from_owner(Shared(payload))]))
    }

    /// The payload's bytes after others.
    pub(in crate::export) fn after(prefix: Vec<u8>, payload: Arc<Payload>) -> Self {
        let mut body = Self::new(payload);
        body.0.push_front(prefix.into());
        body
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(
            self.get_mut()
                .0
                .pop_front()
                .map(|piece| Ok(Frame::data(piece))),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
    }
}
