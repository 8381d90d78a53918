//! The upstreams as the cores see them.
//!
//! [`route`]: which upstream takes a call. [`server`]: what is known about one server, shared by all cores as plain atomics.
//! [`balance`]: which server of an upstream. [`lease`]: a connection to it, new or from the pool of the core. [`health`]: asking
//! servers how they are.

mod balance;
pub(super) mod health;
mod lease;
mod route;
mod server;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, Endpoint, Limits, Upstream};
use crate::credentials::Slot;

pub(super) use lease::{CheckoutError, Lease, Pool};
pub(super) use route::Choice;
pub(crate) use server::{Burden, Server, now_ms};

/// Every upstream.
#[derive(Debug)]
pub struct Fleet {
    routes: Vec<Arc<Route>>,
}

/// One upstream: configuration, resolved servers, and what it bears now.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) config: Upstream,
    pub(crate) timeouts: Timeouts,
    pub(crate) servers: Vec<Arc<Server>>,
    pub(crate) burden: Arc<Burden>,
    /// What is presented to the servers; kept over a reload that leaves it as it is.
    pub(crate) credential: Option<Arc<Slot>>,
}

/// The time-outs in effect for one upstream; see [`Limits`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) first_byte: Duration,
    pub(crate) first_event: Duration,
    pub(crate) idle: Duration,
    pub(crate) keepalive: Duration,
}

/// An endpoint's name did not resolve.
#[derive(Debug, thiserror::Error)]
#[error("upstream {upstream}: {authority} does not resolve: {cause}. Check [[upstream]] endpoints.")]
pub struct ResolveError {
    upstream: String,
    authority: String,
    cause: io::Error,
}

impl Fleet {
    /// Looks up every endpoint of every upstream. What `previous` knows about servers that stay is kept.
    ///
    /// # Errors
    /// [`ResolveError`] for the first that does not resolve and was not known before.
    pub fn resolve(config: &Config, previous: Option<&Self>) -> Result<Self, ResolveError> {
        let routes = config.upstreams.iter().map(|upstream| {
            let before = previous.and_then(|fleet| fleet.by_name(&upstream.name));
            Route::resolve(upstream, &config.listen.limits, before.map(AsRef::as_ref)).map(Arc::new)
        });
        Ok(Self { routes: routes.collect::<Result<_, _>>()? })
    }

    /// The upstream at an index that [`Self::choose`] gave.
    pub(super) fn get(&self, index: usize) -> Option<&Arc<Route>> {
        self.routes.get(index)
    }

    /// All of them.
    pub(crate) fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// What is presented to model servers: one for each upstream that has one.
    pub(crate) fn credentials(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.routes.iter().filter_map(|route| route.credential.as_ref())
    }

    /// Whether both have the same servers in the same upstreams.
    #[must_use]
    pub fn same_servers(&self, other: &Self) -> bool {
        let addresses = |fleet: &Self| -> Vec<Vec<SocketAddr>> {
            fleet.routes.iter().map(|route| route.servers.iter().map(|server| server.address).collect()).collect()
        };
        addresses(self) == addresses(other)
    }

    fn by_name(&self, name: &str) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| route.config.name == name)
    }
}

impl Route {
    fn resolve(upstream: &Upstream, limits: &Limits, before: Option<&Self>) -> Result<Self, ResolveError> {
        let mut servers: Vec<Arc<Server>> = Vec::new();
        for endpoint in &upstream.endpoints {
            for address in addresses(upstream, endpoint, before)? {
                if !servers.iter().any(|own| own.address == address && own.authority == endpoint.authority) {
                    let known = before.and_then(|route| route.known(address, endpoint));
                    servers.push(Arc::new(Server::new(upstream, endpoint, address, known, before.is_some())));
                }
            }
        }
        let own = &upstream.timeouts;
        Ok(Self {
            timeouts: Timeouts {
                connect: own.connect.unwrap_or(limits.connect),
                first_byte: own.first_byte.unwrap_or(limits.first_byte),
                first_event: own.first_event.unwrap_or(limits.first_event),
                idle: own.idle.unwrap_or(limits.stream_idle),
                keepalive: own.keepalive.unwrap_or(limits.upstream_idle),
            },
            servers,
            credential: upstream.credential.as_ref().map(|credential| {
                let known = before.and_then(|route| route.credential.as_ref());
                let same = known.filter(|slot| slot.credential() == credential);
                same.map_or_else(|| Arc::new(Slot::new(credential.clone())), Arc::clone)
            }),
            burden: before.map_or_else(Arc::default, |route| Arc::clone(&route.burden)),
            config: upstream.clone(),
        })
    }

    fn known(&self, address: SocketAddr, endpoint: &Endpoint) -> Option<&Server> {
        let same = |server: &&Arc<Server>| server.address == address && server.authority == endpoint.authority;
        self.servers.iter().find(same).map(AsRef::as_ref)
    }
}

/// A name that stops resolving keeps the addresses it had: the servers may well be there still.
fn addresses(
    upstream: &Upstream,
    endpoint: &Endpoint,
    before: Option<&Route>,
) -> Result<Vec<SocketAddr>, ResolveError> {
    let found = (endpoint.host.as_str(), endpoint.port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
    let cause = match found {
        Ok(mut found) if !found.is_empty() => {
            // Name servers shuffle; the same set is the same fleet.
            found.sort_unstable();
            return Ok(found);
        }
        Ok(_) => io::ErrorKind::NotFound.into(),
        Err(error) => error,
    };
    let kept: Vec<SocketAddr> = before
        .into_iter()
        .flat_map(|route| &route.servers)
        .filter(|server| server.authority == endpoint.authority)
        .map(|server| server.address)
        .collect();
    if kept.is_empty() {
        return Err(ResolveError { upstream: upstream.name.clone(), authority: endpoint.authority.clone(), cause });
    }
    tracing::warn!(upstream = upstream.name, authority = endpoint.authority, %cause, "an endpoint's name does not resolve now; its old addresses stay");
    Ok(kept)
}
