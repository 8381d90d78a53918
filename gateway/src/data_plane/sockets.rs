//! The listening sockets: bound here, or inherited from a service manager or from the process that this one replaces.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use super::rt;

/// Connections that the kernel keeps for each socket until they are accepted; its own maximum (net.core.somaxconn) holds too.
const BACKLOG: i32 = 4096;

/// Listening sockets, all on one address.
#[derive(Debug)]
pub struct Sockets {
    listeners: Vec<TcpListener>,
    address: SocketAddr,
}

/// Why there are no sockets.
#[derive(Debug, thiserror::Error)]
pub enum SocketsError {
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {cause}. Is another process using the port? Choose another with --listen, or start with --take-over to replace a running gateway."
    )]
    Bind {
        /// Which one.
        address: SocketAddr,
        /// What the kernel says.
        cause: io::Error,
    },
    /// What was handed over is not what was promised.
    #[error(
        "the socket that was handed over cannot be used: {0}. It must be a listening TCP socket (ListenStream= in a systemd .socket unit)."
    )]
    Inherited(io::Error),
}

impl Sockets {
    /// One socket per core. They share the port by SO_REUSEPORT, which would also let a second gateway steal half of the
    /// connections: so ask first whether somebody else has it. That also turns port 0 into a real one.
    ///
    /// # Errors
    /// [`SocketsError::Bind`]
    pub fn bind(address: SocketAddr, cores: usize) -> Result<Self, SocketsError> {
        let failed = |cause| SocketsError::Bind { address, cause };
        let address = TcpListener::bind(address).and_then(|probe| probe.local_addr()).map_err(failed)?;
        let listeners = (0..cores).map(|_| listen(address)).collect::<io::Result<_>>().map_err(failed)?;
        Ok(Self { listeners, address })
    }

    /// The sockets that a service manager passes on (sd_listen_fds(3)): `None` when it passes none to this process.
    ///
    /// # Errors
    /// [`SocketsError::Inherited`]
    pub fn from_service_manager() -> Result<Option<Self>, SocketsError> {
        match rt::inherited_listeners().map_err(SocketsError::Inherited)? {
            listeners if listeners.is_empty() => Ok(None),
            listeners => Self::inherited(listeners).map(Some),
        }
    }

    /// Sockets that another process listened on.
    ///
    /// # Errors
    /// [`SocketsError::Inherited`]
    pub fn inherited(listeners: Vec<TcpListener>) -> Result<Self, SocketsError> {
        let first = listeners.first().ok_or_else(|| SocketsError::Inherited(io::ErrorKind::NotFound.into()))?;
        let address = first.local_addr().map_err(SocketsError::Inherited)?;
        for listener in &listeners {
            let is_listening = socket2::SockRef::from(listener).is_listener().map_err(SocketsError::Inherited)?;
            if !is_listening || listener.local_addr().map_err(SocketsError::Inherited)? != address {
                return Err(SocketsError::Inherited(io::Error::other("it does not listen on the same address")));
            }
        }
        Ok(Self { listeners, address })
    }

    /// Where they listen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same sockets once more, to hand them over later.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn try_clone(&self) -> io::Result<Vec<TcpListener>> {
        self.listeners.iter().map(TcpListener::try_clone).collect()
    }

    /// Every socket to one core, every core at least one if that is possible: two cores never accept from the same socket.
    pub(super) fn for_cores(self, cores: usize) -> Vec<Vec<TcpListener>> {
        let mut shares: Vec<Vec<TcpListener>> = (0..cores).map(|_| Vec::new()).collect();
        for (index, listener) in self.listeners.into_iter().enumerate() {
            if let Some(share) = shares.get_mut(index % cores.max(1)) {
                share.push(listener);
            }
        }
        for share in shares.iter_mut().filter(|share| share.is_empty()) {
            match listen(self.address) {
                Ok(listener) => share.push(listener),
                Err(error) => {
                    tracing::warn!(%error, address = %self.address, "the inherited socket cannot be shared, so not every core takes connections; set ReusePort=yes in the .socket unit");
                    break;
                }
            }
        }
        shares
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_port(true)?;
    // Connections of a process that just ended must not keep its successor from the port.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn no_two_cores_share_a_socket_and_none_is_left_out() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        for (sockets, cores) in [(1, 1), (3, 2), (1, 3)] {
            let bound = Sockets::bind(any, sockets).unwrap();
            let address = bound.address();
            let shares = bound.for_cores(cores);
            assert_eq!(shares.len(), cores);
            assert!(shares.iter().all(|share| !share.is_empty()), "{sockets} sockets for {cores} cores");
            assert!(shares.iter().flatten().all(|listener| listener.local_addr().unwrap() == address));
            assert_eq!(shares.iter().flatten().count(), sockets.max(cores));
        }
    }

    #[test]
    fn a_port_is_not_shared_with_strangers() {
        let first = Sockets::bind(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap();
        let said = Sockets::bind(first.address(), 1).unwrap_err().to_string();
        assert!(said.contains("--take-over"), "{said}");
    }

    #[test]
    fn what_does_not_listen_is_refused() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        assert!(Sockets::inherited(vec![socket.into()]).is_err());
        assert!(Sockets::inherited(Vec::new()).is_err());
    }
}
