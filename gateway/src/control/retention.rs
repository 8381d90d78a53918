//! Lets evidence lapse whose time has come: what the policy bounded by `retain`, and everything else after `[evidence] retain`.

use super::Control;
use crate::shared::Shared;
use audit_shipper::{Caller, Erasure, EvidenceError};
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked for: the shortest time that a policy may set is two hours, of which the key of one hour takes half.
const EVERY: Duration = Duration::from_mins(10);

pub(super) async fn keep(control: Arc<Control>) {
    let mut every = tokio::time::interval(EVERY);
    loop {
        every.tick().await;
        match control.let_lapse().await {
            Ok(0) => {}
            Ok(keys) => tracing::info!(keys, "evidence has lapsed: its keys were destroyed, its proofs stay"),
            Err(error) => tracing::error!(%error, "evidence that should have lapsed is still there; it is tried again"),
        }
    }
}

impl Control {
    /// Written down first, as any erasure; returns the number of keys destroyed.
    async fn let_lapse(&self) -> Result<u64, EvidenceError> {
        let shared: &Arc<Shared> = &self.shared;
        let what = Erasure::Lapsed { kept: shared.config.evidence.retain };
        let plan = shared.evidence.plan_erasure(&what, &Caller::default(), "retention")?;
        if plan.keys() == 0 {
            return Ok(0);
        }
        for note in &plan.notes {
            self.journal.plain(note).await?;
        }
        let evidence = Arc::clone(&shared.evidence);
        let done = tokio::task::spawn_blocking(move || evidence.carry_out(&plan));
        done.await.unwrap_or_else(|error| Err(EvidenceError::Malformed(format!("it panicked: {error}"))))
    }
}
