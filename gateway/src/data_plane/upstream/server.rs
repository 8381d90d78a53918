//! What is known about one server and what it bears. All cores read and write it: plain atomics, no lock. Figures may be a
//! moment old, which balancing can live with.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::config::{Ejection, Endpoint, Retries, Upstream};

/// Latencies are forgotten by half in about seven of these ten seconds.
const EWMA_TAU_MS: f64 = 10_000.0;
/// The share of calls that a server begins its slow start with.
const SLOW_START_FLOOR: f64 = 0.1;
/// The budget counts in thousandths of a retry.
const RETRY: i64 = 1000;

/// One server of an upstream.
#[derive(Debug)]
pub(crate) struct Server {
    /// Never used twice in the life of the process: the key of its pools.
    pub(crate) id: u64,
    pub(crate) address: SocketAddr,
    /// For the Host field.
    pub(crate) authority: String,
    /// How it is spoken to under TLS.
    pub(crate) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    pub(crate) state: Arc<State>,
}

/// How a server does. It outlives a reload.
#[derive(Debug)]
pub(crate) struct State {
    in_flight: AtomicUsize,
    /// Peak-sensitive moving average of the time to the first byte, µs; 0 is not known.
    ewma_us: AtomicU64,
    ewma_at_ms: AtomicU64,
    failures: AtomicUsize,
    ejections: AtomicUsize,
    ejected_until_ms: AtomicU64,
    /// When it came or came back, for the slow start; 0 is long ago.
    joined_ms: AtomicU64,
    healthy: AtomicBool,
    /// Checks in a row that were other than `healthy` says.
    contrary: AtomicUsize,
    pub(super) next_check_ms: AtomicU64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            in_flight: AtomicUsize::new(0),
            ewma_us: AtomicU64::new(0),
            ewma_at_ms: AtomicU64::new(0),
            failures: AtomicUsize::new(0),
            ejections: AtomicUsize::new(0),
            ejected_until_ms: AtomicU64::new(0),
            joined_ms: AtomicU64::new(0),
            // Until something speaks against it.
            healthy: AtomicBool::new(true),
            contrary: AtomicUsize::new(0),
            next_check_ms: AtomicU64::new(0),
        }
    }
}

impl Server {
    pub(super) fn new(
        upstream: &Upstream,
        endpoint: &Endpoint,
        address: SocketAddr,
        known: Option<&Self>,
        joins_others: bool,
    ) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let tls = upstream.tls.as_ref().filter(|_| endpoint.tls).and_then(|tls| {
            // An endpoint is an address or a DNS name, which both are names that certificates can have.
            let own = || ServerName::try_from(endpoint.host.clone()).ok();
            Some((Arc::clone(&tls.config), tls.server_name.clone().or_else(own)?))
        });
        let state = match known {
            Some(known) => Arc::clone(&known.state),
            None => Arc::default(),
        };
        if known.is_none() && joins_others {
            state.joined_ms.store(now_ms(), Relaxed);
        }
        // Plain connections outlive a reload; those under TLS are made anew, since its settings may have changed.
        let id = match known {
            Some(known) if tls.is_none() && known.tls.is_none() => known.id,
            _ => NEXT_ID.fetch_add(1, Relaxed),
        };
        Self { id, address, authority: endpoint.authority.clone(), tls, state }
    }
}

impl State {
    /// Calls in flight, over all cores.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// Counts a call until the result is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Whether it gets calls.
    pub(crate) fn available(&self, now_ms: u64) -> bool {
        self.is_healthy() && !self.is_ejected(now_ms)
    }

    /// What active checks say.
    pub(crate) fn is_healthy(&self) -> bool {
        self.healthy.load(Relaxed)
    }

    /// Whether it is left alone for a while.
    pub(crate) fn is_ejected(&self, now_ms: u64) -> bool {
        now_ms < self.ejected_until_ms.load(Relaxed)
    }

    /// How long it is still left alone, in ms; 0 if it is not.
    pub(crate) fn ejected_for_ms(&self, now_ms: u64) -> u64 {
        self.ejected_until_ms.load(Relaxed).saturating_sub(now_ms)
    }

    /// How often in a row it was left alone.
    pub(crate) fn ejections(&self) -> usize {
        self.ejections.load(Relaxed)
    }

    /// Failures since the last success.
    pub(crate) fn failures(&self) -> usize {
        self.failures.load(Relaxed)
    }

    /// Expected time to the first byte, in µs; 0 if not known.
    pub(crate) fn usual_latency_us(&self) -> u64 {
        self.ewma_us.load(Relaxed)
    }

