//! `invariant "…" { never allow when … }`: checked for names and types; judged by `policy prove`.

use super::Lowerer;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::program::{Invariant, InvariantKind, Phase, Place};
use crate::syntax::InvariantItem;

impl<'s> Lowerer<'s, '_> {
    pub(super) fn invariants(&mut self, items: &[&'s InvariantItem]) -> Vec<Invariant> {
        let mut list = Vec::new();
        for item in items {
            let _ = self.not_empty(&item.name);
            for promise in &item.promises {
                let Some(lowered) = self.condition(&promise.condition) else {
                    continue;
                };
                let condition = self.bounded(lowered, promise.condition.span);
                if self.any_atom(&condition, &|atom| atom.phase() == Phase::Response) {
                    self.error(
                        Diagnostic::error(Code::WrongPhase, "an invariant is about calls, before there is an answer")
                            .label(promise.condition.span, "")
                            .help("leave out what reads `response`"),
                    );
                }
                self.check_guards(&condition, promise.condition.span);
                list.push(Invariant {
                    name: item.name.node.clone(),
                    kind: match promise.always_deny {
                        true => InvariantKind::AlwaysDeny,
                        false => InvariantKind::NeverAllow,
                    },
                    condition,
                    place: Place { file: item.name.span.file, span: item.name.span.range() },
                });
            }
        }
        list
    }
}
