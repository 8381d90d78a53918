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

/// What will seal the answer as it comes; none if the policy does not ask for it.
///
/// # Errors
/// As [`request`].
pub(super) fn answer(core: &Core, call: &Call) -> Result<Option<Sealing>, CallError> {
    if !call.judged.as_ref().is_some_and(|judged| judged.decision.obligations.seal_response) {
        return Ok(None);
    }
    let sealer = core.shared.sealer.as_ref();
    let sealer = sealer.ok_or_else(|| cannot_seal("no `[evidence] seal_to` is configured"))?;
    sealer.begin().map(Some).map_err(cannot_seal)
}

impl OpenCall {
    /// A piece of the answer as it came from the model server, before anything is masked.
    ///
    /// # Errors
    /// When the evidence is not to be written any more.
    pub(in crate::data_plane) async fn take_original(&mut self, original: &[u8]) -> Result<(), CallError> {
        self.gather_values(original);
        let Some(sealing) = &mut self.sealing else { return Ok(()) };
        sealing.push(original).map_err(CallError::no_evidence)?;
        let pieces = sealing.ready();
        self.record_sealed(pieces).await
    }

    /// The end of it, to be written before the OUTCOME.
    pub(super) async fn end_of_seal(&mut self) -> Result<(), CallError> {
        let Some(sealing) = self.sealing.take() else { return Ok(()) };
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
