//! What one core owns, and its cached views of what all cores share. Nothing here is locked.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use audit_shipper::Producer;

use super::flood::Flood;
use super::overload::TOLD_AT_ONCE;
use super::plans::PlanCache;
use super::rt::Watchdog;
use super::upstream::Pool;
use crate::clock::Moment;
use crate::identity::TokenCache;
use crate::live::Live;
use crate::policy_slot::ActivePolicy;
use crate::shared::{Load, Shared};

/// The state of one core.
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) watchdog: Rc<Watchdog>,
    pub(super) pool: Pool,
    pub(crate) tokens: RefCell<TokenCache>,
    pub(crate) producer: RefCell<Producer>,
    pub(crate) plans: RefCell<PlanCache>,
    pub(super) flood: RefCell<Flood>,
    policy: RefCell<Arc<ActivePolicy>>,
    live: RefCell<Rc<Held>>,
    connections: Cell<usize>,
    handshakes: Cell<usize>,
    told: Cell<usize>,
    in_flight: Cell<usize>,
    leaving: Cell<bool>,
    /// Calls since native code was checked last.
    unsampled: Cell<u64>,
    /// The moment as policies read it, and the minute for which it holds.
    moment: Cell<Option<(u64, Moment)>>,
}

impl Core {
    pub(super) fn new(shared: Arc<Shared>, producer: Producer, watchdog: Rc<Watchdog>) -> Rc<Self> {
        let (policy, live) = (shared.policy.current(), shared.live.current());
        Rc::new(Self {
            watchdog,
            pool: Pool::default(),
            tokens: RefCell::new(TokenCache::new()),
            producer: RefCell::new(producer),
            plans: RefCell::default(),
            flood: RefCell::default(),
            policy: RefCell::new(policy),
            live: RefCell::new(Rc::new(Held(live))),
            connections: Cell::new(0),
            handshakes: Cell::new(0),
            told: Cell::new(0),
            in_flight: Cell::new(0),
            leaving: Cell::new(false),
            unsampled: Cell::new(0),
            moment: Cell::new(None),
            shared,
        })
    }

    /// The policy in force: one atomic load while it has not changed. A call keeps what it got to its end.
    pub(crate) fn policy(&self) -> Arc<ActivePolicy> {
        let mut cached = self.policy.borrow_mut();
        if cached.generation != self.shared.policy.generation() {
            *cached = self.shared.policy.current();
        }
        Arc::clone(&cached)
    }

    /// The configuration in force: one atomic load while it has not changed. A call keeps what it got to its end; the count
    /// of its holders is this core's own.
    pub(crate) fn live(&self) -> Rc<Held> {
        let mut cached = self.live.borrow_mut();
        if cached.generation != self.shared.live.generation() {
            *cached = Rc::new(Held(self.shared.live.current()));
            self.pool.tidy(&cached.fleet, self.watchdog.now_ms(), &self.shared.metrics);
        }
        Rc::clone(&cached)
    }

    /// The time as policies read it. Zones change their offset on the minute, so it is worked out once in each.
    pub(crate) fn moment(&self) -> Moment {
        let minute = self.shared.clock.unix_s() / 60;
        if let Some((known, moment)) = self.moment.get()
            && known == minute
        {
            return moment;
        }
        let moment = self.shared.clock.moment(&self.shared.config.facts.zone);
        self.moment.set(Some((minute, moment)));
        moment
    }

    /// Whether the next decision is judged by the interpreter, too.
    pub(super) fn is_sampled(&self) -> bool {
        self.shared.second_opinion.is_due(&self.unsampled)
    }

    /// Whether the gateway is on its way down.
    pub(crate) fn is_draining(&self) -> bool {
        self.shared.lifecycle.is_draining()
    }

    /// Whether callers get no further call on their connections: after the lag of a drain.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.get()
    }

    /// From now on.
    pub(super) fn leave(&self) {
        self.leaving.set(true);
    }

    /// Connections of callers on this core.
    pub(super) fn connections(&self) -> usize {
        self.connections.get()
    }

    /// Counts a connection until the result is dropped; `None` where there are as many as there may be.
    pub(super) fn count_connection(self: &Rc<Self>) -> Option<Counted> {
        let live = self.live();
        let limits = &live.config.listen.limits;
        let in_all: Option<InAll> = Some((|load| &load.connections, limits.connections));
        Counted::one(self, |core| &core.connections, limits.connections_per_core, in_all)
    }

    /// Likewise for a TLS handshake.
    pub(super) fn count_handshake(self: &Rc<Self>) -> Option<Counted> {
        let max = self.live().config.listen.limits.handshakes_per_core;
        Counted::one(self, |core| &core.handshakes, max, None)
    }

    /// Likewise for a connection that is told that there is no room for it.
    pub(super) fn count_told(self: &Rc<Self>) -> Option<Counted> {
        Counted::one(self, |core| &core.told, TOLD_AT_ONCE, None)
    }

    /// Likewise for a call.
    pub(super) fn count_call(self: &Rc<Self>) -> Option<Counted> {
        let live = self.live();
        let limits = &live.config.listen.limits;
        let in_all: Option<InAll> = Some((|load| &load.in_flight, limits.in_flight));
        Counted::one(self, |core| &core.in_flight, limits.in_flight_per_core, in_all)
    }
}

/// A configuration in force, as one core holds it.
pub(crate) struct Held(Arc<Live>);

impl std::ops::Deref for Held {
    type Target = Live;

    fn deref(&self) -> &Live {
        &self.0
    }
}

/// A counter that all cores share, and its limit.
type InAll = (fn(&Load) -> &AtomicUsize, usize);

/// One of something that a core counts.
pub(super) struct Counted {
    core: Rc<Core>,
    own: fn(&Core) -> &Cell<usize>,
    in_all: Option<fn(&Load) -> &AtomicUsize>,
}

impl Counted {
    fn one(core: &Rc<Core>, own: fn(&Core) -> &Cell<usize>, max: usize, in_all: Option<InAll>) -> Option<Self> {
        let before = own(core).get();
        own(core).set(before + 1);
        let counted = Self { core: Rc::clone(core), own, in_all: in_all.map(|(counter, _)| counter) };
        let fits = in_all.is_none_or(|(counter, max)| counter(&core.shared.load).fetch_add(1, Relaxed) < max);
        // Dropping the one too many takes it away again.
        (fits && before < max).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let own = (self.own)(&self.core);
        own.set(own.get().saturating_sub(1));
        if let Some(counter) = self.in_all {
            counter(&self.core.shared.load).fetch_sub(1, Relaxed);
        }
    }
}

/// Waits until every connection of the core ended, at most so long.
pub(super) async fn quiet(core: &Core, at_most: Duration) {
    let step = Duration::from_millis(20);
    let mut left = at_most;
    while core.connections() > 0 && !left.is_zero() {
        super::rt::sleep(step).await;
        left = left.saturating_sub(step);
    }
}
