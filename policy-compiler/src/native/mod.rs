//! Native decisions: one machine-code function per up to 64 rules, made by cranelift, checked against the interpreter.
//!
//! The way of a compilation ([`compile`]): [`plan`] looks at every leaf condition (atom) and decides whether native code can judge
//! it from the fixed [`Slots`](plan::Slots) or must ask back; [`lower`] turns the rules' conditions into cranelift's
//! intermediate form; [`code`] owns the machine code, calls it and frees it; [`replay`] runs requests made from the program's own
//! constants through interpreter and native code. Any failure on this way, a panic inside cranelift included, leaves the
//! interpreter in charge, and [`CompiledPolicy::engine`] says why.
//!
//! # The calling contract
//! ```text
//! extern "C" fn chunk(slots: *const Slots, ctx: *const c_void, out: *mut u8)
//! ```
//! * `slots` points to a filled [`Slots`](plan::Slots), read only, made by the [`Plan`](plan::Plan) that the code was compiled
//!   with: string fields are ids below the table's size, so an id is always inside the bitmaps behind `slots.sets`.
//! * `ctx` is not looked into; it is handed to the callback `atom(ctx, index) -> truth`, which judges one costly atom at most
//!   once per call and never unwinds.
//! * `out` has room for one byte per rule of the chunk; the code writes each exactly once: a [`Truth`](policy_lang::Truth) as
//!   0 (false), 1 (error) or 2 (true). A reader takes any other byte for an error.
//! * The code touches no other memory, calls nothing but the callback, keeps nothing between calls, and may run on any number
//!   of threads at once.
//!
//! # Truth in registers
//! Strong Kleene logic over 0 < 1 < 2: `and` is the unsigned minimum, `or` the maximum, `not x` is `2 - x`. Atoms that read
//! only slots are combined without branches; before an atom that must ask back there is a branch that skips it once the outcome is
//! settled. Because atoms have no side effects, neither this order nor the skipping can change a truth.
//!
//! # What may be assumed
//! `unsafe` is in [`code`] only. No function holds more than 64 rules, and none is longer than a bound on its nodes, since one huge
//! function makes cranelift panic and takes long to compile.

mod boundary;
mod code;
mod constants;
mod lower;
mod plan;
mod policy;
mod replay;
mod requests;

pub use policy::{CompileOptions, CompiledPolicy, Engine, IdentityFacts, compile, compile_with};

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
    /// One rule is larger than a function may be.
    #[error("rule {rule} is too large for native code ({nodes} nodes, at most {nodes_max})")]
    RuleTooLarge {
        /// Its name.
        rule: String,
        /// Its size.
        nodes: usize,
        /// The bound.
        nodes_max: usize,
    },
    /// One rule is nested deeper than the code generator follows.
    #[error("rule {rule} is nested too deeply for native code (more than {depth_max} levels)")]
    RuleTooDeep {
        /// Its name.
        rule: String,
        /// The bound.
        depth_max: usize,
    },
    /// Native code and interpreter disagree.
    #[error(
        "native code disagrees with the interpreter on rule {rule}: {native:?} instead of {interpreted:?} (boundary request {request})"
    )]
    Divergence {
        /// Name of the first rule that came out differently.
        rule: String,
        /// What the interpreter says.
        interpreted: policy_lang::Truth,
        /// What native code said.
        native: policy_lang::Truth,
        /// Number of the boundary request; requests are made the same way every time.
        request: usize,
    },
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
