//! From conditions to cranelift's intermediate form, in strong Kleene logic.

use super::NativeError;
use super::plan::{AtomCode, IdSet, Plan, Slots};
use cranelift::codegen::ir::FuncRef;
use cranelift::prelude::{Block, FunctionBuilder, InstBuilder, IntCC, MemFlagsData, Type, Value, types};
use policy_lang::{CompareOp, Condition, Phase, Rule, Truth};
use std::mem::{offset_of, size_of};
use std::ops::Range;

/// Rules in one function.
pub(super) const RULES_PER_FUNCTION_MAX: usize = 64;
/// Nodes (conditions, and compares of small sets) after which a function takes no further rule.
const NODES_PER_FUNCTION_MAX: usize = 2_048;
/// Nodes of a single rule; it then has a function of its own.
const NODES_PER_RULE_MAX: usize = 8_192;
/// Nesting of a condition. The language's own bound is 64; `let` may add to it.
const DEPTH_MAX: usize = 256;

/// Cuts the rules into runs that fit one function each.
///
/// # Errors
/// [`NativeError::RuleTooLarge`], [`NativeError::RuleTooDeep`].
pub(super) fn chunks(rules: &[Rule], plan: &Plan) -> Result<Vec<Range<usize>>, NativeError> {
    let mut chunks = Vec::new();
    let mut current = 0..0;
    let mut nodes_in_current = 0;
    for (index, rule) in rules.iter().enumerate() {
        let nodes = nodes(&rule.condition, plan, 0)
            .ok_or_else(|| NativeError::RuleTooDeep { rule: rule.name.clone(), depth_max: DEPTH_MAX })?;
        if nodes > NODES_PER_RULE_MAX {
            return Err(NativeError::RuleTooLarge { rule: rule.name.clone(), nodes, nodes_max: NODES_PER_RULE_MAX });
        }
        let full = current.len() == RULES_PER_FUNCTION_MAX || nodes_in_current + nodes > NODES_PER_FUNCTION_MAX;
        if full && !current.is_empty() {
            chunks.push(current);
            current = index..index;
            nodes_in_current = 0;
        }
        current.end = index + 1;
        nodes_in_current += nodes;
    }
    if !current.is_empty() {
        chunks.push(current);
    }
    Ok(chunks)
}

/// Size of a condition, `None` when it is nested too deeply.
fn nodes(condition: &Condition, plan: &Plan, depth: usize) -> Option<usize> {
    if depth == DEPTH_MAX {
        return None;
    }
    match condition {
        Condition::Const(_) => Some(1),
        Condition::Atom(id) => Some(match plan.atoms.get(id.0 as usize) {
            Some(AtomCode::Ids { ids: IdSet::Few(ids), .. }) => 1 + ids.len(),
            _ => 1,
        }),
        Condition::Not(inner) => nodes(inner, plan, depth + 1).map(|inner| inner + 1),
        Condition::All(parts) | Condition::Any(parts) => {
            parts.iter().try_fold(1, |sum, part| nodes(part, plan, depth + 1).map(|part| sum + part))
        }
    }
}

