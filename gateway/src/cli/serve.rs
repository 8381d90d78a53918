//! Starting a gateway, and what happens until it has ended. The order matters: nothing listens for calls before the
//! evidence is open, the policy is loaded and both are written down; nothing is closed before the last call is.

use super::Failure;
use crate::approvals::Approvals;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::control::{ControlPlane, Own};
use crate::credentials::Credentials;
use crate::data_plane::{self, DataPlane};
use crate::dev_issuer::DevIssuer;
use crate::identity::{Identification, Verifier};
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;
use crate::policy_slot::{self, PolicySlot, Prepared};
use crate::shared::Shared;
use audit_shipper::{Evidence, Options};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::JoinHandle;

/// What shells see of a process that an interrupt ended: 128 + SIGINT.
const INTERRUPTED: i32 = 130;

/// Where a started gateway listens, with the real ports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) gateway: SocketAddr,
    pub(super) admin: SocketAddr,
}

/// Starts a gateway, tells `started` where it listens, and returns when it has drained.
pub(super) fn serve(
    config: Config,
    dev_issuer: Option<&DevIssuer>,
    started: impl FnOnce(Addresses),
) -> Result<(), Failure> {
    // Before any thread starts, so that no signal finds nobody to hear it.
    let signals = Signals::new([SIGINT, SIGTERM]).map_err(Failure::bad)?;
    let cores = cores(&config);
    data_plane::preflight::check(cores).map_err(Failure::bad)?;
    let evidence = Arc::new(open_evidence(&config, cores)?);
    let running = start(config, cores, dev_issuer, Arc::clone(&evidence));
    let ended = match running {
        Ok(running) => {
            started(running.addresses());
            running.until_drained(signals)
        }
        Err(failure) => Err(failure),
    };
    // Also after a failed start: what was written is closed and signed.
    let closed = evidence.close().map_err(|error| Failure::bad(format!("the evidence could not be closed: {error}")));
    ended.and(closed)
}

struct Running {
    shared: Arc<Shared>,
    control: ControlPlane,
    data_plane: DataPlane,
}

fn start(
    config: Config,
    cores: usize,
    dev_issuer: Option<&DevIssuer>,
    evidence: Arc<Evidence>,
) -> Result<Running, Failure> {
    let policy = load_policy(&config)?;
    let verifier = Arc::new(Verifier::new(&config.issuers, &config.identity));
    if let Some(issuer) = dev_issuer {
        verifier.install(0, issuer.keys().map_err(Failure::bad)?, 0);
    }
    let (identification, opaque_tokens) = Identification::start(&verifier, &config.identity).map_err(Failure::bad)?;
    // The cores take the producers from 0 on; the last one is the control plane's.
    let producer =
        evidence.producer(cores).ok_or_else(|| Failure::bad("the evidence has no queue for the control plane"))?;
    let (clock, key) = (Clock::system(), evidence.mac("approval binding key", &[]));
    let (approvals, events) = Approvals::new(clock.clone(), &key);
    let shared = Arc::new(Shared {
        credentials: Credentials::new(&config.upstreams),
        config,
        clock,
        policy: PolicySlot::new(policy),
        verifier,
        identification,
        approvals,
        metrics: Metrics::default(),
        lifecycle: Lifecycle::default(),
        evidence,
    });
    let control =
        ControlPlane::start(Arc::clone(&shared), Own { producer, events, opaque_tokens }).map_err(Failure::bad)?;
    match data_plane::serve(&shared, cores) {
        Ok(data_plane) => Ok(Running { shared, control, data_plane }),
        Err(error) => {
            shared.lifecycle.mark_drained();
            control.join();
            Err(Failure::bad(error))
        }
    }
}

impl Running {
    fn addresses(&self) -> Addresses {
        Addresses { gateway: self.data_plane.address, admin: self.control.address }
    }

    /// The first signal drains, the second ends the process at once (the next start finds the open calls and records them
    /// as aborted).
    fn until_drained(self, mut signals: Signals) -> Result<(), Failure> {
        let Self { shared, control, data_plane } = self;
        let stop_listening = signals.handle();
        let lifecycle = Arc::clone(&shared);
        let ending: JoinHandle<Result<(), Failure>> = std::thread::spawn(move || {
            let ended = data_plane.join().map_err(Failure::bad);
            let asked_to = lifecycle.lifecycle.is_draining();
            lifecycle.lifecycle.mark_drained();
            control.join();
            stop_listening.close();
            ended?;
            if asked_to { Ok(()) } else { Err(Failure::bad("every core ended although nobody asked them to")) }
        });
        for _ in signals.forever() {
            if shared.lifecycle.is_draining() {
                eprintln!("sallyport: ended at once; open calls are recorded as aborted at the next start");
                std::process::exit(INTERRUPTED);
            }
            let drain = shared.config.listen.limits.drain;
            eprintln!(
                "sallyport: draining: {} calls in flight, at most {} s; once more to end at once",
                shared.metrics.in_flight(),
                drain.as_secs()
            );
            shared.lifecycle.begin_drain();
        }
        ending.join().unwrap_or_else(|_| Err(Failure::bad("waiting for the cores panicked")))
    }
}

fn cores(config: &Config) -> usize {
    config.listen.cores.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZero::get))
}

fn open_evidence(config: &Config, cores: usize) -> Result<Evidence, Failure> {
    let wanted = &config.evidence;
    let mut options = Options::new(&config.data, wanted.origin.clone());
    options.producers = cores + 1;
    options.durability = match wanted.durability {
        config::Durability::Strict => audit_shipper::Durability::Strict,
        config::Durability::Crash => audit_shipper::Durability::Crash,
        config::Durability::Observe => audit_shipper::Durability::Observe,
    };
    options.on_failure = match wanted.on_failure {
        config::OnFailure::Refuse => audit_shipper::OnFailure::Refuse,
        config::OnFailure::Continue => audit_shipper::OnFailure::Continue,
    };
    if let Some(key) = &wanted.key {
        options.log_key.clone_from(key);
    }
    if let Some(keystore) = &wanted.keystore {
        options.keystore.clone_from(keystore);
    }
    Evidence::open(options).map_err(Failure::bad)
}

/// The first policy set must be good: without one no call could be judged.
pub(super) fn load_policy(config: &Config) -> Result<Prepared, Failure> {
    let path = config.policy.display();
    let prepared = policy_slot::prepare(&config.policy)
        .map_err(|error| Failure::bad(format!("the policy set {path} cannot be used\n{}", error.render(false))))?;
    if !prepared.warnings.is_empty() {
        eprint!("{}", prepared.warnings.render(false));
    }
    Ok(prepared)
}
