//! Machine code: made, called, freed. All `unsafe` of this crate is here; the contract is in the module docs of `native`.

use super::NativeError;
use super::lower::{chunks, lower};
use super::plan::{Plan, Slots};
use cranelift::codegen::settings::{self, Configurable, Flags};
use cranelift::prelude::{AbiParam, FunctionBuilder, FunctionBuilderContext, Signature, types};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, default_libcall_names};
use policy_lang::{AtomId, Facts, Program, Truth, eval_atom};
use std::cell::Cell;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

/// One function: judges up to 64 rules.
pub(super) type ChunkFn = unsafe extern "C" fn(*const Slots, *const c_void, *mut u8);

/// Name of the callback inside the module.
const CALLBACK: &str = "sallyport_atom";
/// A memo entry that is not judged yet; truths are 0, 1, 2.
const NOT_JUDGED: u8 = u8::MAX;

/// The native form of one program.
pub(super) struct NativeCode {
    plan: Plan,
    pub(super) chunks: Vec<Chunk>,
    /// Keeps the functions alive; only ever touched again to free them.
    _pages: Pages,
}

/// One function and how many rules it judges.
pub(super) struct Chunk {
    pub(super) entry: ChunkFn,
    rules: usize,
}

impl NativeCode {
    /// Compiles every rule. Nothing stays mapped when it fails.
    ///
    /// # Errors
    /// Every [`NativeError`] but a divergence.
    pub(super) fn compile(program: &Program) -> Result<Self, NativeError> {
        let plan = Plan::new(program);
        let mut pages = Pages::new()?;
        let chunks = match pages.module() {
            Some(module) => emit(module, program, &plan)?,
            None => Vec::new(),
        };
        Ok(Self { plan, chunks, _pages: pages })
    }

    /// Judges every rule; `truths` is cleared and then holds one entry per rule, in order. `program` is the one this was compiled from.
    pub(super) fn judge(&self, program: &Program, facts: &Facts<'_>, truths: &mut Vec<Truth>) {
        let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
        scratch.memo.clear();
        scratch.memo.resize(self.plan.costly.len(), NOT_JUDGED);
        scratch.out.clear();
        scratch.out.resize(program.rules.len(), Truth::Error as u8);
        let slots = self.plan.slots(facts);
        let call = Call {
            program,
            facts,
            costly: &self.plan.costly,
            memo: Cell::from_mut(scratch.memo.as_mut_slice()).as_slice_of_cells(),
        };
        let mut rest = scratch.out.as_mut_slice();
        for chunk in &self.chunks {
            // Chunks cover the rules in order; a program with fewer rules than were compiled would be another program.
            let Some((out, after)) = rest.split_at_mut_checked(chunk.rules) else {
                break;
            };
            // SAFETY: `slots` was filled by the plan that the code was compiled with, so its ids are inside the bitmaps, and plan
            // and bitmaps outlive this call. `call` outlives it too, and `callback` reads it as what it is. `out` has exactly
            // one byte per rule of this chunk. The code is mapped and executable as long as `self` lives.
            unsafe {
                (chunk.entry)(&raw const slots, (&raw const call).cast::<c_void>(), out.as_mut_ptr());
            }
            rest = after;
        }
        truths.clear();
        truths.extend(scratch.out.iter().copied().map(truth_of_byte));
        // On a dying thread the buffers are simply dropped.
        let _ = SCRATCH.try_with(|kept| kept.set(scratch));
    }
}

/// The contract's `out` bytes; what the code should never write counts as an error.
fn truth_of_byte(byte: u8) -> Truth {
    match byte {
        0 => Truth::False,
        2 => Truth::True,
        _ => Truth::Error,
    }
}

thread_local! {
    /// Buffers of the last call on this thread. A nested call (a text engine that asks a policy) finds them taken and uses new ones.
    static SCRATCH: Cell<Scratch> = const { Cell::new(Scratch { memo: Vec::new(), out: Vec::new() }) };
}

#[derive(Default)]
struct Scratch {
    /// Truths of costly atoms, by costly index.
    memo: Vec<u8>,
    /// One byte per rule.
    out: Vec<u8>,
}

/// What the callback works with; native code only carries the pointer.
struct Call<'a> {
    program: &'a Program,
    facts: &'a Facts<'a>,
    costly: &'a [AtomId],
    memo: &'a [Cell<u8>],
}