    /// The cost of sending it one more call: expected latency × calls in flight, dearer while it starts slowly. `None` for the
    /// latency when nothing is known.
    pub(super) fn cost(&self, now_ms: u64, slow_start: Duration) -> Cost {
        Cost {
            latency_us: self.latency_us(now_ms),
            burden: (self.in_flight() + 1) as f64 / self.share(now_ms, slow_start),
        }
    }

    /// Forgets with time, so that a server which was slow once is tried again.
    fn latency_us(&self, now_ms: u64) -> Option<f64> {
        let ewma = self.ewma_us.load(Relaxed);
        let age_ms = now_ms.saturating_sub(self.ewma_at_ms.load(Relaxed)) as f64;
        (ewma > 0).then(|| (ewma as f64 * (-age_ms / EWMA_TAU_MS).exp()).max(1.0))
    }

    fn share(&self, now_ms: u64, slow_start: Duration) -> f64 {
        let joined_ms = self.joined_ms.load(Relaxed).max(self.ejected_until_ms.load(Relaxed));
        if joined_ms == 0 {
            return 1.0;
        }
        let part = now_ms.saturating_sub(joined_ms) as f64 / (slow_start.as_millis().max(1) as f64);
        part.clamp(SLOW_START_FLOOR, 1.0)
    }

    /// An answer began: a worse latency counts at once, a better one little by little (peak-EWMA).
    pub(crate) fn answered(&self, latency_us: u64, now_ms: u64) {
        self.failures.store(0, Relaxed);
        let sample = latency_us.max(1) as f64;
        let next = match self.latency_us(now_ms) {
            Some(old) if sample < old => {
                let age_ms = now_ms.saturating_sub(self.ewma_at_ms.load(Relaxed)) as f64;
                let weight = (-age_ms / EWMA_TAU_MS).exp().min(0.95);
                old * weight + sample * (1.0 - weight)
            }
            _ => sample,
        };
        self.ewma_us.store(next as u64, Relaxed);
        self.ewma_at_ms.store(now_ms, Relaxed);
    }

    /// A call failed by this server's fault. True if it is to be ejected: [`Self::eject`].
    pub(super) fn failed(&self, rules: &Ejection) -> bool {
        let failures = self.failures.fetch_add(1, Relaxed) + 1;
        rules.after > 0 && failures >= rules.after
    }

    /// Leaves it alone for a while, longer each time it comes to that soon again.
    pub(super) fn eject(&self, rules: &Ejection, now_ms: u64) {
        let at_most_ms = millis(rules.at_most);
        let last_ended = self.ejected_until_ms.load(Relaxed);
        if now_ms > last_ended.saturating_add(at_most_ms) {
            self.ejections.store(0, Relaxed);
        }
        let times = self.ejections.fetch_add(1, Relaxed) as u64 + 1;
        let long_ms = millis(rules.base).saturating_mul(times).min(at_most_ms);
        self.failures.store(0, Relaxed);
        self.ejected_until_ms.store(now_ms.saturating_add(long_ms), Relaxed);
    }

    /// Takes the result of an active check. Returns whether the server's standing changed.
    pub(super) fn checked(&self, good: bool, healthy_after: usize, unhealthy_after: usize, now_ms: u64) -> bool {
        if good == self.is_healthy() {
            self.contrary.store(0, Relaxed);
            return false;
        }
        let needed = if good { healthy_after } else { unhealthy_after };
        if self.contrary.fetch_add(1, Relaxed) + 1 < needed {
            return false;
        }
        self.contrary.store(0, Relaxed);
        self.healthy.store(good, Relaxed);
        if good {
            self.joined_ms.store(now_ms, Relaxed);
        }
        true
    }
}

/// What one more call would cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    latency_us: Option<f64>,
    burden: f64,
}

impl Cost {
    /// Whether this is the cheaper one. While one latency is not known, only what they bear counts.
    pub(super) fn is_below(&self, other: &Self) -> bool {
        match (self.latency_us, other.latency_us) {
            (Some(own), Some(others)) => own * self.burden < others * other.burden,
            _ => self.burden < other.burden,
        }
    }
}

