//! Connections to upstreams: resolved once, pooled per core, never reused when stale.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;

use super::http::Wire;
use super::rt::{Socket, Watchdog};
use crate::config::Upstream;

/// Idle connections kept per endpoint and core.
const IDLE_MAX: usize = 256;

/// Where a connection goes.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// For the Host field.
    pub(crate) authority: String,
}

/// An upstream as the cores see it: configuration plus resolved endpoints.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) config: Upstream,
    pub(crate) targets: Vec<Target>,
}

/// An endpoint's name did not resolve at start-up.
#[derive(Debug, thiserror::Error)]
#[error("upstream {upstream}: {authority} does not resolve: {cause}. Check [[upstream]] endpoints.")]
pub struct ResolveError {
    upstream: String,
    authority: String,
    cause: io::Error,
}

/// Resolves every endpoint of every upstream.
///
/// # Errors
/// [`ResolveError`] for the first that does not resolve.
pub(crate) fn resolve(upstreams: &[Upstream]) -> Result<Vec<Route>, ResolveError> {
    upstreams.iter().map(resolve_one).collect()
}

fn resolve_one(upstream: &Upstream) -> Result<Route, ResolveError> {
    let mut targets = Vec::new();
    for endpoint in &upstream.endpoints {
        let failed =
            |cause| ResolveError { upstream: upstream.name.clone(), authority: endpoint.authority.clone(), cause };
        let mut addresses = (endpoint.host.as_str(), endpoint.port).to_socket_addrs().map_err(failed)?;
        let address = addresses.next().ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        targets.push(Target { address, authority: endpoint.authority.clone() });
    }
    Ok(Route { config: upstream.clone(), targets })
}

/// The index of the upstream whose path prefix is the longest that fits.
pub(crate) fn choose(routes: &[Route], path: &str) -> Option<usize> {
    let fitting = routes.iter().enumerate().filter(|(_, route)| path.starts_with(&route.config.match_path));
    fitting.max_by_key(|(_, route)| route.config.match_path.len()).map(|(index, _)| index)
}

/// The idle connections of one core.
#[derive(Default)]
pub(crate) struct Pool {
    idle: RefCell<HashMap<SocketAddr, Vec<Idle>>>,
    turn: std::cell::Cell<usize>,
}

struct Idle {
    wire: Wire,
    since_ms: u64,
}

impl Pool {
    /// A connection to one of the targets, in turn: a kept one if it still lives, else a new one. A target that refuses is
    /// passed over while nothing was sent (HTTP.md: retries only when nothing was sent).
    ///
    /// # Errors
    /// The last target's error when none can be reached.
    pub(crate) async fn checkout(
        &self,
        targets: &[Target],
        connect_timeout: Duration,
        idle_max: Duration,
        watchdog: &Rc<Watchdog>,
    ) -> io::Result<(Wire, Target)> {
        let first = self.turn.get();
        self.turn.set(first.wrapping_add(1));
        let mut last_error = io::Error::from(io::ErrorKind::NotFound);
        for step in 0..targets.len() {
            let Some(target) = targets.get(first.wrapping_add(step) % targets.len()) else { continue };
            if let Some(wire) = self.take_idle(target.address, idle_max, watchdog.now_ms()) {
                return Ok((wire, target.clone()));
            }
            match Socket::connect(target.address, connect_timeout, watchdog).await {
                Ok(socket) => return Ok((Wire::new(socket), target.clone())),
                Err(error) => last_error = error,
            }
        }
        Err(last_error)
    }

    /// Gives a connection back whose last answer was read to its end.
    pub(crate) fn give_back(&self, mut wire: Wire, target: &Target, now_ms: u64) {
        if !wire.unread().is_empty() || wire.socket.timed_out() {
            return;
        }
        wire.rest();
        wire.socket.never_times_out();
        let mut idle = self.idle.borrow_mut();
        let kept = idle.entry(target.address).or_default();
        if kept.len() < IDLE_MAX {
            kept.push(Idle { wire, since_ms: now_ms });
        }
    }

    /// The most recently used one that is neither too old nor closed by the other side.
    fn take_idle(&self, address: SocketAddr, idle_max: Duration, now_ms: u64) -> Option<Wire> {
        let mut idle = self.idle.borrow_mut();
        let kept = idle.get_mut(&address)?;
        while let Some(Idle { wire, since_ms }) = kept.pop() {
            let age_ms = now_ms.saturating_sub(since_ms);
            if u128::from(age_ms) > idle_max.as_millis() {
                // What lies below is older still.
                kept.clear();
                return None;
            }
            if !wire.socket.is_stale() {
                return Some(wire);
            }
        }
        None
    }
}
