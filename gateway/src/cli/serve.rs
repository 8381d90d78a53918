//! Starting a gateway, and what happens until it has ended. The order matters: nothing listens for calls before the
//! evidence is open, the policy is loaded and both are written down; nothing is closed before the last call is.

use super::Failure;
use crate::alerts::Alerts;
use crate::approvals::Approvals;
use crate::clock::{Clock, monotonic_now};
use crate::config::{self, Config};
use crate::control::{ControlPlane, Own};
use crate::data_plane::{self, DataPlane, Sockets};
use crate::dev_issuer::DevIssuer;
use crate::identity::{Identification, Verifier};
use crate::lifecycle::take_over::{self, Offer};
use crate::lifecycle::{Lifecycle, notify};
use crate::limits::Limits;
use crate::live::LiveSlot;
use crate::metrics::Metrics;
use crate::policy_slot::{self, PolicySlot, Prepared};
use crate::second_opinion::SecondOpinion;
use crate::shared::{Load, Shared, Source};
use crate::telemetry::Telemetry;
use crate::token_vault::TokenVault;
use audit_shipper::{Evidence, EvidenceError, Options, Sealer};
use aws_lc_rs::digest;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::Read as _;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// What shells see of a process that an interrupt ended: 128 + SIGINT.
const INTERRUPTED: i32 = 130;
/// How long a predecessor may take to end beyond its time for draining.
const PREDECESSOR_ENDS: Duration = Duration::from_secs(30);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Where a started gateway listens, with the real ports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) gateway: SocketAddr,
    pub(super) admin: SocketAddr,
}

/// Starts a gateway, tells `started` where it listens, and returns when it has drained.
pub(super) fn serve(config: Config, how: How<'_>, started: impl FnOnce(Addresses)) -> Result<(), Failure> {
    // Before any thread starts, so that no signal finds nobody to hear it.
    let signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(Failure::bad)?;
    let cores = cores(&config);
    data_plane::preflight::check(cores).map_err(Failure::bad)?;
    // Everything that can be wrong is found before a running gateway is asked to go.
    let policy = load_policy(&config)?;
    let live = LiveSlot::new(config.clone()).map_err(Failure::bad)?;
    let sockets = sockets(&config, cores, how.take_over)?;
    let evidence = Arc::new(open_evidence(&config, cores, how.take_over)?);
    let prepared = Ready { policy, live, sockets };
    let running = start(config, how, cores, prepared, Arc::clone(&evidence));
    let ended = match running {
        Ok(running) => {
            started(running.addresses());
            notify::ready();
            running.until_drained(signals)
        }
        Err(failure) => Err(failure),
    };
    // Also after a failed start: what was written is closed and signed.
    let closed = evidence.close().map_err(|error| Failure::bad(format!("the evidence could not be closed: {error}")));
    ended.and(closed)
}

/// How this process came to serve.
#[derive(Default)]
pub(super) struct How<'a> {
    /// Where the configuration comes from, to read it again.
    pub(super) source: Option<Source>,
    /// The embedded issuer of the quickstart.
    pub(super) dev_issuer: Option<&'a DevIssuer>,
    /// Whether to replace a gateway that runs with the same data directory.
    pub(super) take_over: bool,
}

/// What was prepared before anything was opened.
struct Ready {
    policy: Prepared,
    live: LiveSlot,
    sockets: Sockets,
}

struct Running {
    shared: Arc<Shared>,
    control: ControlPlane,
    data_plane: DataPlane,
    offer: Offer,
}

/// From the gateway that is replaced, from the service manager, or bound here.
fn sockets(config: &Config, cores: usize, may_take_over: bool) -> Result<Sockets, Failure> {
    if may_take_over {
        match take_over::take(&config.data).map_err(Failure::bad)? {
            Some(listeners) => {
                tracing::info!(
                    sockets = listeners.len(),
                    "took the listening sockets over; the old process finishes its calls"
                );
                return Sockets::inherited(listeners).map_err(Failure::bad);
            }
            None => {
                tracing::info!(data = %config.data.display(), "no gateway runs with this data directory, so there is nothing to take over")
            }
        }
    }
    match Sockets::from_service_manager().map_err(Failure::bad)? {
        Some(sockets) => Ok(sockets),
        None => Sockets::bind(config.listen.address, cores).map_err(Failure::bad),
    }
}

