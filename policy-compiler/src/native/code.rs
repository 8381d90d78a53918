//! Machine code: made, called, freed. All `unsafe` of `native` is here; the contract is in the module docs of `native`.

use super::NativeError;
use super::lower::{Job, NODES_PER_FUNCTION_MAX, RULES_PER_FUNCTION_MAX, lower_all, lower_each};
use super::plan::{Plan, Slots};
use crate::planted::planted;
use cranelift::codegen::settings::{self, Configurable, Flags};
use cranelift::prelude::{AbiParam, FunctionBuilder, FunctionBuilderContext, Signature, types};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, default_libcall_names};
use policy_lang::schema::IntField;
use policy_lang::{Atom, AtomId, Facts, Program, Truth, eval_atom, eval_condition};
use std::cell::Cell;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Judges up to 64 rules into two bits each.
pub(super) type AllFn = unsafe extern "C" fn(*const Slots, *const c_void, *mut [u64; 2]);
/// Judges the condition at a position among up to 64.
pub(super) type EachFn = unsafe extern "C" fn(*const Slots, *const c_void, usize) -> u8;

/// Name of the callback inside the module.
const CALLBACK: &str = "sallyport_atom";
/// Bytes of one function; rules are taken out until it fits.
const FUNCTION_BYTES_MAX: usize = 32 << 10;

/// Which functions to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// [`AllFn`]
    All,
    /// [`EachFn`]
    Each,
}

/// The functions of one program.
pub(super) struct Code {
    form: Form,
    functions: Vec<Function>,
    /// By 64 rules or conditions: where their functions begin; one more for the end.
    starts: Vec<usize>,
    /// Keeps the functions alive; only ever touched again to free them.
    _pages: Pages,
}

/// One function and the positions that it judges.
struct Function {
    mask: u64,
    entry: Entry,
}

#[derive(Clone, Copy)]
enum Entry {
    All(AllFn),
    Each(EachFn),
}

impl Code {
    /// Makes functions; `words` has the rules or conditions, by 64.
    ///
    /// # Errors
    /// Every [`NativeError`] but a divergence. Nothing stays mapped then.
    pub(super) fn new(
        plan: &Plan,
        words: &[Vec<Job<'_>>],
        form: Form,
        cancelled: &AtomicBool,
    ) -> Result<Self, NativeError> {
        let mut pages = Pages::new()?;
        let (mut functions, mut starts) = (Vec::new(), vec![0]);
        if let Some(module) = pages.module() {
            let mut emitter = Emitter::new(module, plan, form)?;
            for jobs in words {
                if cancelled.load(Ordering::Relaxed) {
                    return Err(NativeError::Deadline);
                }
                for jobs in cut(jobs) {
                    emitter.emit(&jobs)?;
                }
                starts.push(emitter.made.len());
            }
            functions = emitter.finish()?;
        }
        Ok(Self { form, functions, starts, _pages: pages })
    }

    /// Number of functions.
    pub(super) fn functions(&self) -> usize {
        self.functions.len()
    }

    /// Judges the rules of a word ([`Form::All`]): `hit` gets each of `wanted` that is true or an error. `slots` and `call` are of the
    /// plan that this was compiled with.
    #[inline]
    pub(super) fn judge_word(
        &self,
        word: usize,
        wanted: u64,
        slots: &Slots,
        call: &Call<'_>,
        mut hit: impl FnMut(usize, Truth),
    ) {
        for function in self.functions_of(word).iter().filter(|function| wanted & function.mask != 0) {
            let Entry::All(entry) = function.entry else { continue };
            let mut out = [0_u64; 2];
            // SAFETY: `slots` was filled by the plan that the code was compiled with, so its ids are inside the bitmaps and the
            // caller's bits and truths are as many as the plan has; plan, bitmaps and caller outlive this call. `call` outlives it
            // too, and `callback` reads it as what it is. `out` is two words. The code is mapped and executable as long as `self`
            // lives.
            unsafe { entry(slots, (&raw const *call).cast(), &raw mut out) };
            for (half, mut truths) in out.into_iter().enumerate() {
                while truths != 0 {
                    let place = truths.trailing_zeros() as usize / 2;
                    let truth = truth_of_byte((truths >> (place * 2)) as u8 & 3);
                    truths &= !(3 << (place * 2));
                    if wanted >> (half * 32 + place) & 1 == 1 {
                        hit(half * 32 + place, truth);
                    }
                }
            }
        }
    }

    /// Judges one condition ([`Form::Each`]), an error if there is no such. `slots` and `call` as above.
    #[inline]
    pub(super) fn judge_one(&self, condition: u32, slots: &Slots, call: &Call<'_>) -> Truth {
        let (word, place) = (condition as usize / RULES_PER_FUNCTION_MAX, condition as usize % RULES_PER_FUNCTION_MAX);
        let function = self.functions_of(word).iter().find(|function| function.mask >> place & 1 == 1);
        match function.map(|function| function.entry) {
            // SAFETY: as in `judge_word`; any position is allowed.
            Some(Entry::Each(entry)) => truth_of_byte(unsafe { entry(slots, (&raw const *call).cast(), place) }),
            Some(Entry::All(_)) | None => Truth::Error,
        }
    }

    #[inline]
    fn functions_of(&self, word: usize) -> &[Function] {
        match self.starts.get(word..word + 2) {
            Some([start, end]) => self.functions.get(*start..*end).unwrap_or_default(),
            _ => &[],
        }
    }

    /// Puts another function in the place of the first.
    #[cfg(test)]
    pub(super) fn sabotage(&mut self, entry: AllFn) {
        if let Some(first) = self.functions.first_mut() {
            first.entry = Entry::All(entry);
        }
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Code")
            .field("form", &self.form)
            .field("functions", &self.functions.len())
            .finish_non_exhaustive()
    }
}

/// Cuts the jobs of a word into runs that fit one function each.
fn cut<'j, 'p>(jobs: &'j [Job<'p>]) -> Vec<Vec<&'j Job<'p>>> {
    let mut runs: Vec<Vec<&Job<'_>>> = Vec::new();
    let mut nodes = usize::MAX;
    for job in jobs {
        match runs.last_mut() {
            Some(run) if nodes.saturating_add(job.size()) <= NODES_PER_FUNCTION_MAX => {
                run.push(job);
                nodes += job.size();
            }
            _ => {
                runs.push(vec![job]);
                nodes = job.size();
            }
        }
    }
    runs
}