/// Emits the body of one function: judges each rule and writes its truth.
pub(super) fn lower(
    mut builder: FunctionBuilder<'_>,
    plan: &Plan,
    rules: &[Rule],
    callback: FuncRef,
    target: cranelift::codegen::isa::TargetFrontendConfig,
) {
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    if let &[slots, ctx, out] = builder.block_params(entry) {
        let mut lowering =
            Lowering { builder: &mut builder, plan, callback, pointer: target.pointer_type(), slots, ctx };
        for (position, rule) in rules.iter().enumerate() {
            let truth = match rule.phase {
                Phase::Request => lowering.condition(&rule.condition),
                // The interpreter judges these once the answer is there.
                Phase::Response => lowering.truth(Truth::False),
            };
            // At most 64 rules per function, so the offset fits.
            let offset = i32::try_from(position).unwrap_or(i32::MAX);
            lowering.builder.ins().store(MemFlagsData::trusted(), truth, out, offset);
        }
    }
    builder.ins().return_(&[]);
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
                let two = self.truth(Truth::True);
                self.builder.ins().isub(two, inner)
            }
            Condition::All(parts) => self.fold(parts, Fold::MINIMUM),
            Condition::Any(parts) => self.fold(parts, Fold::MAXIMUM),
        }
    }

    /// Parts that read slots come first and without branches; then each part that may ask back, unless the outcome is settled.
    fn fold(&mut self, parts: &[Condition], fold: Fold) -> Value {
        let (costly, cheap): (Vec<&Condition>, Vec<&Condition>) = parts.iter().partition(|part| self.asks(part));
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
        let folded = folded.unwrap_or_else(|| self.truth(fold.empty));
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

    /// Whether judging this may call back.
    fn asks(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Const(_) => false,
            Condition::Atom(id) => matches!(
                self.plan.atoms.get(id.0 as usize),
                Some(AtomCode::Ask(_) | AtomCode::Ids { or_else: Some(_), .. })
            ),
            Condition::Not(inner) => self.asks(inner),
            Condition::All(parts) | Condition::Any(parts) => parts.iter().any(|part| self.asks(part)),
        }
    }

    fn atom(&mut self, code: &AtomCode) -> Value {
        match code {
            AtomCode::Ids { field, ids, or_else } => {
                let id = self.load(types::I32, offset_of!(Slots, strings) + field * size_of::<u32>());
                let hit = match ids {
                    IdSet::Few(ids) => self.one_of(id, ids),
                    IdSet::Bitmap(first_word) => self.bit_of(id, *first_word),
                };
                let truth = self.truth_of(hit);
                match or_else {
                    None => truth,
                    Some(costly) => {
                        let join = self.join_block();
                        let ask = self.builder.create_block();
                        self.builder.ins().brif(hit, join, &[truth.into()], ask, &[]);
                        self.builder.switch_to_block(ask);
                        let answer = self.ask(*costly);
                        self.end_in(join, answer)
                    }
                }
            }
            AtomCode::Member(bit) => {
                let byte_offset = (*bit as usize / 64) * size_of::<u64>();
                let word = self.load(types::I64, offset_of!(Slots, members) + byte_offset);
                let shift = self.builder.ins().iconst(types::I64, i64::from(bit % 64));
                let bit = self.lowest_bit(word, shift);
                self.truth_of(bit)
            }
            AtomCode::Int { field, op, value } => {
                let known = self.load(types::I8, offset_of!(Slots, int_known) + field);
                let found = self.load(types::I64, offset_of!(Slots, ints) + field * size_of::<i64>());
                let literal = self.builder.ins().iconst(types::I64, *value);
                let holds = self.builder.ins().icmp(comparison(*op), found, literal);
                let truth = self.truth_of(holds);
                let error = self.truth(Truth::Error);
                self.builder.ins().select(known, truth, error)
            }
            AtomCode::Bool(field) => self.load(types::I8, offset_of!(Slots, bools) + field),
            AtomCode::Ask(costly) => self.ask(*costly),
        }
    }

    /// 1 when the id is one of these.
    fn one_of(&mut self, id: Value, ids: &[u32]) -> Value {
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

    /// The id's bit in a bitmap. Ids come from the table that the bitmap was made for, so they are inside it.
    fn bit_of(&mut self, id: Value, first_word: u32) -> Value {
        let sets = self.load(self.pointer, offset_of!(Slots, sets));
        let six = self.builder.ins().iconst(types::I32, 6);
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
        CompareOp::Eq => IntCC::Equal,
        CompareOp::Lt => IntCC::SignedLessThan,
        CompareOp::Le => IntCC::SignedLessThanOrEqual,
        CompareOp::Gt => IntCC::SignedGreaterThan,
        CompareOp::Ge => IntCC::SignedGreaterThanOrEqual,
    }
}
