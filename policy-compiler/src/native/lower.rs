//! From conditions to cranelift's intermediate form, in strong Kleene logic.

use super::plan::{AtomCode, IdSet, OrElse, Plan, Slots};
use crate::planted::planted;
use cranelift::codegen::ir::{FuncRef, JumpTableData};
use cranelift::prelude::{Block, FunctionBuilder, InstBuilder, IntCC, MemFlagsData, Type, Value, types};
use policy_lang::{CompareOp, Condition, Truth};
use std::mem::{offset_of, size_of};

/// Rules in one function: the bits of a word of slots.
pub(super) const RULES_PER_FUNCTION_MAX: usize = 64;
/// Nodes after which a function takes no further rule; some 16 bytes of code each. A single rule beyond it is judged by the
/// interpreter.
pub(super) const NODES_PER_FUNCTION_MAX: usize = 2_048;
/// What a call of the callback counts.
const ASK_NODES: usize = 3;
/// Nesting of a condition. The language's own bound is 64; `let` may add to it. What is deeper is judged by the interpreter.
const DEPTH_MAX: usize = 256;

/// One rule of a function.
#[derive(Clone, Debug)]
pub(super) struct Job<'p> {
    /// Bit of the rule in its word of slots.
    pub(super) position: usize,
    /// Which rule.
    pub(super) rule: usize,
    /// Its condition, a conjunction of these.
    pub(super) parts: Vec<&'p Condition>,
    /// Size; none when it is too deep.
    pub(super) nodes: Option<usize>,
}

impl<'p> Job<'p> {
    pub(super) fn new(plan: &Plan, position: usize, rule: usize, parts: Vec<&'p Condition>) -> Self {
        let nodes = parts.iter().try_fold(1, |sum, part| Some(sum + nodes(part, plan, 0)?));
        Self { position, rule, parts, nodes }
    }

    /// Whether it is too large or too deep for a function.
    pub(super) fn is_asked(&self) -> bool {
        self.nodes.is_none_or(|nodes| nodes > NODES_PER_FUNCTION_MAX)
    }

    /// What it adds to a function.
    pub(super) fn size(&self) -> usize {
        if self.is_asked() { ASK_NODES } else { self.nodes.unwrap_or_default() }
    }
}

/// Size of a condition, `None` when it is nested too deeply.
fn nodes(condition: &Condition, plan: &Plan, depth: usize) -> Option<usize> {
    if depth == DEPTH_MAX {
        return None;
    }
    match condition {
        Condition::Const(_) => Some(1),
        Condition::Atom(id) => Some(match plan.atoms.get(id.0 as usize) {
            Some(AtomCode::Class { classes, suffixes, or_else, .. }) => {
                let compares = |set: &IdSet| if let IdSet::Few(ids) = set { ids.len() } else { 1 };
                1 + compares(classes) + compares(suffixes) + or_else.map_or(0, |_| ASK_NODES)
            }
            Some(AtomCode::Address(classes)) => 1 + classes.ids().len().min(super::plan::COMPARES_MAX),
            Some(AtomCode::Ask(_)) => ASK_NODES,
            _ => 1,
        }),
        Condition::Not(inner) => nodes(inner, plan, depth + 1).map(|inner| inner + 1),
        Condition::All(parts) | Condition::Any(parts) => {
            parts.iter().try_fold(1, |sum, part| nodes(part, plan, depth + 1).map(|part| sum + part))
        }
    }
}

