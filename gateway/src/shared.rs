//! What all cores and the control plane see. Read-mostly: each part is an atomic, an `ArcSwap` or a short-held map.

use crate::alerts::Alerts;
use crate::approvals::Approvals;
use crate::clock::Clock;
use crate::config::Config;
use crate::identity::{Identification, Verifier};
use crate::lifecycle::Lifecycle;
use crate::limits::Limits;
use crate::live::LiveSlot;
use crate::metrics::Metrics;
use crate::policy_slot::PolicySlot;
use crate::second_opinion::SecondOpinion;
use crate::telemetry::Telemetry;
use crate::token_vault::TokenVault;
use audit_shipper::{Evidence, Sealer};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// Reads a configuration; the error is for people.
pub type Source = Arc<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// The state of one running gateway.
pub struct Shared {
    /// As loaded at start-up: what is read only then (addresses, cores, data, evidence, who may call) counts from here.
    pub config: Config,
    /// The configuration in force, with all that a reload replaces.
    pub live: LiveSlot,
    /// Reads the configuration again, as it was read at start-up; `None` where it came from no file.
    pub source: Option<Source>,
    /// What all cores bear together.
    pub load: Load,
    /// The time.
    pub clock: Clock,
    /// The active policy set.
    pub policy: PolicySlot,
    /// Checks native code now and then.
    pub second_opinion: SecondOpinion,
    /// What rate limits let through.
    pub limits: Arc<Limits>,
    /// Who a token stands for.
    pub verifier: Arc<Verifier>,
    /// How callers that no core remembers are identified.
    pub identification: Identification,
    /// Calls that wait for people.
    pub approvals: Approvals,
    /// What cores have to say that people may be alerted of.
    pub alerts: Alerts,
    /// What stands behind the placeholders of `as token`.
    pub tokens: TokenVault,
    /// Counters.
    pub metrics: Metrics,
    /// What is told of calls besides the evidence.
    pub telemetry: Telemetry,
    /// Serving or draining.
    pub lifecycle: Lifecycle,
    /// The log.
    pub evidence: Arc<Evidence>,
    /// Seals originals that the policy wants sealed; `None` without `[evidence] seal_to`.
    pub sealer: Option<Sealer>,
}

/// What all cores bear together; each counts its own beside.
#[derive(Debug, Default)]
pub struct Load {
    /// Connections of callers.
    pub connections: AtomicUsize,
    /// Calls in flight.
    pub in_flight: AtomicUsize,
}
