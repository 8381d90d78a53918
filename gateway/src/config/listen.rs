//! The callers' port: address, cores, TLS, and the bounds on what one call or connection may take.

use super::check::{address, duration, number, size};
use super::error::Findings;
use super::table::{At, table};
use crate::tls::server::{ClientCertificates, ServerFiles};
use crate::tls::{MinVersion, PairFiles};
use ipnet::IpNet;
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Cores that can serve at most.
pub(crate) const CORES_MAX: i64 = 200;

/// The port for callers.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Where to listen.
    pub address: SocketAddr,
    /// How many cores serve; `None` is every core that the process may use.
    pub cores: Option<usize>,
    /// Whose connections begin with a header of the PROXY protocol.
    pub proxy_protocol: Vec<IpNet>,
    /// Whose word about the client counts.
    pub forwarded_from: Vec<IpNet>,
    /// TLS to callers; without it the port speaks plain HTTP.
    pub tls: Option<ListenTls>,
    /// Bounds on what one call may take.
    pub limits: Limits,
}

impl Listen {
    /// Whether what this address says of clients in front of it counts.
    #[must_use]
    pub fn believes(&self, peer: IpAddr) -> bool {
        is_in(&self.forwarded_from, peer)
    }

    /// Whether connections from this address begin with a header of the PROXY protocol.
    #[must_use]
    pub fn speaks_proxy(&self, peer: IpAddr) -> bool {
        is_in(&self.proxy_protocol, peer)
    }
}

fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address.to_canonical()))
}

/// TLS to callers, with its files read.
#[derive(Clone, Debug)]
pub struct ListenTls {
    /// Where it came from.
    pub files: ServerFiles,
    /// What handshakes use.
    pub config: Arc<rustls::ServerConfig>,
}

/// Bounds on what one call or connection may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time for a TLS handshake with a caller.
    pub tls_handshake: Duration,
    /// Handshakes at once per core; more connections are closed.
    pub handshakes_per_core: usize,
    /// Bytes of a request or response head; above: 431 to the caller.
    pub head_bytes: usize,
    /// Header fields in a head; above: 431.
    pub head_fields: usize,
    /// Time for a request head to arrive in full; above: 408.
    pub head_timeout: Duration,
    /// Bytes of a request body that a policy looks into; above: 413.
    pub body_inspected_bytes: usize,
    /// Bytes of a request body that nobody looks into; above: 413. `None` streams without a limit.
    pub body_bytes: Option<u64>,
    /// Time between two reads of a request body; above: 408.
    pub body_timeout: Duration,
    /// The slowest that a request body may come, in bytes per second, once `body_grace` is over; slower: 408.
    pub body_rate_min: usize,
    /// For how long a request body may come slower than that.
    pub body_grace: Duration,
    /// How long a caller's connection may rest between calls.
    pub idle_keepalive: Duration,
    /// How long a connection to a model server may rest in the pool.
    pub upstream_idle: Duration,
    /// Open caller connections per core; more are turned away.
    pub connections_per_core: usize,
    /// Open caller connections in all; more are turned away.
    pub connections: usize,
    /// Calls in flight per core; above: 503.
    pub in_flight_per_core: usize,
    /// Calls in flight in all; above: 503.
    pub in_flight: usize,
    /// To open a connection to a model server, its TLS handshake included.
    pub connect: Duration,
    /// From the last byte of a request to the head of the model server's answer.
    pub first_byte: Duration,
    /// From the head of an answer to the first byte of its body.
    pub first_event: Duration,
    /// Between two reads or writes of a body that is passing.
    pub stream_idle: Duration,
    /// For how long connections are still accepted after readiness failed, for load balancers to notice; `None` is not at all.
    pub drain_lag: Option<Duration>,
    /// How long running calls may take to finish after that.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tls_handshake: Duration::from_secs(10),
            handshakes_per_core: 1024,
            head_bytes: 32 * 1024,
            head_fields: 100,
            head_timeout: Duration::from_secs(10),
            body_inspected_bytes: 8 * 1024 * 1024,
            body_bytes: None,
            body_timeout: Duration::from_secs(30),
            body_rate_min: 1024,
            body_grace: Duration::from_secs(10),
            idle_keepalive: Duration::from_secs(60),
            upstream_idle: Duration::from_secs(30),
            connections_per_core: 10_000,
            connections: 100_000,
            in_flight_per_core: 5_000,
            in_flight: 50_000,
            connect: Duration::from_secs(2),
            first_byte: Duration::from_mins(10),
            first_event: Duration::from_mins(10),
            stream_idle: Duration::from_mins(2),
            drain_lag: None,
            drain: Duration::from_secs(30),
        }
    }
}

