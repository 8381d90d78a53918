//! Connections to servers: kept per core while they rest, never reused when stale, retried only when nothing was sent.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use rustls::ClientConfig;

use super::server::{Counted, InFlight, now_ms};
use super::{Route, Server};
use crate::data_plane::channel::{Channel, HandshakeError};
use crate::data_plane::http::Wire;
use crate::data_plane::rt::{Socket, Watchdog};
use crate::metrics::{Event, Metrics};
use crate::tls::client::for_one_core;

/// Resting connections per server and core.
const IDLE_MAX: usize = 256;
/// Servers that one call tries to connect to.
const TRIES_MAX: usize = 3;

/// A connection that a call has for itself.
pub(in crate::data_plane) struct Lease {
    pub(in crate::data_plane) wire: Wire,
    pub(in crate::data_plane) server: Arc<Server>,
    pub(in crate::data_plane) route: Arc<Route>,
    /// It rested in the pool, so the server may have closed it meanwhile.
    pub(in crate::data_plane) reused: bool,
    connection: Counted,
    _in_flight: InFlight,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(in crate::data_plane) enum CheckoutError {
    #[error("{authority} ({address}): {cause}")]
    Connect { authority: String, address: std::net::SocketAddr, cause: io::Error },
    #[error("TLS with {authority} ({address}): {cause}")]
    Tls { authority: String, address: std::net::SocketAddr, cause: HandshakeError },
    #[error("the upstream has as many connections as it may have")]
    TooMany,
    #[error("no server is left to try")]
    NoServer,
}

/// The resting connections of one core.
pub(in crate::data_plane) struct Pool {
    idle: RefCell<HashMap<u64, Vec<Idle>>>,
    /// TLS settings with this core's own sessions, by server.
    clients: RefCell<HashMap<u64, Arc<ClientConfig>>>,
    random: Cell<u64>,
}

struct Idle {
    wire: Wire,
    connection: Counted,
    since_ms: u64,
}

impl CheckoutError {
    /// Whether `connect` of the time-outs was not enough.
    fn is_late(&self) -> bool {
        match self {
            Self::Connect { cause, .. } => cause.kind() == std::io::ErrorKind::TimedOut,
            Self::Tls { cause, .. } => matches!(cause, HandshakeError::TimedOut),
            _ => false,
        }
    }
}

impl Default for Pool {
    fn default() -> Self {
        // Any number but 0, and another one on each core.
        let random = Cell::new(RandomState::new().build_hasher().finish() | 1);
        Self { idle: RefCell::default(), clients: RefCell::default(), random }
    }
}

impl Pool {
    /// A connection to one of the servers: a kept one if it still lives, else a new one. A server that cannot be reached is
    /// passed over while the budget lasts, since nothing was sent.
    ///
    /// # Errors
    /// The last server's error when none can be reached.
    pub(in crate::data_plane) async fn checkout(
        &self,
        route: &Arc<Route>,
        watchdog: &Rc<Watchdog>,
        metrics: &Metrics,
    ) -> Result<Lease, CheckoutError> {
        route.burden.earn(&route.config.retries);
        self.lease(route, watchdog, metrics, true).await
    }

    /// A new connection in place of a kept one that turned out to be closed; it costs a retry.
    ///
    /// # Errors
    /// As [`Self::checkout`], and [`CheckoutError::NoServer`] when the budget is used up.
    pub(in crate::data_plane) async fn replace(
        &self,
        route: &Arc<Route>,
        watchdog: &Rc<Watchdog>,
        metrics: &Metrics,
    ) -> Result<Lease, CheckoutError> {
        if !route.burden.spend(&route.config.retries) {
            metrics.events.count(Event::RetryDenied);
            return Err(CheckoutError::NoServer);
        }
        metrics.events.count(Event::RetryStale);
        self.lease(route, watchdog, metrics, false).await
    }

    async fn lease(
        &self,
        route: &Arc<Route>,
        watchdog: &Rc<Watchdog>,
        metrics: &Metrics,
        may_reuse: bool,
    ) -> Result<Lease, CheckoutError> {
        let mut tried = Vec::new();
        let mut last_error = CheckoutError::NoServer;
        while tried.len() < TRIES_MAX {
            let Some(server) = route.pick(&tried, self.next_random(), now_ms()) else { break };
            if !tried.is_empty() {
                if !route.burden.spend(&route.config.retries) {
                    metrics.events.count(Event::RetryDenied);
                    break;
                }
                metrics.events.count(Event::RetryConnect);
            }
            tried.push(server.id);
            let in_flight = server.state.begin();
            let kept = if may_reuse { self.take_idle(route, server.id, watchdog.now_ms(), metrics) } else { None };
            let lease = |wire, connection, reused| Lease {
                wire,
                server: Arc::clone(server),
                route: Arc::clone(route),
                reused,
                connection,
                _in_flight: in_flight,
            };
            if let Some(Idle { wire, connection, .. }) = kept {
                metrics.events.count(Event::ConnectionReused);
                return Ok(lease(wire, connection, true));
            }
            let max = route.config.limits.connections;
            let Some(connection) = route.burden.open_connection(max) else {
                metrics.events.count(Event::UpstreamConnectionsLimit);
                return Err(CheckoutError::TooMany);
            };
            match self.connect(route, server, watchdog).await {
                Ok(channel) => {
                    metrics.events.count(Event::ConnectionOpened);
                    return Ok(lease(Wire::new(channel), connection, false));
                }
                Err(error) => {
                    metrics.events.count(Event::ConnectFailed);
                    if error.is_late() {
                        metrics.events.count(Event::ConnectTimeout);
                    }
                    if route.blame(server, now_ms()) {
                        ejected(route, server, metrics);
                    }
                    last_error = error;
                }
            }
        }
        Err(last_error)
    }

