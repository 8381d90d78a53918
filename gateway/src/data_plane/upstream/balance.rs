//! Which server of an upstream gets a call: of two taken at random, the one where it is expected to cost less (power of two
//! choices over peak-EWMA latency × calls in flight).

use std::sync::Arc;

use super::{Route, Server};

impl Route {
    /// A server that was not `tried` yet; one that is ill or ejected only when no other is left. `random` is any number.
    pub(super) fn pick(&self, tried: &[u64], random: u64, now_ms: u64) -> Option<&Arc<Server>> {
        let untried = |server: &&Arc<Server>| !tried.contains(&server.id);
        let good = |server: &&Arc<Server>| untried(server) && server.state.available(now_ms);
        match self.servers.iter().filter(good).count() {
            0 => self.cheaper(untried, self.servers.iter().filter(untried).count(), random, now_ms),
            count => self.cheaper(good, count, random, now_ms),
        }
    }

    fn cheaper(
        &self,
        among: impl Fn(&&Arc<Server>) -> bool,
        count: usize,
        random: u64,
        now_ms: u64,
    ) -> Option<&Arc<Server>> {
        let nth = |n: usize| self.servers.iter().filter(&among).nth(n);
        let (low, high) = ((random & 0xffff_ffff) as usize, (random >> 32) as usize);
        let first = low.checked_rem(count)?;
        let a = nth(first)?;
        // Another one than the first, each with the same chance.
        let Some(step) = high.checked_rem(count - 1) else { return Some(a) };
        let b = nth((first + 1 + step) % count)?;
        let slow_start = self.config.slow_start;
        let (cost_a, cost_b) = (a.state.cost(now_ms, slow_start), b.state.cost(now_ms, slow_start));
        Some(if cost_b.is_below(&cost_a) { b } else { a })
    }

    /// A call failed by a server's fault. Returns whether that got it ejected.
    pub(crate) fn blame(&self, server: &Server, now_ms: u64) -> bool {
        let rules = &self.config.ejection;
        if !server.state.failed(rules) || server.state.is_ejected(now_ms) {
            return false;
        }
        let ejected = self.servers.iter().filter(|own| own.state.is_ejected(now_ms)).count();
        if (ejected + 1) * 100 > self.servers.len() * rules.share_percent {
            return false;
        }
        server.state.eject(rules, now_ms);
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashMap;

    use super::super::Fleet;
    use super::*;
    use crate::config::{self, Config};

    fn route(servers: usize) -> (Fleet, Arc<Route>) {
        let endpoints: Vec<String> = (1..=servers).map(|n| format!("\"http://127.0.0.{n}:9\"")).collect();
        let text = format!(
            "data = \"d\"\n[listen]\naddress = \"127.0.0.1:0\"\n[[issuer]]\nurl = \"http://i\"\naudience = [\"a\"]\n\
             [[upstream]]\nname = \"u\"\nendpoints = [{}]\n[policy]\npath = \"p\"\n",
            endpoints.join(",")
        );
        let config: Config = config::parse(std::path::Path::new("s.toml"), &text).unwrap();
        let fleet = Fleet::resolve(&config, None).unwrap();
        let route = Arc::clone(fleet.get(0).unwrap());
        (fleet, route)
    }

    /// How often each server is picked in a thousand calls.
    fn picks(route: &Route, now_ms: u64) -> HashMap<u64, usize> {
        let mut seen = HashMap::new();
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..1000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            *seen.entry(route.pick(&[], random, now_ms).unwrap().id).or_insert(0) += 1;
        }
        seen
    }

    #[test]
    fn equal_servers_share_and_slow_ones_get_less() {
        let (_, route) = route(4);
        let seen = picks(&route, 1);
        assert!(seen.len() == 4 && seen.values().all(|count| *count > 150), "{seen:?}");
        for (server, latency_us) in route.servers.iter().zip([1_000, 1_000, 1_000, 50_000]) {
            server.state.answered(latency_us, 1);
        }
        let seen = picks(&route, 1);
        assert_eq!(seen.get(&route.servers[3].id), None, "never the worse of two");
    }

    #[test]
    fn burdened_servers_get_less() {
        let (_, route) = route(2);
        let held: Vec<_> = (0..3).map(|_| route.servers[0].state.begin()).collect();
        assert_eq!(picks(&route, 1).get(&route.servers[1].id), Some(&1000));
        drop(held);
        assert_eq!(picks(&route, 1).len(), 2);
    }

    #[test]
    fn ejected_servers_rest_but_never_more_than_the_share() {
        let (_, route) = route(2);
        let fail = |index: usize| (0..5).any(|_| route.blame(&route.servers[index], 1));
        assert!(fail(0), "one of two is half");
        assert!(!fail(1), "both would be too many");
        assert_eq!(picks(&route, 2).get(&route.servers[1].id), Some(&1000));
        assert_eq!(picks(&route, 60_000).len(), 2);
    }

    #[test]
    fn without_a_good_server_all_are_tried() {
        let (_, route) = route(2);
        for server in &route.servers {
            assert!(server.state.checked(false, 1, 1, 1));
        }
        assert_eq!(picks(&route, 2).len(), 2);
        let tried: Vec<u64> = route.servers.iter().map(|server| server.id).collect();
        assert!(route.pick(&tried, 7, 2).is_none());
    }

    #[test]
    fn what_is_known_outlives_a_reload() {
        let (fleet, route) = route(2);
        route.servers[0].state.eject(&route.config.ejection, 1);
        let mut config = route.config.clone();
        config.endpoints.remove(1);
        let next = Route::resolve(&config, &crate::config::Limits::default(), fleet.get(0).map(AsRef::as_ref)).unwrap();
        assert!(next.servers[0].state.is_ejected(2) && next.servers[0].id == route.servers[0].id);
        assert_eq!(next.servers.len(), 1);
    }
}
