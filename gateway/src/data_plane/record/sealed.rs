//! Originals that the policy wants sealed: the unmasked text goes to the auditors' keys, whose private halves are elsewhere, and
//! to no other place.

use audit_shipper::{Frame, Role, Sealing};
use policy_compiler::dialect::ErrorKind;

use super::super::core::Core;
use super::super::error::CallError;
use super::super::exchange::Call;
use super::OpenCall;

/// What sealed originals are, whatever is in them.
const MEDIA_TYPE: &str = "application/age";
/// What is held of an answer until the rules that read it have said whether it is kept, in bytes.
const HELD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// An answer's original that is being sealed.
pub(super) struct Seal {
    sealing: Sealing,
    /// Sealed pieces that are written only if a rule comes to ask for them.
    held: Option<Vec<Vec<u8>>>,
}

/// The request as it came, sealed in pieces of which each fits into a record; none if the policy does not ask for it.
///
/// # Errors
/// 403: an obligation that cannot be carried out denies (POLICY-LANGUAGE §4).
pub(in crate::data_plane) fn request(core: &Core, call: &Call, body: Option<&[u8]>) -> Result<Vec<Vec<u8>>, CallError> {
    if !call.judged.as_ref().is_some_and(|judged| judged.decision.obligations.seal_request) {
        return Ok(Vec::new());
    }
    match body {
        Some(body) => core
            .shared
            .sealer
            .as_ref()
            .ok_or_else(|| cannot_seal("no `[evidence] seal_to` is configured"))?
            .seal(body)
            .map_err(cannot_seal),
        None if call.operation.is_some_and(|operation| !operation.has_body()) => Ok(Vec::new()),
        None => Err(cannot_seal("the request is forwarded unread on this route")),
    }
}

fn cannot_seal(cause: impl std::fmt::Display) -> CallError {
    let message = "The policy keeps the original of this call sealed, which cannot be done.";
    CallError::new(ErrorKind::Forbidden, "cannot_seal", message).because(cause)
}

/// What will seal the answer as it comes; none if the request's rules do not ask for it.
///
/// # Errors
/// As [`request`].
pub(super) fn answer(core: &Core, call: &Call) -> Result<Option<Seal>, CallError> {
    if !call.judged.as_ref().is_some_and(|judged| judged.decision.obligations.seal_response) {
        return Ok(None);
    }
    Ok(Some(Seal { sealing: begin(core)?, held: None }))
}

fn begin(core: &Core) -> Result<Sealing, CallError> {
    let sealer = core.shared.sealer.as_ref();
    let sealer = sealer.ok_or_else(|| cannot_seal("no `[evidence] seal_to` is configured"))?;
    sealer.begin().map_err(cannot_seal)
}

impl OpenCall {
    /// Begins to seal the answer where rules that read it ask for that (`certain`) or may come to.
    ///
    /// # Errors
    /// As [`request`].
    pub(in crate::data_plane) fn seal_answer(&mut self, certain: bool) -> Result<(), CallError> {
        if self.seal.is_none() {
            let held = (!certain).then(Vec::new);
            self.seal = Some(Seal { sealing: begin(&self.core)?, held });
        }
        Ok(())
    }

    /// The rules have said whether they ask for it.
    ///
    /// # Errors
    /// When the evidence is not to be written any more.
    pub(in crate::data_plane) async fn settle_seal(&mut self, wanted: bool) -> Result<(), CallError> {
        let Some(held) = self.seal.as_mut().and_then(|seal| seal.held.take()) else { return Ok(()) };
        if !wanted {
            self.seal = None;
            return Ok(());
        }
        self.record_sealed(held).await
    }

    /// A piece of the answer as it came from the model server, before anything is masked.
    ///
    /// # Errors
    /// When the evidence is not to be written any more.
    pub(in crate::data_plane) async fn take_original(&mut self, original: &[u8]) -> Result<(), CallError> {
        self.gather_values(original);
        let Some(Seal { sealing, held }) = &mut self.seal else { return Ok(()) };
        sealing.push(original).map_err(CallError::no_evidence)?;
        let pieces = sealing.ready();
        let Some(held) = held else { return self.record_sealed(pieces).await };
        held.extend(pieces);
        if held.iter().map(Vec::len).sum::<usize>() > HELD_BYTES_MAX {
            return Err(CallError::no_evidence("a rule may ask for more of the answer than can be held for it"));
        }
        Ok(())
    }

    /// The end of it, to be written before the OUTCOME.
    pub(super) async fn end_of_seal(&mut self) -> Result<(), CallError> {
        // What is still undecided when the answer breaks off counts as asked for.
        self.settle_seal(true).await?;
        let Some(Seal { sealing, .. }) = self.seal.take() else { return Ok(()) };
        if sealing.is_empty() {
            return Ok(());
        }
        let pieces = sealing.finish().map_err(CallError::no_evidence)?;
        self.record_sealed(pieces).await
    }

    pub(super) async fn record_sealed(&mut self, pieces: Vec<Vec<u8>>) -> Result<(), CallError> {
        for bytes in pieces {
            self.write_chunk(Role::Sealed, vec![Frame { dt_us: 0, bytes }], MEDIA_TYPE).await?;
        }
        Ok(())
    }
}