    /// Opens a connection, with its handshake if the server speaks TLS.
    pub(super) async fn connect(
        &self,
        route: &Route,
        server: &Server,
        watchdog: &Rc<Watchdog>,
    ) -> Result<Channel, CheckoutError> {
        let (authority, address) = (|| server.authority.clone(), server.address);
        let started_ms = now_ms();
        let socket = Socket::connect(address, route.timeouts.connect, watchdog).await;
        let socket = socket.map_err(|cause| CheckoutError::Connect { authority: authority(), address, cause })?;
        let Some((config, name)) = &server.tls else { return Ok(socket.into()) };
        let own = Arc::clone(self.clients.borrow_mut().entry(server.id).or_insert_with(|| for_one_core(config)));
        let spent = std::time::Duration::from_millis(now_ms().saturating_sub(started_ms));
        socket.move_within(route.timeouts.connect.saturating_sub(spent));
        let channel = Channel::connect(socket, own, name.clone()).await;
        let channel = channel.map_err(|cause| CheckoutError::Tls { authority: authority(), address, cause })?;
        channel.never_times_out();
        Ok(channel)
    }

    /// Gives a connection back whose last answer was read to its end.
    pub(in crate::data_plane) fn give_back(&self, lease: Lease, now_ms: u64) {
        let Lease { mut wire, server, connection, .. } = lease;
        if !wire.unread().is_empty() || wire.socket.timed_out() {
            return;
        }
        wire.rest();
        wire.socket.never_times_out();
        let mut idle = self.idle.borrow_mut();
        let kept = idle.entry(server.id).or_default();
        if kept.len() < IDLE_MAX {
            kept.push(Idle { wire, connection, since_ms: now_ms });
        }
    }

    /// Closes what rested too long, and forgets servers that are gone.
    pub(in crate::data_plane) fn tidy(&self, fleet: &super::Fleet, now_ms: u64, metrics: &Metrics) {
        let routes = fleet.routes();
        let route_of = |id: u64| routes.iter().find(|route| route.servers.iter().any(|server| server.id == id));
        self.idle.borrow_mut().retain(|id, kept| {
            let Some(route) = route_of(*id) else { return false };
            let before = kept.len();
            kept.retain(|idle| !is_old(idle, route, now_ms));
            rested_too_long(before - kept.len(), metrics);
            !kept.is_empty()
        });
        self.clients.borrow_mut().retain(|id, _| route_of(*id).is_some());
    }

    /// The most recently used one that is neither too old nor closed by the other side.
    fn take_idle(&self, route: &Route, server: u64, now_ms: u64, metrics: &Metrics) -> Option<Idle> {
        let mut idle = self.idle.borrow_mut();
        let kept = idle.get_mut(&server)?;
        while let Some(mut newest) = kept.pop() {
            if is_old(&newest, route, now_ms) {
                // What lies below is older still.
                rested_too_long(1 + kept.len(), metrics);
                kept.clear();
                return None;
            }
            // In the few milliseconds since its last answer, what was heard is as good as another look.
            let just_rested = newest.since_ms == now_ms && newest.wire.socket.is_quiet();
            if just_rested || !newest.wire.socket.is_stale() {
                return Some(newest);
            }
        }
        None
    }

    /// Xorshift: quick, and good enough to balance by.
    fn next_random(&self) -> u64 {
        let mut random = self.random.get();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        self.random.set(random);
        random
    }
}

impl Lease {
    /// The server is at fault for the end of the call.
    pub(in crate::data_plane) fn blame(&self, metrics: &Metrics) {
        if self.route.blame(&self.server, now_ms()) {
            ejected(&self.route, &self.server, metrics);
        }
    }

    /// The head of an answer came: a gateway's error counts as a failure, all else as a sign of life.
    pub(in crate::data_plane) fn answered(&self, status: u16, latency_us: u64, metrics: &Metrics) {
        match status {
            502..=504 => self.blame(metrics),
            _ => self.server.state.answered(latency_us, now_ms()),
        }
    }
}

fn ejected(route: &Route, server: &Server, metrics: &Metrics) {
    metrics.events.count(Event::Ejected);
    tracing::warn!(
        upstream = route.config.name,
        server = %server.address,
        "a server failed too often in a row and is left alone for a while"
    );
}

fn rested_too_long(connections: usize, metrics: &Metrics) {
    for _ in 0..connections {
        metrics.events.count(Event::UpstreamIdleTimeout);
    }
}

fn is_old(idle: &Idle, route: &Route, now_ms: u64) -> bool {
    u128::from(now_ms.saturating_sub(idle.since_ms)) > route.timeouts.keepalive.as_millis()
}
