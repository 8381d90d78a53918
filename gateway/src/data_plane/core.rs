//! What one core owns, and its cached views of what all cores share. Nothing here is locked.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use audit_shipper::Producer;

use super::flood::Flood;
use super::plans::PlanCache;
use super::rt::Watchdog;
use super::upstream::{Pool, Route};
use crate::identity::TokenCache;
use crate::policy_slot::ActivePolicy;
use crate::shared::Shared;

/// The state of one core.
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) routes: Arc<Vec<Route>>,
    pub(crate) watchdog: Rc<Watchdog>,
    pub(crate) pool: Pool,
    pub(crate) tokens: RefCell<TokenCache>,
    pub(crate) producer: RefCell<Producer>,
    pub(crate) plans: RefCell<PlanCache>,
    pub(super) flood: RefCell<Flood>,
    policy: RefCell<Arc<ActivePolicy>>,
    connections: Cell<usize>,
}

impl Core {
    pub(super) fn new(shared: Arc<Shared>, routes: Arc<Vec<Route>>, producer: Producer) -> Rc<Self> {
        let policy = shared.policy.current();
        Rc::new(Self {
            routes,
            watchdog: Watchdog::new(),
            pool: Pool::default(),
            tokens: RefCell::new(TokenCache::new()),
            producer: RefCell::new(producer),
            plans: RefCell::default(),
            flood: RefCell::default(),
            policy: RefCell::new(policy),
            connections: Cell::new(0),
            shared,
        })
    }

    /// The policy in force: one atomic load while it has not changed. A call keeps what it got to its end.
    pub(crate) fn policy(&self) -> Arc<ActivePolicy> {
        let mut cached = self.policy.borrow_mut();
        if cached.generation != self.shared.policy.generation() {
            *cached = self.shared.policy.current();
            *self.plans.borrow_mut() = PlanCache::default();
        }
        Arc::clone(&cached)
    }

    /// Whether the gateway is on its way down.
    pub(crate) fn is_draining(&self) -> bool {
        self.shared.lifecycle.is_draining()
    }

    /// Connections of callers on this core.
    pub(super) fn connections(&self) -> usize {
        self.connections.get()
    }

    /// Counts a connection until the result is dropped.
    pub(super) fn count_connection(self: &Rc<Self>) -> Counted {
        self.connections.set(self.connections.get() + 1);
        Counted(Rc::clone(self))
    }
}

/// A counted connection.
pub(super) struct Counted(Rc<Core>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.set(self.0.connections.get().saturating_sub(1));
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
