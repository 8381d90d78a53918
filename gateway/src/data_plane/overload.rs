//! Connections above the limit: a few at a time are told so in the form of the API that they ask for, all others are closed. What
//! telling takes is bounded, and none of it is kept.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use policy_compiler::dialect::{self, ErrorKind, ErrorShape};

use super::arrival::arrive;
use super::connection::linger;
use super::core::Core;
use super::error::CallError;
use super::exchange;
use super::http::{HeadLimits, RequestHead, Wire};
use super::rt::Socket;
use crate::metrics::Event;

/// Connections per core that are told at the same time.
pub(super) const TOLD_AT_ONCE: usize = 64;
/// How long a request's head is waited for, to know whose form the answer has.
const HEAD_TIME: Duration = Duration::from_secs(2);

/// Tells a connection that there is no room for it, if there is room for telling it.
pub(super) async fn turn_away(core: &Rc<Core>, socket: Socket, peer: SocketAddr) {
    core.shared.metrics.connection_shed();
    core.shared.metrics.events.count(Event::ConnectionsLimit);
    let Some(_counted) = core.count_told() else { return };
    let Some((mut client, origin)) = arrive(core, socket, peer).await else { return };
    let shape = shape(core, &mut client).await;
    let message = "The gateway has as many connections as it may have. Try again shortly.";
    let error = CallError::new(ErrorKind::Unavailable, "too_many_connections", message).field("retry-after", "1");
    exchange::refuse_unread(core, &mut client, origin.peer, shape, error).await;
    linger(&mut client).await;
}

/// Whose form errors have for what the connection asks for first.
async fn shape(core: &Core, client: &mut Wire) -> ErrorShape {
    let live = core.live();
    let limits = &live.config.listen.limits;
    let bounds = HeadLimits { bytes: limits.head_bytes, fields: limits.head_fields };
    client.socket.read_within(HEAD_TIME.min(limits.head_timeout));
    loop {
        match RequestHead::parse(client.unread(), bounds) {
            Ok(Some((head, _))) => return dialect::errors_of(head.path()),
            Ok(None) if matches!(client.fill().await, Ok(1..)) => {}
            _ => return ErrorShape::OpenAi,
        }
    }
}
