//! What all cores and the control plane see. Read-mostly: each part is an atomic, an `ArcSwap` or a short-held map.

use crate::approvals::Approvals;
use crate::clock::Clock;
use crate::config::Config;
use crate::credentials::Credentials;
use crate::identity::{Identification, Verifier};
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;
use crate::policy_slot::PolicySlot;
use audit_shipper::Evidence;
use std::sync::Arc;

/// The state of one running gateway.
#[derive(Debug)]
pub struct Shared {
    /// As loaded at start-up.
    pub config: Config,
    /// The time.
    pub clock: Clock,
    /// The active policy set.
    pub policy: PolicySlot,
    /// Who a token stands for.
    pub verifier: Arc<Verifier>,
    /// How callers that no core remembers are identified.
    pub identification: Identification,
    /// What is presented to model servers.
    pub credentials: Credentials,
    /// Calls that wait for people.
    pub approvals: Approvals,
    /// Counters.
    pub metrics: Metrics,
    /// Serving or draining.
    pub lifecycle: Lifecycle,
    /// The log.
    pub evidence: Arc<Evidence>,
}