table! {
    /// Where callers connect.
    ListenFile = "[listen]" {
        /// Address and port. Read at start-up only.
        address: At<String> = "ADDRESS:PORT", "required";
        /// How many cores serve. Read at start-up only.
        cores: Option<At<i64>> = "number", "all that the process may use";
        /// TLS to callers; without it the port speaks plain HTTP.
        tls: Option<At<ListenTlsFile>> = "table", "–";
        /// The networks of load balancers whose connections begin with a header of the PROXY protocol, version 1 or 2, which says whom
        /// they come from. Without the header theirs are closed; from elsewhere it is refused like any malformed request.
        proxy_protocol: Option<Vec<At<String>>> = "list of networks", "–";
        /// The networks of proxies in front whose `Forwarded`, `X-Forwarded-*` and `X-Real-IP` are passed on, their own address behind.
        /// From elsewhere these are replaced. Policies and evidence have the address of the connection either way.
        forwarded_from: Option<Vec<At<String>>> = "list of networks", "–";
        /// Bounds on calls and connections.
        limits: Option<LimitsFile> = "table", "–";
    }
}

table! {
    /// TLS to callers: versions 1.2 and 1.3, http/1.1, sessions resumed by tickets. The files are read again when they change.
    ListenTlsFile = "[listen.tls]" {
        /// PEM: the certificate, then its issuers. Serves every name that no other certificate has.
        cert: At<String> = "path", "required";
        /// PEM: its key, not encrypted.
        key: At<String> = "path", "required";
        /// Further certificates: `{ cert = …, key = … }`. Chosen by the names in them (SNI).
        more: Option<Vec<PairFile>> = "list of tables", "–";
        /// PEM: the roots that certificates of callers must come from. Without it none is asked for.
        client_ca: Option<At<String>> = "path", "–";
        /// Whether callers must show a certificate: `required` or `optional`. One that is shown must always verify.
        client_certificates: Option<At<String>> = "word", "required";
        /// The lowest version spoken: `1.2` or `1.3`.
        min_version: Option<At<String>> = "word", "1.2";
    }
}

table! {
    /// A further certificate.
    PairFile = "[[listen.tls.more]]" {
        /// PEM: the certificate, then its issuers.
        cert: At<String> = "path", "required";
        /// PEM: its key, not encrypted.
        key: At<String> = "path", "required";
    }
}

