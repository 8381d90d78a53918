//! A connection that was just accepted, up to its first request: what a load balancer says of it, and the TLS handshake, each within
//! its time.

use std::net::SocketAddr;
use std::rc::Rc;

use policy_compiler::dialect::ErrorKind;
use rustls::pki_types::CertificateDer;

use super::channel::{Accepted, Agreed, Channel, HandshakeError};
use super::connection::linger;
use super::core::Core;
use super::error::CallError;
use super::exchange;
use super::http::Wire;
use super::proxy_protocol;
use super::rt::Socket;
use crate::metrics::Event;

/// Where calls come from: what is known of a caller before its first byte of HTTP.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) peer: SocketAddr,
    /// The certificate that the caller showed, verified against `tls.client_ca`, and its issuers; the end certificate first.
    pub(super) certificates: Option<Rc<[CertificateDer<'static>]>>,
}

/// Makes the handshake, if the port speaks TLS. `None` when the connection is over.
pub(super) async fn arrive(core: &Rc<Core>, socket: Socket, peer: SocketAddr) -> Option<(Wire, Origin)> {
    let live = core.live();
    let (socket, peer) = behind_balancer(core, socket, peer).await?;
    let Some(tls) = &live.config.listen.tls else {
        return Some((Wire::new(socket), Origin { peer, certificates: None }));
    };
    let events = &core.shared.metrics.events;
    let Some(_counted) = core.count_handshake() else {
        events.count(Event::HandshakesLimit);
        return None;
    };
    socket.move_within(live.config.listen.limits.tls_handshake);
    match Channel::accept(socket, tls.config.clone()).await {
        Ok(Accepted::Tls(channel, agreed)) => {
            events.count(made(agreed));
            channel.never_times_out();
            let certificates = channel.verified_chain().map(Rc::from);
            Some((Wire::new(channel), Origin { peer, certificates }))
        }
        Ok(Accepted::Plain(channel)) => {
            events.count(Event::TlsPlain);
            let message = "This port speaks TLS, but the request came as plain HTTP; use https://.";
            let mut client = Wire::new(channel);
            let error = CallError::new(ErrorKind::BadRequest, "tls_required", message);
            exchange::refuse_malformed(core, &mut client, peer, error).await;
            linger(&mut client).await;
            None
        }
        Err(error) => {
            events.count(failed(&error));
            tracing::debug!(%peer, %error, "a TLS handshake failed");
            None
        }
    }
}

/// Whom a connection comes from that a load balancer passes on; the load balancer must say so.
async fn behind_balancer(core: &Core, mut socket: Socket, peer: SocketAddr) -> Option<(Socket, SocketAddr)> {
    let live = core.live();
    let listen = &live.config.listen;
    if !listen.speaks_proxy(peer.ip()) {
        return Some((socket, peer));
    }
    socket.move_within(listen.limits.head_timeout);
    match proxy_protocol::read(&mut socket).await {
        Ok(source) => {
            socket.never_times_out();
            Some((socket, source.unwrap_or(peer)))
        }
        Err(error) => {
            let event = if socket.timed_out() { Event::HeadTimeout } else { Event::ProxyHeaderBad };
            core.shared.metrics.events.count(event);
            tracing::debug!(%peer, %error, "a connection from a load balancer was closed");
            None
        }
    }
}

fn made(agreed: Agreed) -> Event {
    match (agreed.tls13, agreed.resumed) {
        (false, false) => Event::Tls12,
        (false, true) => Event::Tls12Resumed,
        (true, false) => Event::Tls13,
        (true, true) => Event::Tls13Resumed,
    }
}

fn failed(error: &HandshakeError) -> Event {
    match error {
        HandshakeError::TimedOut => Event::HandshakeTimeout,
        HandshakeError::Closed | HandshakeError::Io(_) => Event::TlsClosed,
        HandshakeError::Tls(rustls::Error::NoApplicationProtocol) => Event::TlsProtocol,
        HandshakeError::Tls(rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_)) => {
            Event::TlsCertificate
        }
        HandshakeError::Tls(_) => Event::TlsOther,
    }
}
