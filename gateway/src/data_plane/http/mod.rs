//! HTTP/1.1 messages (RFC 9110, RFC 9112): heads parsed in place, bodies by their framing. Strict where leniency smuggles.

mod body;
mod buffers;
mod chunked;
mod fields;
mod request_head;
mod response_head;
mod wire;

pub(crate) use body::{Body, BodyError, Framing};
pub(crate) use chunked::{LAST_CHUNK, write_chunk};
pub(crate) use fields::{Fields, is_hop_by_hop};
pub(crate) use request_head::{HeadError, HeadLimits, RequestHead};
pub(crate) use response_head::ResponseHead;
pub(crate) use wire::Wire;
