//! How the upstreams and their servers are, at the moment of rendering. Labels come from the configuration and the addresses that
//! its names have, never from a call.

use std::sync::atomic::Ordering::Relaxed;

use super::Page;
use crate::data_plane::upstream::{Fleet, Server, now_ms};

/// Appended to the page of counters.
pub(crate) fn fleet_page(fleet: &Fleet) -> String {
    let mut page = Page::default();
    let now_ms = now_ms();
    page.family("sallyport_upstream_requests_in_flight", "gauge", "Calls in flight, by upstream.");
    for route in fleet.routes() {
        page.sample(&upstream(&route.config.name), route.burden.in_flight.load(Relaxed));
    }
    page.family(
        "sallyport_upstream_connections_open",
        "gauge",
        "Open connections, resting ones included, by upstream.",
    );
    for route in fleet.routes() {
        page.sample(&upstream(&route.config.name), route.burden.connections.load(Relaxed));
    }
    servers(&mut page, fleet, "sallyport_upstream_server_healthy", "1 unless active checks fail.", |server| {
        u64::from(server.state.is_healthy())
    });
    servers(&mut page, fleet, "sallyport_upstream_server_ejected", "1 while left alone after failures.", |server| {
        u64::from(server.state.is_ejected(now_ms))
    });
    servers(
        &mut page,
        fleet,
        "sallyport_upstream_server_requests_in_flight",
        "Calls in flight, by server.",
        |server| server.state.in_flight() as u64,
    );
    page.text
}

fn servers(page: &mut Page, fleet: &Fleet, name: &'static str, help: &str, value: impl Fn(&Server) -> u64) {
    page.family(name, "gauge", help);
    for route in fleet.routes() {
        for server in &route.servers {
            let name = label(&route.config.name);
            page.sample(&format!("{{upstream=\"{name}\",server=\"{}\"}}", server.address), value(server));
        }
    }
}

fn upstream(name: &str) -> String {
    format!("{{upstream=\"{}\"}}", label(name))
}

/// Prometheus text format: backslash, quote and line feed are escaped in label values.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
