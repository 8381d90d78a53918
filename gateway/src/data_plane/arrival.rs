//! A connection that was just accepted, up to its first request: the TLS handshake, within its time.

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