/// A counted call.
#[derive(Debug)]
pub(super) struct InFlight(Arc<State>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// What an upstream bears, over all cores. It outlives a reload.
#[derive(Debug, Default)]
pub(crate) struct Burden {
    pub(crate) in_flight: AtomicUsize,
    pub(crate) connections: AtomicUsize,
    /// Spent retries less those that calls have paid for, in thousandths; 0 is a full budget.
    spent: AtomicI64,
}

impl Burden {
    /// Counts one up to `max`, until the result is dropped.
    pub(crate) fn begin_call(self: &Arc<Self>, max: usize) -> Option<Counted> {
        Counted::one(self, |burden| &burden.in_flight, max)
    }

    /// Counts one connection up to `max`, until the result is dropped.
    pub(super) fn open_connection(self: &Arc<Self>, max: usize) -> Option<Counted> {
        Counted::one(self, |burden| &burden.connections, max)
    }

    /// Each call pays for a part of a retry.
    pub(super) fn earn(&self, rules: &Retries) {
        let earned = i64::try_from(rules.percent).unwrap_or(i64::MAX).saturating_mul(RETRY / 100);
        let pay = |spent: i64| (spent > 0).then(|| spent.saturating_sub(earned).max(0));
        // Nothing to pay back is the usual case.
        let _ = self.spent.fetch_update(Relaxed, Relaxed, pay);
    }

    /// Takes one retry, if there is one.
    pub(super) fn spend(&self, rules: &Retries) -> bool {
        let burst = i64::try_from(rules.burst).unwrap_or(i64::MAX).saturating_mul(RETRY);
        let take = |spent: i64| (spent.saturating_add(RETRY) <= burst).then_some(spent.saturating_add(RETRY));
        self.spent.fetch_update(Relaxed, Relaxed, take).is_ok()
    }
}

/// One of something that is counted.
#[derive(Debug)]
pub(crate) struct Counted {
    burden: Arc<Burden>,
    counter: fn(&Burden) -> &AtomicUsize,
}

impl Counted {
    fn one(burden: &Arc<Burden>, counter: fn(&Burden) -> &AtomicUsize, max: usize) -> Option<Self> {
        let counted = Self { burden: Arc::clone(burden), counter };
        // Dropping the one too many takes it away again.
        (counter(burden).fetch_add(1, Relaxed) < max).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.counter)(&self.burden).fetch_sub(1, Relaxed);
    }
}

/// Milliseconds of a clock that all cores share.
pub(crate) fn now_ms() -> u64 {
    // Never 0, which stands for long ago.
    audit_shipper::Moment::now().mono_us / 1000 + 1
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Ejection =
        Ejection { after: 3, base: Duration::from_secs(10), at_most: Duration::from_secs(25), share_percent: 100 };

    #[test]
    fn failures_in_a_row_eject_for_longer_each_time() {
        let state = State::default();
        assert!(!state.failed(&RULES) && !state.failed(&RULES));
        state.answered(1000, 0);
        assert!(!state.failed(&RULES) && !state.failed(&RULES) && state.failed(&RULES));
        for (at, until) in [(100_000, 110_000), (120_000, 140_000), (150_000, 175_000)] {
            state.eject(&RULES, at);
            assert!(state.is_ejected(until - 1) && !state.is_ejected(until), "{at}");
        }
        state.eject(&RULES, 300_000);
        assert!(!state.is_ejected(310_000), "long good behaviour is remembered");
    }

    #[test]
    fn a_peak_counts_at_once_and_is_forgotten_slowly() {
        let state = State::default();
        assert!(state.latency_us(0).is_none());
        state.answered(1_000, 1_000);
        state.answered(100_000, 1_000);
        assert!(state.latency_us(1_000).is_some_and(|us| us >= 99_999.0));
        state.answered(1_000, 1_010);
        assert!(state.latency_us(1_010).is_some_and(|us| us > 50_000.0));
        assert!(state.latency_us(61_000).is_some_and(|us| us < 1_000.0));
    }

    #[test]
    fn who_comes_back_starts_slowly() {
        let state = State::default();
        let slow = Duration::from_secs(10);
        assert_eq!(state.share(50_000, slow), 1.0);
        assert!(!state.checked(false, 2, 2, 50_000) && state.checked(false, 2, 2, 50_000));
        assert!(!state.available(50_000));
        assert!(!state.checked(true, 2, 2, 60_000) && state.checked(true, 2, 2, 60_000));
        assert_eq!(state.share(60_000, slow), SLOW_START_FLOOR);
        assert_eq!(state.share(65_000, slow), 0.5);
        assert_eq!(state.share(75_000, slow), 1.0);
    }

    #[test]
    fn retries_are_paid_for_by_calls() {
        let (burden, rules) = (Burden::default(), Retries { percent: 50, burst: 2 });
        assert!(burden.spend(&rules) && burden.spend(&rules) && !burden.spend(&rules));
        burden.earn(&rules);
        assert!(!burden.spend(&rules));
        burden.earn(&rules);
        assert!(burden.spend(&rules) && !burden.spend(&rules));
    }

    #[test]
    fn counting_stops_at_the_limit() {
        let burden = Arc::new(Burden::default());
        let first = burden.begin_call(1);
        assert!(first.is_some() && burden.begin_call(1).is_none());
        drop(first);
        assert!(burden.begin_call(1).is_some());
    }
}
