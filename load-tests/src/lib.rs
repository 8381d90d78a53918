//! Load generator and mock model server.
//!
//! Three things live here, all behind the binary `sallyport-load`:
//!
//! * [`mock_model`]: a small server that speaks the OpenAI Chat Completions API, streams its answers in small pieces and
//!   can be told what to say. The gateway's quickstart embeds it; tests put it behind the gateway and read its journal.
//! * [`load`]: an open-model load generator. It follows a schedule made before the first request is sent and takes
//!   latency from the moment a request *should* have started, so that a server that stalls cannot hide it.
//! * [`leak`]: a conformance kit for masking gateways: says synthetic values in every way that a text can be split, and
//!   looks for them in whatever comes out.
//!
//! ## What may be assumed never to happen
//! * This crate imports no other room of the house. It exists to be able to contradict them, so it writes the wire
//!   formats itself.
//! * It shares no HTTP code with the gateway's data path: a mistake there would sit on both ends of the wire and cancel
//!   itself out. Generator and mock model have a small framing of their own, the leak test stands on hyper.
//! * A request that was due is never silently left out of a report: it was answered, it failed, or it was dropped, and
//!   each is counted.
#![forbid(unsafe_code)]

pub mod agents;
pub mod capacity;
pub mod duration;
pub mod html;
pub mod leak;
pub mod load;
pub mod mock_model;

mod random;
mod wire;
