//! Telling the service manager how we are (sd_notify(3)): one datagram to the socket that `NOTIFY_SOCKET` names. Without that
//! variable nothing happens, and a manager that does not listen is no reason to fail.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Serving: after the start, and after a reload.
pub(crate) fn ready() {
    tell(&format!("READY=1\nMAINPID={}\nSTATUS=serving", std::process::id()));
}

/// Reading the configuration again; [`ready`] follows.
pub(crate) fn reloading() {
    // CLOCK_MONOTONIC, as systemd wants it beside the state.
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let us = now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000);
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={us}\nSTATUS=reloading"));
}

/// On the way down.
pub(crate) fn stopping(calls: i64) {
    tell(&format!("STOPPING=1\nSTATUS=draining, {calls} calls in flight"));
}

fn tell(state: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let address = match name.as_bytes().split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(&name),
    };
    let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = sent {
        tracing::warn!(%error, socket = %name.to_string_lossy(), "the service manager cannot be told");
    }
}
