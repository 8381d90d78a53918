//! Native decisions: rules judged by machine code that cranelift makes, checked against the interpreter.
//!
//! The way of a compilation ([`compile`]): [`plan`] gives the program's constants numbers and decides how every leaf condition (atom) is
//! judged, from the fixed [`Slots`](plan::Slots) or by asking back; [`index`](crate::index) finds what many rules have in common,
//! where that pays; [`lower`] turns what is left of the rules' conditions into cranelift's intermediate form; [`code`] owns the
//! machine code, calls it and frees it; [`replay`] runs requests made from the program's own constants through interpreter and
//! native code. Any failure on this way, a panic inside cranelift included, leaves the interpreter in charge, and
//! [`CompiledPolicy::engine`] says why.
//!
//! The way of a decision ([`CompiledPolicy::decide_for`]): the caller's part is at hand ([`identity`]); the call's texts and address
//! become classes; the index leaves candidates, or there is none and every rule is judged straight on; what code says goes into a
//! short list of rules that are true or errors; `policy_lang::conclude_hits` draws the conclusion from that list alone.
//!
//! # The calling contract
//! ```text
//! extern "C" fn all(slots: *const Slots, ctx: *const c_void, out: *mut [u64; 2])
//! extern "C" fn each(slots: *const Slots, ctx: *const c_void, position: usize) -> u8
//! ```
//! * `slots` points to filled [`Slots`](plan::Slots), read only, made by the [`Plan`](plan::Plan) that the code was compiled
//!   with: classes are below their count, so each is inside the bitmaps behind `slots.sets`; `slots.members` and `slots.claims`
//!   have as many bits and truths as the plan has.
//! * `ctx` is not looked into; it is handed to the callback `atom(ctx, index) -> truth`, which judges one costly atom at most
//!   once per call and never unwinds; behind the costly atoms come whole rules that are too large for a function.
//! * A truth is a [`Truth`](policy_lang::Truth) as 0 (false), 1 (error) or 2 (true). `all` writes two bits for each of the up to 64 rules of
//!   a word, 32 to a `u64`, and 0 where there is no rule. `each` returns the truth of the condition at the position, and an error
//!   where there is none. A reader takes any other truth for an error.
//! * The code touches no other memory, calls nothing but the callback, keeps nothing between calls, and may run on any number
//!   of threads at once.
//!
//! # Truth in registers
//! Strong Kleene logic over 0 < 1 < 2: `and` is the unsigned minimum, `or` the maximum, `not x` is `2 - x`. Atoms that read
//! only slots are combined without branches; before an atom that must ask back there is a branch that skips it once the outcome is
//! settled, and the cheapest is asked first. Because atoms have no side effects, neither this order nor the skipping can change
//! a truth.
//!
//! # What may be assumed
//! `unsafe` is in [`code`] only. No function holds more than 64 rules or 32 KiB of code, unless one rule alone is longer.

mod boundary;
mod code;
#[cfg(test)]
mod differential;
mod engine;
mod identity;
mod lower;
mod needs;
mod plan;
mod policy;
mod replay;
mod requests;

pub use engine::Layout;
pub use identity::IdentityFacts;
pub(crate) use plan::{AtomCode, Plan, Slots};
pub use policy::{CompileOptions, CompiledPolicy, Engine, compile, compile_with};
pub use replay::Divergence;

/// Why there is no native code; becomes the reason in [`Engine::Interpreter`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum NativeError {
    /// cranelift has no code generator for this processor.
    #[error("no native code for this machine: {0}")]
    Unsupported(String),
    /// A setting was refused, code generation failed, or pages could not be made executable.
    #[error("native code could not be made: {0}")]
    Cranelift(String),
    /// cranelift panicked.
    #[error("native code could not be made: the code generator panicked: {0}")]
    Panic(String),
    /// It took longer than it may.
    #[error("native code could not be made in time")]
    Deadline,
    /// Native code and interpreter disagree.
    #[error("{0}")]
    Divergence(#[from] Divergence),
}

impl From<cranelift_module::ModuleError> for NativeError {
    fn from(error: cranelift_module::ModuleError) -> Self {
        // Debug shows the cause that Display keeps to itself ("Backend error").
        Self::Cranelift(match &error {
            cranelift_module::ModuleError::Backend(cause) => format!("{cause:#}"),
            other => other.to_string(),
        })
    }
}
