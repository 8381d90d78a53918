//! What happens to connections, limits, upstreams and the configuration: one enum, one table, one counter each.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Page;

/// Declares the events with their family and label, families in one piece.
macro_rules! events {
    ($($family:literal $help:literal { $($(#[doc = $doc:literal])+ $event:ident = $label:literal,)+ })+) => {
        /// Something that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Event {
            $($($(#[doc = $doc])+ $event,)+)+
        }

        const FAMILIES: &[(&str, &str, &[(Event, &str)])] = &[$(($family, $help, &[$((Event::$event, $label)),+])),+];
        const EVENTS: usize = [$($(Event::$event),+),+].len();
    };
}

events! {
    "sallyport_tls_handshakes_total" "TLS handshakes with callers that were made." {
        /// TLS 1.2 from the beginning.
        Tls12 = "version=\"1.2\",resumed=\"no\"",
        /// TLS 1.2, an earlier session.
        Tls12Resumed = "version=\"1.2\",resumed=\"yes\"",
        /// TLS 1.3 from the beginning.
        Tls13 = "version=\"1.3\",resumed=\"no\"",
        /// TLS 1.3, an earlier session.
        Tls13Resumed = "version=\"1.3\",resumed=\"yes\"",
    }
    "sallyport_tls_handshakes_failed_total" "TLS handshakes with callers that failed, by reason." {
        /// The caller offers no protocol that is spoken here.
        TlsProtocol = "reason=\"alpn\"",
        /// The caller's certificate is missing or does not verify.
        TlsCertificate = "reason=\"certificate\"",
        /// The caller left.
        TlsClosed = "reason=\"closed\"",
        /// Plain HTTP came.
        TlsPlain = "reason=\"plain_http\"",
        /// Anything else.
        TlsOther = "reason=\"other\"",
    }
    "sallyport_limits_exceeded_total" "Calls and connections that were cut or refused at a limit, by its name in the configuration." {
        /// `[listen.limits] connections_per_core` or `connections`.
        ConnectionsLimit = "limit=\"connections\"",
        /// `[listen.limits] handshakes_per_core`.
        HandshakesLimit = "limit=\"handshakes_per_core\"",
        /// `[listen.limits] tls_handshake`.
        HandshakeTimeout = "limit=\"tls_handshake\"",
        /// `[listen.limits] in_flight_per_core` or `in_flight`.
        InFlightLimit = "limit=\"in_flight\"",
        /// `[listen.limits] head_bytes` or `head_fields`.
        HeadLimit = "limit=\"head\"",
        /// `[listen.limits] head_timeout`.
        HeadTimeout = "limit=\"head_timeout\"",
        /// `[listen.limits] idle_keepalive`.
        IdleTimeout = "limit=\"idle_keepalive\"",
        /// `[listen.limits] body_inspected_bytes` or `body_bytes`.
        BodyLimit = "limit=\"body_bytes\"",
        /// `[listen.limits] body_timeout` or `body_rate_min`.
        BodyTimeout = "limit=\"body_timeout\"",
        /// `limit requests` of a policy.
        PolicyRequestsLimit = "limit=\"policy_requests\"",
        /// `limit tokens` of a policy.
        PolicyTokensLimit = "limit=\"policy_tokens\"",
        /// `[limits] accounts`.
        PolicyAccountsLimit = "limit=\"limit_accounts\"",
        /// `[upstream.limits] in_flight`.
        UpstreamInFlightLimit = "limit=\"upstream_in_flight\"",
        /// `[upstream.limits] connections`.
        UpstreamConnectionsLimit = "limit=\"upstream_connections\"",
        /// `connect`.
        ConnectTimeout = "limit=\"connect\"",
        /// `first_byte`.
        FirstByteTimeout = "limit=\"first_byte\"",
        /// `first_event` or `stream_idle`.
        StreamIdleTimeout = "limit=\"stream_idle\"",
        /// `upstream_idle`: connections in the pool that rested too long.
        UpstreamIdleTimeout = "limit=\"upstream_idle\"",
        /// `drain`: connections that had to be cut.
        DrainTimeout = "limit=\"drain\"",
    }
    "sallyport_proxy_headers_refused_total" "Connections of load balancers that did not begin as `listen.proxy_protocol` says." {
        /// One was.
        ProxyHeaderBad = "",
    }
    "sallyport_upstream_connections_total" "Connections to model servers that calls got, or did not." {
        /// A new one.
        ConnectionOpened = "result=\"opened\"",
        /// One that rested in the pool.
        ConnectionReused = "result=\"reused\"",
        /// None: it could not be made.
        ConnectFailed = "result=\"failed\"",
    }
    "sallyport_upstream_retries_total" "Calls sent again because no server can have seen them, by reason." {
        /// The server could not be reached.
        RetryConnect = "reason=\"connect\"",
        /// The resting connection had been closed.
        RetryStale = "reason=\"stale\"",
        /// There would have been one more, but the budget is used up.
        RetryDenied = "reason=\"budget\"",
    }
    "sallyport_upstream_ejections_total" "Servers left alone for a while because they failed too often in a row." {
        /// One was.
        Ejected = "",
    }
    "sallyport_upstream_health_checks_total" "Active health checks." {
        /// Passed.
        CheckGood = "result=\"ok\"",
        /// Failed.
        CheckBad = "result=\"failed\"",
    }
    "sallyport_config_reloads_total" "Reloads of the whole configuration." {
        /// In force.
        ReloadGood = "result=\"ok\"",
        /// Refused; the old one stays.
        ReloadBad = "result=\"failed\"",
    }
}

/// A counter for each [`Event`].
#[derive(Debug)]
pub struct Events([AtomicU64; EVENTS]);

impl Default for Events {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Events {
    /// It happened once more.
    pub fn count(&self, event: Event) {
        if let Some(counter) = self.0.get(event as usize) {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn render(&self, page: &mut Page) {
        for (family, help, events) in FAMILIES {
            page.family(family, "counter", help);
            for (event, label) in *events {
                let labels = if label.is_empty() { String::new() } else { format!("{{{label}}}") };
                page.sample(&labels, self.0.get(*event as usize).map_or(0, |counter| counter.load(Relaxed)));
            }
        }
    }
}