fn start(
    config: Config,
    how: How<'_>,
    cores: usize,
    ready: Ready,
    evidence: Arc<Evidence>,
) -> Result<Running, Failure> {
    let Ready { policy, live, sockets } = ready;
    let verifier = Arc::new(Verifier::new(&config.issuers, &config.identity));
    if let Some(issuer) = how.dev_issuer {
        verifier.install(0, issuer.keys().map_err(Failure::bad)?, 0);
    }
    let (identification, opaque_tokens) = Identification::start(&verifier, &config.identity).map_err(Failure::bad)?;
    // The cores take the producers from 0 on; the last one is the control plane's.
    let producer =
        evidence.producer(cores).ok_or_else(|| Failure::bad("the evidence has no queue for the control plane"))?;
    let sealer = sealer(&config)?;
    let (clock, key) = (Clock::system(), evidence.mac("approval binding key", &[]));
    let (approvals, events) = Approvals::new(clock.clone(), &key);
    let metrics = Metrics::default();
    let alerts = Alerts::new(Arc::clone(&metrics.notices));
    let sampling = config.sampling;
    let tokens = TokenVault::new(config.facts.token_lifetime);
    let telemetry = Telemetry::new(&config.telemetry);
    let shared = Arc::new(Shared {
        second_opinion: SecondOpinion::new(sampling.every, sampling.on_divergence),
        limits: Arc::new(Limits::new(config.limits.accounts)),
        config,
        live,
        source: how.source,
        load: Load::default(),
        clock,
        policy: PolicySlot::new(policy),
        verifier,
        identification,
        approvals,
        alerts,
        tokens,
        metrics,
        telemetry,
        lifecycle: Lifecycle::default(),
        evidence,
        sealer,
    });
    let control =
        ControlPlane::start(Arc::clone(&shared), Own { producer, events, opaque_tokens }).map_err(Failure::bad)?;
    // Withdrawn when draining begins.
    let offer = Offer::new(sockets.try_clone().map_err(Failure::bad)?);
    match data_plane::serve(&shared, cores, sockets) {
        Ok(data_plane) => {
            shared.lifecycle.mark_serving();
            let successor = Arc::clone(&shared);
            let listens = offer.listen(&shared.config.data, move || {
                tracing::info!("a successor has the listening sockets");
                notify::stopping(successor.metrics.in_flight());
                successor.lifecycle.begin_hand_over();
            });
            if let Err(error) = listens {
                tracing::warn!(%error, "no other process will be able to take the listening sockets over");
            }
            Ok(Running { shared, control, data_plane, offer })
        }
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
        let Self { shared, control, data_plane, offer } = self;
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
        for signal in signals.forever() {
            if signal == SIGHUP {
                shared.lifecycle.request_reload();
                continue;
            }
            if shared.lifecycle.is_draining() {
                eprintln!("sallyport: ended at once; open calls are recorded as aborted at the next start");
                std::process::exit(INTERRUPTED);
            }
            let drain = shared.live.current().config.listen.limits.drain;
            eprintln!(
                "sallyport: draining: {} calls in flight, at most {} s; once more to end at once",
                shared.metrics.in_flight(),
                drain.as_secs()
            );
            notify::stopping(shared.metrics.in_flight());
            offer.withdraw();
            shared.lifecycle.begin_drain();
        }
        ending.join().unwrap_or_else(|_| Err(Failure::bad("waiting for the cores panicked")))
    }
}

fn cores(config: &Config) -> usize {
    config.listen.cores.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZero::get))
}

/// What seals originals that the policy wants sealed.
fn sealer(config: &Config) -> Result<Option<Sealer>, Failure> {
    let keys = &config.evidence.seal_to;
    if keys.is_empty() {
        return Ok(None);
    }
    Sealer::new(keys.iter().map(String::as_str)).map(Some).map_err(Failure::bad)
}

/// One process writes the evidence: a predecessor keeps it until its last call is written down.
fn open_evidence(config: &Config, cores: usize, waits: bool) -> Result<Evidence, Failure> {
    let patience = if waits { config.listen.limits.drain + PREDECESSOR_ENDS } else { Duration::ZERO };
    let options = Options { boot_digests: what_starts(config)?, ..evidence_options(config, cores) };
    let since = monotonic_now();
    loop {
        match Evidence::open(options.clone()) {
            Err(EvidenceError::Locked { .. }) if since.elapsed() < patience => std::thread::sleep(LOCK_PAUSE),
            opened => return opened.map_err(Failure::bad),
        }
    }
}

/// Which program starts, with which configuration: SHA-256 of its file and of what the configuration note will say.
fn what_starts(config: &Config) -> Result<Vec<(&'static str, [u8; 32])>, Failure> {
    let told = |error: std::io::Error| Failure::bad(format!("the program's own file cannot be read: {error}"));
    let mut program = std::fs::File::open("/proc/self/exe").map_err(told)?;
    let mut context = digest::Context::new(&digest::SHA256);
    let mut piece = vec![0; 1 << 20];
    loop {
        match program.read(&mut piece).map_err(told)? {
            0 => break,
            read => context.update(piece.get(..read).unwrap_or_default()),
        }
    }
    let text = config::redacted(config).to_string();
    let digests = [("binary", context.finish()), ("config", digest::digest(&digest::SHA256, text.as_bytes()))];
    Ok(digests.map(|(name, digest)| (name, digest.as_ref().try_into().unwrap_or_default())).to_vec())
}

fn evidence_options(config: &Config, cores: usize) -> Options {
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
    options
}

/// The first policy set must be good: without one no call could be judged.
pub(super) fn load_policy(config: &Config) -> Result<Prepared, Failure> {
    let path = config.policy.display();
    let prepared = policy_slot::prepare(&config.policy, !config.evidence.seal_to.is_empty())
        .map_err(|error| Failure::bad(format!("the policy set {path} cannot be used\n{}", error.render(false))))?;
    if !prepared.warnings.is_empty() {
        eprint!("{}", prepared.warnings.render(false));
    }
    Ok(prepared)
}