table! {
    /// Bounds on what one call or connection may take. Each cut is counted in `sallyport_limits_exceeded_total`.
    LimitsFile = "[listen.limits]" {
        /// Time for a TLS handshake with a caller; then the connection is closed.
        tls_handshake: Option<At<String>> = "duration", "10s";
        /// TLS handshakes at once per core; further connections are closed.
        handshakes_per_core: Option<At<i64>> = "number", "1024";
        /// Bytes of a request or response head; above: 431.
        head_bytes: Option<At<SizeFile>> = "size", "32KiB";
        /// Fields of a head; above: 431.
        head_fields: Option<At<i64>> = "number", "100";
        /// Time for a request head to arrive; above: 408.
        head_timeout: Option<At<String>> = "duration", "10s";
        /// Bytes of a request body that a policy looks into; above: 413.
        body_inspected_bytes: Option<At<SizeFile>> = "size", "8MiB";
        /// Bytes of a request body that nobody looks into; above: 413.
        body_bytes: Option<At<SizeFile>> = "size", "no limit";
        /// Time between two reads of a request body; above: 408.
        body_timeout: Option<At<String>> = "duration", "30s";
        /// The slowest that a request body may come, in bytes per second; slower: 408.
        body_rate_min: Option<At<SizeFile>> = "size", "1KiB";
        /// For so long it may come slower.
        body_grace: Option<At<String>> = "duration", "10s";
        /// A caller's connection may rest so long between calls.
        idle_keepalive: Option<At<String>> = "duration", "60s";
        /// A connection to a model server may rest so long in the pool.
        upstream_idle: Option<At<String>> = "duration", "30s";
        /// Open connections of callers per core; more get a 503 with `Retry-After` or, when they come too fast for that, are closed.
        connections_per_core: Option<At<i64>> = "number", "10000";
        /// Open connections of callers in all; more likewise.
        connections: Option<At<i64>> = "number", "100000";
        /// Calls in flight per core; above: 503 with `Retry-After`.
        in_flight_per_core: Option<At<i64>> = "number", "5000";
        /// Calls in flight in all; above: 503 with `Retry-After`.
        in_flight: Option<At<i64>> = "number", "50000";
        /// To open a connection to a model server, its TLS handshake included; above: 502.
        connect: Option<At<String>> = "duration", "2s";
        /// From the end of a request to the head of the answer; above: 504.
        first_byte: Option<At<String>> = "duration", "10m";
        /// From the head of an answer to the first byte of its body; above: the answer is cut.
        first_event: Option<At<String>> = "duration", "10m";
        /// Between two reads or writes of a passing body; above: the answer is cut.
        stream_idle: Option<At<String>> = "duration", "2m";
        /// Connections are still accepted for so long once the gateway is told to stop and readiness fails, for load balancers to
        /// notice. Answers then say `Connection: close`.
        drain_lag: Option<At<String>> = "duration", "–";
        /// Running calls may take so long once the gateway is told to stop.
        drain: Option<At<String>> = "duration", "30s";
    }
}

/// A size: bytes, or a text with a unit.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum SizeFile {
    Bytes(i64),
    Text(String),
}

pub(super) fn listen(file: ListenFile, base: &Path, findings: &mut Findings<'_>) -> Option<Listen> {
    let mut cores = None;
    if let Some(at) = file.cores {
        let mut count = 1;
        number(Some(at), 1..=CORES_MAX, &mut count, findings);
        cores = Some(count);
    }
    let limits = file.limits.map_or_else(Limits::default, |file| limits(file, findings));
    let tls = match file.tls {
        None => None,
        Some(at) => Some(tls(at, base, findings)?),
    };
    let proxy_protocol = networks(file.proxy_protocol.unwrap_or_default(), findings);
    let forwarded_from = networks(file.forwarded_from.unwrap_or_default(), findings);
    address(&file.address, findings).map(|address| Listen {
        address,
        cores,
        proxy_protocol,
        forwarded_from,
        tls,
        limits,
    })
}

/// Networks in CIDR notation; a bare address is a network of one.
fn networks(list: Vec<At<String>>, findings: &mut Findings<'_>) -> Vec<IpNet> {
    let mut found = Vec::new();
    for at in list {
        let text = at.as_ref();
        match text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
            Ok(network) => found.push(network),
            Err(_) => findings.at(
                at.span().start,
                format!("`{text}` is no network"),
                "write an address or a network, such as \"10.0.0.0/8\"",
            ),
        }
    }
    found
}