/// The contract's truths; what the code should never say counts as an error.
#[inline]
fn truth_of_byte(byte: u8) -> Truth {
    match byte {
        0 => Truth::False,
        2 => Truth::True,
        _ => Truth::Error,
    }
}

/// Judges one atom. A panic in a view or an engine must not unwind through native code, and is an error of the rule. Views are read
/// only, so none is left half changed.
pub(crate) fn judge_atom(program: &Program, id: AtomId, facts: &Facts<'_>) -> Truth {
    let judge = |atom: &Atom| catch_unwind(AssertUnwindSafe(|| eval_atom(atom, facts))).ok();
    program.atoms.get(id.0 as usize).and_then(judge).unwrap_or(Truth::Error)
}

/// What the callback works with; native code only carries the pointer.
pub(super) struct Call<'a> {
    pub(super) program: &'a Program,
    pub(super) facts: &'a Facts<'a>,
    pub(super) costly: &'a [(AtomId, u8)],
    /// Truths of costly atoms, by costly index: `epoch` × 4 + truth where judged in this call.
    pub(super) memo: &'a [Cell<u64>],
    /// Number of the call.
    pub(super) epoch: u64,
    /// `request.risk`, for rules that are judged whole.
    pub(super) risk: Cell<Option<i64>>,
}

