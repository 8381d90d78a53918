//! KServe's binary tensor extension: JSON, then the bytes of the tensors that it names, in their order.

use super::document::mask_text;
use super::edits::Edits;
use super::plan::MaskPlan;
use super::{ChannelCoverage, Coverage, RedactError, Redacted};
use crate::dialect::{FormError, TextKind, WalkError, tensor_elements};
use crate::json::{Document, Duplicate, Kind, NodeId};
use std::borrow::Cow;

/// A tensor whose data stands in the tail.
#[derive(Debug)]
pub(crate) struct BinaryTensor<'t> {
    /// Its name in records.
    pub(crate) channel: String,
    /// Whether its elements are texts.
    pub(crate) is_bytes: bool,
    /// Its data.
    pub(crate) data: &'t [u8],
    /// Where its `binary_data_size` stands.
    size: NodeId,
}

/// The tensors of the tail.
///
/// # Errors
/// [`FormError`] if the tail does not fit them.
pub(crate) fn binary_tensors<'t>(
    document: &Document<'_>,
    list: &str,
    tail: &'t [u8],
) -> Result<Vec<BinaryTensor<'t>>, FormError> {
    let double = |Duplicate| FormError::Tensors("a member occurs twice");
    let mut tensors = Vec::new();
    let mut rest = tail;
    let root = document.root();
    let named = document.get(root, list).map_err(double)?;
    for (number, tensor) in named.into_iter().flat_map(|list| document.children(list)).enumerate() {
        let size = document.descend(tensor, &["parameters", "binary_data_size"]).map_err(double)?;
        let Some(size) = size.filter(|size| document.kind(*size) != Kind::Null) else { continue };
        let bytes = std::str::from_utf8(document.raw(size)).ok().and_then(|text| text.parse::<usize>().ok());
        let bytes = bytes.ok_or(FormError::Tensors("`binary_data_size` is no number"))?;
        let (data, behind) = rest.split_at_checked(bytes).ok_or(FormError::Tensors("the body ends within a tensor"))?;
        rest = behind;
        let datatype = document.get(tensor, "datatype").map_err(double)?.and_then(|node| document.string(node));
        tensors.push(BinaryTensor {
            channel: format!("{list}[{number}].data"),
            is_bytes: datatype.as_deref() == Some("BYTES"),
            data,
            size,
        });
    }
    if rest.is_empty() { Ok(tensors) } else { Err(FormError::Tensors("bytes are left behind the last tensor")) }
}

/// Masks JSON and tail; both lengths may change.
pub(super) fn redact_tensors<'b>(
    plan: &MaskPlan,
    list: &str,
    body: &'b [u8],
    json_bytes: usize,
    redact_json: impl FnOnce(&'b [u8]) -> Result<Redacted<'b>, RedactError>,
) -> Result<Redacted<'b>, RedactError> {
    let (json, tail) = body.split_at_checked(json_bytes).ok_or(FormError::HeaderLength)?;
    let document = Document::parse(json).map_err(RedactError::Json)?;
    let tensors = binary_tensors(&document, list, tail)?;
    let mut redacted = redact_json(json)?;
    let masks = plan.of_text(true, &[]);
    let mut new_tail = Vec::with_capacity(tail.len());
    let mut sizes = Vec::new();
    for tensor in &tensors {
        let coverage = if tensor.is_bytes { Coverage::Scanned } else { Coverage::Opaque };
        redacted.coverage.push(ChannelCoverage { channel: tensor.channel.clone(), coverage });
        let before = new_tail.len();
        if !tensor.is_bytes {
            new_tail.extend_from_slice(tensor.data);
            continue;
        }
        for (number, element) in tensor_elements(tensor.data)?.into_iter().enumerate() {
            let (masked, found) = mask_text(TextKind::Plain, &masks, element)?;
            let element = masked.map_or(Cow::Borrowed(element), Cow::Owned);
            let length = u32::try_from(element.len()).map_err(|_| FormError::Tensors("an element is too long"))?;
            new_tail.extend_from_slice(&length.to_le_bytes());
            new_tail.extend_from_slice(&element);
            let pointer = format!("/{}/{number}", tensor.channel.replace("[", "/").replace("].", "/"));
            redacted.hits.extend(found.into_iter().map(|hit| hit.at(&pointer, &tensor.channel)));
        }
        if new_tail.len() - before != tensor.data.len() {
            sizes.push((tensor.size, new_tail.len() - before));
        }
    }
    if new_tail == tail && matches!(redacted.body, Cow::Borrowed(_)) {
        return Ok(Redacted { body: Cow::Borrowed(body), json_bytes: Some(json_bytes), ..redacted });
    }
    let mut new_json = redacted.body.into_owned();
    if !sizes.is_empty() {
        // Masking kept the order of the tensors, so the same walk finds the same sizes.
        let document = Document::parse(&new_json).map_err(RedactError::Json)?;
        let mut edits = Edits::default();
        let again = sizes_of(&document, list)?;
        let before: Vec<NodeId> = tensors.iter().map(|tensor| tensor.size).collect();
        for (size, bytes) in sizes {
            let place = before.iter().position(|known| *known == size).and_then(|at| again.get(at));
            let place = place.ok_or(FormError::Tensors("the tensors changed while they were masked"))?;
            edits.add(document.range(*place), bytes.to_string().into_bytes());
        }
        new_json = edits.apply(&new_json).into_owned();
    }
    let json_bytes = Some(new_json.len());
    new_json.extend(new_tail);
    Ok(Redacted { body: Cow::Owned(new_json), json_bytes, ..redacted })
}

fn sizes_of(document: &Document<'_>, list: &str) -> Result<Vec<NodeId>, RedactError> {
    let double = |Duplicate| RedactError::from(WalkError::Duplicate);
    let mut sizes = Vec::new();
    for tensor in
        document.get(document.root(), list).map_err(double)?.into_iter().flat_map(|list| document.children(list))
    {
        let size = document.descend(tensor, &["parameters", "binary_data_size"]).map_err(double)?;
        sizes.extend(size.filter(|size| document.kind(*size) != Kind::Null));
    }
    Ok(sizes)
}
