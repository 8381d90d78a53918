//! Which definitions the rules use, directly or through others.

use super::{Key, Lowerer};
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::source::Sources;
use crate::syntax::Item;
use std::collections::{HashMap, HashSet};

#[derive(Default)]
pub(super) struct Usage<'s> {
    /// Definitions being lowered, the innermost last.
    pub(super) within: Vec<Key<'s>>,
    needs: HashMap<Key<'s>, Vec<Key<'s>>>,
    roots: Vec<Key<'s>>,
    /// Imports of a file that were looked into, by alias.
    pub(super) aliases: HashSet<(usize, String)>,
    /// Claims that were read, by the file that declares them.
    pub(super) claims: HashSet<(usize, String)>,
}

impl<'s> Usage<'s> {
    pub(super) fn uses(&mut self, key: Key<'s>) {
        match self.within.last() {
            Some(user) => self.needs.entry(*user).or_default().push(key),
            None => self.roots.push(key),
        }
    }

    /// Looking at a definition for its own sake is not using it.
    pub(super) fn forget_roots(&mut self) {
        self.roots.clear();
    }

    fn used(&self) -> HashSet<Key<'s>> {
        let mut used = HashSet::new();
        let mut open = self.roots.clone();
        while let Some(key) = open.pop() {
            if used.insert(key) {
                open.extend(self.needs.get(&key).into_iter().flatten());
            }
        }
        used
    }
}

impl Lowerer<'_, '_> {
    pub(super) fn unused(&self, sources: &Sources) -> Vec<Diagnostic> {
        let used = self.usage.used();
        let mut warnings = Vec::new();
        // What an imported file offers beyond this set is for others.
        for (file, names) in self.files.iter().enumerate().filter(|(file, _)| !sources.is_library(*file)) {
            for item in &names.order {
                let (code, what, name) = match item {
                    Item::Set(set) => (Code::UnusedSet, "set", &set.name),
                    Item::Let(definition) => (Code::UnusedLet, "condition", &definition.name),
                    Item::Detector(detector) => (Code::UnusedDetector, "detector", &detector.name),
                    Item::Claim(claim) => (Code::UnusedClaim, "claim", &claim.name),
                    Item::Import(import) => (Code::UnusedImport, "import", &import.alias),
                    _ => continue,
                };
                let key = (file, name.node.clone());
                let is_used = match item {
                    Item::Claim(_) => self.usage.claims.contains(&key),
                    Item::Import(_) => self.usage.aliases.contains(&key),
                    _ => used.contains(&(file, name.node.as_str())),
                };
                if !is_used {
                    warnings.push(
                        Diagnostic::warning(code, format!("no rule uses the {what} `{}`", name.node))
                            .label(name.span, "")
                            .help("remove it, or use it"),
                    );
                }
            }
        }
        warnings
    }
}