impl Call<'_> {
    fn judge(&self, index: usize) -> Truth {
        let Some((id, _)) = self.costly.get(index) else {
            return self.judge_rule(index - self.costly.len());
        };
        let Some(memo) = self.memo.get(index) else {
            return Truth::Error;
        };
        let known = memo.get();
        if known >> 2 == self.epoch || (planted!(HeadersAreMemoisedAcrossCalls) && known != 0) {
            return truth_of_byte(known as u8 & 3);
        }
        let truth = judge_atom(self.program, *id, self.facts);
        memo.set(self.epoch << 2 | truth as u64);
        truth
    }

    /// A rule that no function could hold.
    fn judge_rule(&self, rule: usize) -> Truth {
        let Some(rule) = self.program.rules.get(rule) else {
            return Truth::Error;
        };
        eval_condition(&rule.condition, &mut |id| match self.program.atoms.get(id.0 as usize) {
            Some(Atom::Int { field: IntField::Risk, op, value }) => match self.risk.get() {
                Some(risk) if op.holds(&risk, value) => Truth::True,
                Some(_) => Truth::False,
                None => Truth::Error,
            },
            Some(Atom::IntPresent(IntField::Risk)) if self.risk.get().is_some() => Truth::True,
            Some(Atom::IntPresent(IntField::Risk)) => Truth::False,
            _ => judge_atom(self.program, id, self.facts),
        })
    }
}

/// Judges one costly atom. Called by native code only.
///
/// # Safety
/// `ctx` is the pointer that [`Code::judge`] handed to the running function.
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
            // SAFETY: function pointers into these pages are held only by the `Code` that owns `self`. It is being dropped (or
            // was never finished), so nobody borrows it and none of its functions is running; they are never called again.
            unsafe { module.free_memory() }
        }
    }
}

/// Compiles functions into a module.
struct Emitter<'m, 'p> {
    module: &'m mut JITModule,
    plan: &'p Plan,
    form: Form,
    callback: FuncId,
    context: cranelift::codegen::Context,
    builder_context: FunctionBuilderContext,
    made: Vec<(FuncId, u64)>,
}

impl<'m, 'p> Emitter<'m, 'p> {
    fn new(module: &'m mut JITModule, plan: &'p Plan, form: Form) -> Result<Self, NativeError> {
        let callback = declare_callback(module)?;
        let (context, builder_context) = (module.make_context(), FunctionBuilderContext::new());
        Ok(Self { module, plan, form, callback, context, builder_context, made: Vec::new() })
    }

    /// One function, or several where one would be too long.
    fn emit(&mut self, jobs: &[&Job<'_>]) -> Result<(), NativeError> {
        let signature = signature(self.module, self.form);
        self.context.func.signature = signature.clone();
        let callback = self.module.declare_func_in_func(self.callback, &mut self.context.func);
        let builder = FunctionBuilder::new(&mut self.context.func, &mut self.builder_context);
        let owned: Vec<Job<'_>> = jobs.iter().map(|job| (*job).clone()).collect();
        let lower = if self.form == Form::All { lower_all } else { lower_each };
        lower(builder, self.plan, &owned, callback, self.module.target_config());
        let function = self.module.declare_anonymous_function(&signature)?;
        self.module.define_function(function, &mut self.context)?;
        let bytes = self.context.compiled_code().map_or(0, |code| code.code_buffer().len());
        self.module.clear_context(&mut self.context);
        if bytes > FUNCTION_BYTES_MAX
            && let Some((left, right)) = jobs.split_at_checked(jobs.len() / 2).filter(|(left, _)| !left.is_empty())
        {
            self.emit(left)?;
            return self.emit(right);
        }
        self.made.push((function, jobs.iter().fold(0, |mask, job| mask | 1 << job.position)));
        Ok(())
    }

    /// Makes the code executable.
    fn finish(self) -> Result<Vec<Function>, NativeError> {
        self.module.finalize_definitions()?;
        let functions = self.made.iter().map(|(function, mask)| {
            let address = self.module.get_finalized_function(*function);
            // SAFETY: the address is that of a finished function, compiled above with `signature` of this form, which is the
            // signature of the type in the host's C calling convention. It stays mapped as long as the `Pages` beside it live.
            let entry = unsafe {
                match self.form {
                    Form::All => Entry::All(std::mem::transmute::<*const u8, AllFn>(address)),
                    Form::Each => Entry::Each(std::mem::transmute::<*const u8, EachFn>(address)),
                }
            };
            Function { mask: *mask, entry }
        });
        Ok(functions.collect())
    }
}

fn signature(module: &JITModule, form: Form) -> Signature {
    let pointer = module.target_config().pointer_type();
    let mut signature = module.make_signature();
    signature.params = vec![AbiParam::new(pointer); 3];
    if form == Form::Each {
        signature.returns = vec![AbiParam::new(types::I8)];
    }
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
