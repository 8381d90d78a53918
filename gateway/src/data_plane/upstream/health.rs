//! Active health checks: one core asks every server now and then, in the same way as calls go there.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::server::{millis, now_ms};
use super::{Route, Server};
use crate::config::Health;
use crate::data_plane::core::Core;
use crate::data_plane::http::{ResponseHead, Wire};
use crate::data_plane::rt;
use crate::metrics::Event;

/// How often is looked whether a check is due.
const LOOK: Duration = Duration::from_millis(100);

/// Checks until the gateway drains.
pub(in crate::data_plane) async fn run(core: Rc<Core>) {
    while !core.is_draining() {
        let live = core.live();
        for route in live.fleet.routes() {
            let Some(health) = &route.config.health else { continue };
            for server in &route.servers {
                let due = server.state.next_check_ms.load(Relaxed);
                let now = now_ms();
                if now >= due {
                    // The next one never begins before this one must have ended.
                    let pause = millis(health.every).max(millis(health.timeout) + millis(LOOK));
                    server.state.next_check_ms.store(now + pause, Relaxed);
                    rt::spawn(check(Rc::clone(&core), Arc::clone(route), Arc::clone(server), health.clone()));
                }
            }
        }
        drop(live);
        rt::sleep(LOOK).await;
    }
}

async fn check(core: Rc<Core>, route: Arc<Route>, server: Arc<Server>, health: Health) {
    let result = ask(&core, &route, &server, &health).await;
    let good = result.is_ok();
    core.shared.metrics.events.count(if good { Event::CheckGood } else { Event::CheckBad });
    if server.state.checked(good, health.healthy_after, health.unhealthy_after, now_ms()) {
        let (upstream, server) = (&route.config.name, server.address);
        match result {
            Ok(()) => tracing::info!(upstream, %server, "a server is healthy again and gets calls"),
            Err(why) => tracing::warn!(upstream, %server, why, "a server is not healthy and gets no calls"),
        }
    }
}

async fn ask(core: &Core, route: &Route, server: &Server, health: &Health) -> Result<(), String> {
    let channel = core.pool.connect(route, server, &core.watchdog).await.map_err(|error| error.to_string())?;
    let mut wire = Wire::new(channel);
    wire.socket.move_within(health.timeout);
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: {}\r\nuser-agent: sallyport-health\r\nconnection: close\r\n\r\n",
        health.path, server.authority
    );
    wire.socket.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    loop {
        match ResponseHead::parse(wire.unread(), false) {
            Ok(Some((head, length))) if head.is_interim() => wire.consume(length),
            Ok(Some((head, _))) if (200..400).contains(&head.status) => return Ok(()),
            Ok(Some((head, _))) => return Err(format!("it answered with status {}", head.status)),
            Err(error) => return Err(error.to_string()),
            Ok(None) => match wire.fill().await {
                Ok(1..) => {}
                _ if wire.socket.timed_out() => return Err("it did not answer in time".to_owned()),
                Ok(_) => return Err("it closed the connection".to_owned()),
                Err(error) => return Err(error.to_string()),
            },
        }
    }
}