impl Call<'_> {
    fn judge(&self, index: usize) -> Truth {
        let (Some(id), Some(memo)) = (self.costly.get(index), self.memo.get(index)) else {
            return Truth::Error;
        };
        if memo.get() != NOT_JUDGED {
            return truth_of_byte(memo.get());
        }
        let truth = self
            .program
            .atoms
            .get(id.0 as usize)
            .and_then(|atom| {
                // A panic in a view or an engine must not unwind through native code. Views are read only, so none is left half changed.
                catch_unwind(AssertUnwindSafe(|| eval_atom(atom, self.facts))).ok()
            })
            .unwrap_or(Truth::Error);
        memo.set(truth as u8);
        truth
    }
}

/// Judges one costly atom. Called by native code only.
///
/// # Safety
/// `ctx` is the pointer that [`NativeCode::judge`] handed to the running chunk.
unsafe extern "C" fn callback(ctx: *const c_void, index: usize) -> u8 {
    // SAFETY: native code passes on the `ctx` it was given, which points to a `Call` that lives on the stack of `judge` below us, on
    // this thread, and is only shared. Its lifetime ends after native code has returned.
    let call = unsafe { &*ctx.cast::<Call<'_>>() };
    call.judge(index) as u8
}

/// Owns the module and with it the executable pages. Dropping a `JITModule` alone leaks them. Nobody ever locks the mutex: it is there
/// because a module may move between threads but not be shared, and the functions need it only to stay where it is.
struct Pages(Mutex<Option<JITModule>>);

impl Pages {
    fn new() -> Result<Self, NativeError> {
        let mut flags = settings::builder();
        for (name, value) in [
            ("opt_level", "speed"),
            // Required by the JIT: it links with absolute addresses.
            ("is_pic", "false"),
            ("use_colocated_libcalls", "false"),
            // A large frame must not step over the guard page of the stack.
            ("enable_probestack", "true"),
            ("probestack_strategy", "inline"),
        ] {
            flags.set(name, value).map_err(|error| NativeError::Cranelift(error.to_string()))?;
        }
        let machine = cranelift_native::builder()
            .map_err(|message| NativeError::Unsupported(message.to_owned()))?
            .finish(Flags::new(flags))
            .map_err(|error| NativeError::Cranelift(error.to_string()))?;
        let mut builder = JITBuilder::with_isa(machine, default_libcall_names());
        builder.symbol(CALLBACK, callback as *const u8);
        Ok(Self(Mutex::new(Some(JITModule::new(builder)))))
    }

    /// The module; `None` only once it is freed.
    fn module(&mut self) -> Option<&mut JITModule> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let module = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = module.take() {
            // SAFETY: function pointers into these pages are held only by the `NativeCode` that owns `self`. It is being dropped (or
            // was never finished), so nobody borrows it and none of its functions is running; they are never called again.
            unsafe { module.free_memory() }
        }
    }
}

/// Compiles every rule into the module and makes the code executable.
fn emit(module: &mut JITModule, program: &Program, plan: &Plan) -> Result<Vec<Chunk>, NativeError> {
    let callback = declare_callback(module)?;
    let mut context = module.make_context();
    let mut builder_context = FunctionBuilderContext::new();
    let mut functions = Vec::new();
    for rules in chunks(&program.rules, plan)? {
        let rules = program.rules.get(rules).unwrap_or_default();
        let signature = chunk_signature(module);
        let function = module.declare_anonymous_function(&signature)?;
        context.func.signature = signature;
        let callback = module.declare_func_in_func(callback, &mut context.func);
        let builder = FunctionBuilder::new(&mut context.func, &mut builder_context);
        lower(builder, plan, rules, callback, module.target_config());
        module.define_function(function, &mut context)?;
        module.clear_context(&mut context);
        functions.push((function, rules.len()));
    }
    module.finalize_definitions()?;
    let chunk = |(function, rules)| {
        let address = module.get_finalized_function(function);
        // SAFETY: the address is that of a finished function, compiled just above with `chunk_signature`, which is the signature of
        // `ChunkFn` in the host's C calling convention. It stays mapped as long as the `Pages` beside it live.
        let entry = unsafe { std::mem::transmute::<*const u8, ChunkFn>(address) };
        Chunk { entry, rules }
    };
    Ok(functions.into_iter().map(chunk).collect())
}

fn chunk_signature(module: &JITModule) -> Signature {
    let pointer = module.target_config().pointer_type();
    let mut signature = module.make_signature();
    signature.params = vec![AbiParam::new(pointer); 3];
    signature
}

/// Both arguments are as wide as a pointer: narrower ones would need extension rules that differ between processors.
fn declare_callback(module: &mut JITModule) -> Result<FuncId, NativeError> {
    let pointer = module.target_config().pointer_type();
    let mut signature = module.make_signature();
    signature.params = vec![AbiParam::new(pointer); 2];
    signature.returns = vec![AbiParam::new(types::I8)];
    Ok(module.declare_function(CALLBACK, Linkage::Import, &signature)?)
}
