//! What the load generator and the mock model share: non-blocking sockets on one epoll descriptor per thread, and the framing
//! of HTTP/1.1 messages (RFC 9112) read piece by piece.
//!
//! It is neither hyper nor the gateway's data plane: `docs/decisions/0004-load-tests-own-sockets.md` says why.

mod chunked;
mod message;
mod reactor;
mod sse;

pub(crate) use message::{Message, Reply, Request};
pub(crate) use reactor::{Reactor, Ready, connect};
pub(crate) use sse::{EventSink, EventSplitter};