/// Emits the body of a function that judges every rule: two bits for each, a [`Truth`], in two words.
pub(super) fn lower_all(
    mut builder: FunctionBuilder<'_>,
    plan: &Plan,
    jobs: &[Job<'_>],
    callback: FuncRef,
    target: cranelift::codegen::isa::TargetFrontendConfig,
) {
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    if let &[slots, ctx, out] = builder.block_params(entry) {
        let mut lowering =
            Lowering { builder: &mut builder, plan, callback, pointer: target.pointer_type(), slots, ctx };
        let zero = lowering.builder.ins().iconst(types::I64, 0);
        let mut words = [zero; 2];
        let count = jobs.len() - usize::from(planted!(LastRuleOfAFunctionIsLost) && jobs.len() > 1);
        for job in jobs.iter().take(count) {
            let truth = lowering.job(job);
            let wide = lowering.builder.ins().uextend(types::I64, truth);
            let place = lowering.builder.ins().iconst(types::I64, (job.position % 32 * 2) as i64);
            let placed = lowering.builder.ins().ishl(wide, place);
            if let Some(word) = words.get_mut(job.position / 32) {
                *word = lowering.builder.ins().bor(*word, placed);
            }
        }
        for (offset, word) in [0, 8].into_iter().zip(words) {
            lowering.builder.ins().store(MemFlagsData::trusted(), word, out, offset);
        }
    }
    builder.ins().return_(&[]);
    builder.seal_all_blocks();
    builder.finalize(target);
}

/// Emits the body of a function that judges the one rule at the given position and returns its [`Truth`].
pub(super) fn lower_each(
    mut builder: FunctionBuilder<'_>,
    plan: &Plan,
    jobs: &[Job<'_>],
    callback: FuncRef,
    target: cranelift::codegen::isa::TargetFrontendConfig,
) {
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    if let &[slots, ctx, position] = builder.block_params(entry) {
        let unknown = builder.create_block();
        let mut table = [unknown; RULES_PER_FUNCTION_MAX];
        let mut blocks = Vec::with_capacity(jobs.len());
        for job in jobs {
            let block = builder.create_block();
            if let Some(place) = table.get_mut(job.position) {
                *place = block;
            }
            blocks.push(block);
        }
        let default = builder.func.dfg.block_call(unknown, &[]);
        let calls: Vec<_> = table.iter().map(|block| builder.func.dfg.block_call(*block, &[])).collect();
        let table = builder.create_jump_table(JumpTableData::new(default, &calls));
        let narrow = builder.ins().ireduce(types::I32, position);
        builder.ins().br_table(narrow, table);
        let mut lowering =
            Lowering { builder: &mut builder, plan, callback, pointer: target.pointer_type(), slots, ctx };
        for (job, block) in jobs.iter().zip(blocks) {
            lowering.builder.switch_to_block(block);
            let truth = lowering.job(job);
            lowering.builder.ins().return_(&[truth]);
        }
        lowering.builder.switch_to_block(unknown);
        let error = lowering.truth(Truth::Error);
        lowering.builder.ins().return_(&[error]);
    }
    builder.seal_all_blocks();
    builder.finalize(target);
}

struct Lowering<'a, 'f> {
    builder: &'a mut FunctionBuilder<'f>,
    plan: &'a Plan,
    callback: FuncRef,
    pointer: Type,
    slots: Value,
    ctx: Value,
}

impl Lowering<'_, '_> {
    fn job(&mut self, job: &Job<'_>) -> Value {
        if job.is_asked() {
            // Behind the costly atoms come the rules.
            return self.ask((self.plan.costly.len() + job.rule) as u32);
        }
        self.fold(job.parts.clone(), Fold::MINIMUM)
    }

    /// A truth as an `i8`.
    fn condition(&mut self, condition: &Condition) -> Value {
        match condition {
            Condition::Const(value) => self.truth(if *value { Truth::True } else { Truth::False }),
            Condition::Atom(id) => match self.plan.atoms.get(id.0 as usize) {
                Some(code) => self.atom(code),
                None => self.truth(Truth::Error),
            },
            Condition::Not(inner) => {
                let inner = self.condition(inner);
                if planted!(NotKeepsTruth) {
                    return inner;
                }
                let two = self.truth(Truth::True);
                self.builder.ins().isub(two, inner)
            }
            Condition::All(parts) => {
                self.fold(parts.iter().collect(), if planted!(AndIsOr) { Fold::MAXIMUM } else { Fold::MINIMUM })
            }
            Condition::Any(parts) if planted!(OrTakesTheFirst) => {
                self.fold(parts.iter().take(1).collect(), Fold::MAXIMUM)
            }
            Condition::Any(parts) => self.fold(parts.iter().collect(), Fold::MAXIMUM),
        }
    }

    /// Parts that read slots come first and without branches; then each part that may ask back, unless the outcome is settled, the
    /// cheapest first.
    fn fold(&mut self, parts: Vec<&Condition>, fold: Fold) -> Value {
        let (mut costly, cheap): (Vec<&Condition>, Vec<&Condition>) =
            parts.into_iter().partition(|part| self.cost(part) > 0);
        costly.sort_by_key(|part| self.cost(part));
        let mut folded = None;
        for part in cheap {
            let truth = self.condition(part);
            folded = Some(match folded {
                None => truth,
                Some(before) => self.combine(fold, before, truth),
            });
        }
        let mut joined: Option<Block> = None;
        for part in costly {
            if let Some(before) = folded {
                let join = *joined.get_or_insert_with(|| self.join_block());
                let next = self.builder.create_block();
                let settled = self.equals(before, fold.settled as i64);
                self.builder.ins().brif(settled, join, &[before.into()], next, &[]);
                self.builder.switch_to_block(next);
            }
            let truth = self.condition(part);
            folded = Some(match folded {
                None => truth,
                Some(before) => self.combine(fold, before, truth),
            });
        }
        let empty = if planted!(EmptyAnyIsTrue) { Truth::True } else { fold.empty };
        let folded = folded.unwrap_or_else(|| self.truth(empty));
        match joined {
            None => folded,
            Some(join) => self.end_in(join, folded),
        }
    }

    fn combine(&mut self, fold: Fold, left: Value, right: Value) -> Value {
        match fold.settled {
            Truth::False => self.builder.ins().umin(left, right),
            _ => self.builder.ins().umax(left, right),
        }
    }

    /// What judging this may cost beyond reading slots: 0 when it never calls back.
    fn cost(&self, condition: &Condition) -> u8 {
        match condition {
            Condition::Const(_) => 0,
            Condition::Atom(id) => match self.plan.atoms.get(id.0 as usize) {
                Some(AtomCode::Ask(costly) | AtomCode::Class { or_else: Some(OrElse { costly, .. }), .. }) => {
                    self.plan.costly.get(*costly as usize).map_or(1, |(_, cost)| *cost)
                }
                _ => 0,
            },
            Condition::Not(inner) => self.cost(inner),
            Condition::All(parts) | Condition::Any(parts) => {
                parts.iter().map(|part| self.cost(part)).max().unwrap_or_default()
            }
        }
    }

    fn atom(&mut self, code: &AtomCode) -> Value {
        match code {
            AtomCode::Class { field, classes, suffixes, or_else } => {
                let class = self.load(types::I32, offset_of!(Slots, strings) + field * size_of::<u32>());
                let mut hit = self.one_of(class, classes);
                if !suffixes.ids().is_empty() {
                    let suffix = self.load(types::I32, offset_of!(Slots, suffixes) + field * size_of::<u32>());
                    let end_hit = self.one_of(suffix, suffixes);
                    hit = self.builder.ins().bor(hit, end_hit);
                }
                let truth = self.truth_of(hit);
                match or_else {
                    None => truth,
                    Some(or_else) => self.or_else(class, hit, truth, *or_else),
                }
            }
            AtomCode::Address(classes) => {
                let class = self.load(types::I32, offset_of!(Slots, address));
                let known = self.load(types::I8, offset_of!(Slots, address_known));
                let hit = self.one_of(class, classes);
                self.unless_unknown(known, hit)
            }
            AtomCode::Member(bit) if (*bit as usize) < self.plan.members => {
                let members = self.load(self.pointer, offset_of!(Slots, members));
                let offset = i32::try_from(*bit as usize / 64 * size_of::<u64>()).unwrap_or_default();
                let word = self.builder.ins().load(types::I64, slot_memory(), members, offset);
                let shift = self.builder.ins().iconst(types::I64, i64::from(bit % 64));
                let bit = self.lowest_bit(word, shift);
                self.truth_of(bit)
            }
            AtomCode::Claim(claim) if (*claim as usize) < self.plan.claims.len() => {
                let claims = self.load(self.pointer, offset_of!(Slots, claims));
                let offset = i32::try_from(*claim).unwrap_or_default();
                self.builder.ins().load(types::I8, slot_memory(), claims, offset)
            }
            // The plan numbers both densely.
            AtomCode::Member(_) | AtomCode::Claim(_) => self.truth(Truth::Error),
            AtomCode::IntKnown(field) => {
                let known = self.load(types::I8, offset_of!(Slots, int_known) + field);
                self.truth_of(known)
            }
            AtomCode::Int { field, op, value } => {
                let known = self.load(types::I8, offset_of!(Slots, int_known) + field);
                let found = self.load(types::I64, offset_of!(Slots, ints) + field * size_of::<i64>());
                let literal = self.builder.ins().iconst(types::I64, *value);
                let holds = self.builder.ins().icmp(comparison(*op), found, literal);
                self.unless_unknown(known, holds)
            }
            AtomCode::Bool(field) => self.load(types::I8, offset_of!(Slots, bools) + field),
            AtomCode::Ask(costly) => self.ask(*costly),
        }
    }

    /// Asks for the globs that classes do not settle: not where the set is hit, nor for literals, of which all globs are known.
    fn or_else(&mut self, class: Value, hit: Value, truth: Value, or_else: OrElse) -> Value {
        let join = self.join_block();
        let (open, ask) = (self.builder.create_block(), self.builder.create_block());
        self.builder.ins().brif(hit, join, &[truth.into()], open, &[]);
        self.builder.switch_to_block(open);
        // Class 0 becomes the largest number.
        let one = self.builder.ins().iconst(types::I32, 1);
        let from_zero = self.builder.ins().isub(class, one);
        let literals = self.builder.ins().iconst(types::I32, i64::from(or_else.literal_max));
        let is_literal = self.builder.ins().icmp(IntCC::UnsignedLessThan, from_zero, literals);
        self.builder.ins().brif(is_literal, join, &[truth.into()], ask, &[]);
        self.builder.switch_to_block(ask);
        let answer = self.ask(or_else.costly);
        self.end_in(join, answer)
    }

    /// 0 and 1 become false and true, or an error where `known` is 0.
    fn unless_unknown(&mut self, known: Value, holds: Value) -> Value {
        let truth = self.truth_of(holds);
        let error = self.truth(Truth::Error);
        self.builder.ins().select(known, truth, error)
    }

    /// 1 when the id is in the set.
    fn one_of(&mut self, id: Value, set: &IdSet) -> Value {
        let ids = match set {
            IdSet::Bitmap(first_word, _) => return self.bit_of(id, *first_word),
            IdSet::Few(ids) => ids,
        };
        let mut hit = None;
        for wanted in ids {
            let equal = self.equals(id, i64::from(*wanted));
            hit = Some(match hit {
                None => equal,
                Some(before) => self.builder.ins().bor(before, equal),
            });
        }
        hit.unwrap_or_else(|| self.builder.ins().iconst(types::I8, 0))
    }

    /// The id's bit in a bitmap. Ids come from the classes that the bitmap was made for, so they are inside it.
    fn bit_of(&mut self, id: Value, first_word: u32) -> Value {
        let sets = self.load(self.pointer, offset_of!(Slots, sets));
        let six = self.builder.ins().iconst(types::I32, if planted!(BitmapIsOff) { 7 } else { 6 });
        let word = self.builder.ins().ushr(id, six);
        let first = self.builder.ins().iconst(types::I32, i64::from(first_word));
        let word = self.builder.ins().iadd(word, first);
        let three = self.builder.ins().iconst(types::I32, 3);
        let offset = self.builder.ins().ishl(word, three);
        let offset = self.widen(offset, types::I32, self.pointer);
        let address = self.builder.ins().iadd(sets, offset);
        let word = self.builder.ins().load(types::I64, slot_memory(), address, 0);
        let shift = self.widen(id, types::I32, types::I64);
        self.lowest_bit(word, shift)
    }

    fn widen(&mut self, value: Value, from: Type, to: Type) -> Value {
        if from == to { value } else { self.builder.ins().uextend(to, value) }
    }

    /// `(word >> (shift mod 64)) & 1` as an `i8`.
    fn lowest_bit(&mut self, word: Value, shift: Value) -> Value {
        let shifted = self.builder.ins().ushr(word, shift);
        let low = self.builder.ins().ireduce(types::I8, shifted);
        let one = self.builder.ins().iconst(types::I8, 1);
        self.builder.ins().band(low, one)
    }

    /// 0 and 1 become false and true.
    fn truth_of(&mut self, bit: Value) -> Value {
        self.builder.ins().iadd(bit, bit)
    }

    fn truth(&mut self, truth: Truth) -> Value {
        self.builder.ins().iconst(types::I8, truth as i64)
    }

    fn equals(&mut self, value: Value, constant: i64) -> Value {
        let value_type = self.builder.func.dfg.value_type(value);
        let constant = self.builder.ins().iconst(value_type, constant);
        self.builder.ins().icmp(IntCC::Equal, value, constant)
    }

    fn ask(&mut self, costly: u32) -> Value {
        let index = self.builder.ins().iconst(self.pointer, i64::from(costly));
        let call = self.builder.ins().call(self.callback, &[self.ctx, index]);
        match self.builder.inst_results(call) {
            [truth] => *truth,
            // The signature has one result.
            _ => self.truth(Truth::Error),
        }
    }

    /// A block that is entered with a truth.
    fn join_block(&mut self) -> Block {
        let join = self.builder.create_block();
        self.builder.append_block_param(join, types::I8);
        join
    }

    /// Jumps there with the truth and goes on behind it with whichever truth arrived.
    fn end_in(&mut self, join: Block, truth: Value) -> Value {
        self.builder.ins().jump(join, &[truth.into()]);
        self.builder.switch_to_block(join);
        match self.builder.block_params(join) {
            [arrived] => *arrived,
            _ => truth,
        }
    }

    fn load(&mut self, value_type: Type, offset: usize) -> Value {
        // Offsets are below the size of `Slots`.
        let offset = i32::try_from(offset).unwrap_or(i32::MAX);
        self.builder.ins().load(value_type, slot_memory(), self.slots, offset)
    }
}

/// Slots and bitmaps are valid, aligned and unchanged during the whole call: their loads may be merged and moved.
fn slot_memory() -> MemFlagsData {
    MemFlagsData::trusted().with_readonly().with_can_move()
}

/// `and` or `or`.
#[derive(Clone, Copy)]
struct Fold {
    /// The truth that no further part can change.
    settled: Truth,
    /// The truth of no parts.
    empty: Truth,
}

impl Fold {
    const MINIMUM: Self = Self { settled: Truth::False, empty: Truth::True };
    const MAXIMUM: Self = Self { settled: Truth::True, empty: Truth::False };
}

fn comparison(op: CompareOp) -> IntCC {
    match op {
        CompareOp::Eq if planted!(EqualIsNotEqual) => IntCC::NotEqual,
        CompareOp::Lt if planted!(LessIsUnsigned) => IntCC::UnsignedLessThan,
        CompareOp::Gt if planted!(GreaterIsGreaterOrEqual) => IntCC::SignedGreaterThanOrEqual,
        CompareOp::Eq => IntCC::Equal,
        CompareOp::Lt => IntCC::SignedLessThan,
        CompareOp::Le => IntCC::SignedLessThanOrEqual,
        CompareOp::Gt => IntCC::SignedGreaterThan,
        CompareOp::Ge => IntCC::SignedGreaterThanOrEqual,
    }
}