fn tls(at: At<ListenTlsFile>, base: &Path, findings: &mut Findings<'_>) -> Option<ListenTls> {
    let offset = at.span().start;
    let file = at.into_inner();
    let mut pairs = vec![pair(&file.cert, &file.key, base)];
    pairs.extend(file.more.unwrap_or_default().iter().map(|more| pair(&more.cert, &more.key, base)));
    let client_certificates = super::check::word(
        file.client_certificates.as_ref(),
        &[("required", ClientCertificates::Required), ("optional", ClientCertificates::Optional)],
        findings,
    )?;
    let min_version = super::check::word(
        file.min_version.as_ref(),
        &[("1.2", MinVersion::Tls12), ("1.3", MinVersion::Tls13)],
        findings,
    )?;
    if let (None, Some(at)) = (&file.client_ca, &file.client_certificates) {
        findings.at(
            at.span().start,
            "`client_certificates` says nothing without `client_ca`",
            "add client_ca = \"PATH\" with the roots that callers' certificates come from, or remove it",
        );
    }
    let client_ca = file.client_ca.map(|at| pem_path(&at, base));
    let files = ServerFiles { pairs, client_ca, client_certificates, min_version };
    match files.load() {
        Ok(config) => Some(ListenTls { files, config }),
        Err(error) => {
            findings.at(offset, format!("TLS to callers: {error}"), "name PEM files that this process may read");
            None
        }
    }
}

/// Certificates and keys are files; `file:` may stand before them as it does before secrets.
pub(super) fn pem_path(at: &At<String>, base: &Path) -> PathBuf {
    base.join(at.as_ref().strip_prefix("file:").unwrap_or(at.as_ref()))
}

pub(super) fn pair(cert: &At<String>, key: &At<String>, base: &Path) -> PairFiles {
    PairFiles { certificate: pem_path(cert, base), key: pem_path(key, base) }
}

fn limits(file: LimitsFile, findings: &mut Findings<'_>) -> Limits {
    const MANY: std::ops::RangeInclusive<i64> = 1..=10_000_000;
    let mut limits = Limits::default();
    duration(file.tls_handshake, &mut limits.tls_handshake, findings);
    number(file.handshakes_per_core, MANY, &mut limits.handshakes_per_core, findings);
    size(file.head_bytes, 1024..=1 << 20, &mut limits.head_bytes, findings);
    number(file.head_fields, 10..=1000, &mut limits.head_fields, findings);
    duration(file.head_timeout, &mut limits.head_timeout, findings);
    size(file.body_inspected_bytes, 1024..=1 << 30, &mut limits.body_inspected_bytes, findings);
    if file.body_bytes.is_some() {
        let mut bytes = 0;
        size(file.body_bytes, 1024..=1 << 40, &mut bytes, findings);
        limits.body_bytes = Some(bytes as u64);
    }
    duration(file.body_timeout, &mut limits.body_timeout, findings);
    size(file.body_rate_min, 1..=1 << 30, &mut limits.body_rate_min, findings);
    duration(file.body_grace, &mut limits.body_grace, findings);
    duration(file.idle_keepalive, &mut limits.idle_keepalive, findings);
    duration(file.upstream_idle, &mut limits.upstream_idle, findings);
    number(file.connections_per_core, MANY, &mut limits.connections_per_core, findings);
    number(file.connections, MANY, &mut limits.connections, findings);
    number(file.in_flight_per_core, MANY, &mut limits.in_flight_per_core, findings);
    number(file.in_flight, MANY, &mut limits.in_flight, findings);
    duration(file.connect, &mut limits.connect, findings);
    duration(file.first_byte, &mut limits.first_byte, findings);
    duration(file.first_event, &mut limits.first_event, findings);
    duration(file.stream_idle, &mut limits.stream_idle, findings);
    if file.drain_lag.is_some() {
        let mut lag = limits.drain;
        duration(file.drain_lag, &mut lag, findings);
        limits.drain_lag = Some(lag);
    }
    duration(file.drain, &mut limits.drain, findings);
    limits
}
