//! Detectors: built in, whole families, and those of the policy itself.

use super::Lowerer;
use crate::catalogue;
use crate::codes::Code;
use crate::diagnostic::{Diagnostic, Patch};
use crate::program::CustomDetector;
use crate::schema::detector_names;
use crate::syntax::{DetectorSyntax, Text, Value};
use std::collections::BTreeSet;

/// What a `detect(…)` comes to: names of built-in detectors and detectors of the policy, each sorted and once.
#[derive(Default)]
pub(super) struct Detectors {
    pub(super) built_in: Vec<String>,
    pub(super) custom: Vec<CustomDetector>,
}

impl<'s> Lowerer<'s, '_> {
    pub(super) fn detectors(&mut self, file: usize, written: &'s [DetectorSyntax]) -> Option<Detectors> {
        let mut sound = true;
        let mut built_in = BTreeSet::new();
        let mut custom: Vec<CustomDetector> = Vec::new();
        for entry in written {
            match entry {
                DetectorSyntax::Family(name) => match catalogue::family(&name.node) {
                    Some(members) => built_in.extend(members.iter().map(|member| member.id.to_owned())),
                    None => sound = self.unknown_family(name),
                },
                DetectorSyntax::Name(name) if catalogue::detector(&name.node).is_some() => {
                    built_in.insert(name.node.clone());
                }
                DetectorSyntax::Name(name) => match self.custom_named(file, name) {
                    Some(found) if custom.contains(&found) => {}
                    Some(found) => custom.push(found),
                    None => sound = false,
                },
            }
        }
        custom.sort_by(|a, b| a.name.cmp(&b.name));
        sound.then(|| Detectors { built_in: built_in.into_iter().collect(), custom })
    }

    fn custom_named(&mut self, file: usize, name: &'s Text) -> Option<CustomDetector> {
        let key = self.resolve(file, &name.node).and_then(|(file, short)| {
            let item = self.files.get(file)?.detectors.get(short)?;
            Some((file, item.name.node.as_str()))
        });
        let Some((owner, short)) = key else {
            self.unknown_detector(file, name);
            return None;
        };
        self.usage.uses((owner, short));
        self.custom_detector(owner, short)
    }

    /// The detector as the program holds it. Its own mistakes are reported once.
    pub(super) fn custom_detector(&mut self, file: usize, name: &str) -> Option<CustomDetector> {
        let item = *self.files.get(file)?.detectors.get(name)?;
        if let Some(known) = self.custom.get(&item.name.span) {
            return known.clone();
        }
        let regex = self.mask_regex(&item.regex);
        let mut near = Some(Vec::new());
        for entry in item.near.iter().flat_map(|braces| &braces.entries) {
            match &entry.node {
                Value::String(word) if !word.trim().is_empty() => {
                    if let Some(words) = &mut near {
                        words.push(word.trim().to_lowercase());
                    }
                }
                _ => {
                    near = None;
                    self.error(
                        Diagnostic::error(Code::WrongTest, "`near` lists words")
                            .label(entry.span, "")
                            .help("words stand in quotes: near { \"record\", \"patient no\" }"),
                    );
                }
            }
        }
        let detector = regex.zip(near).map(|(regex, mut near)| {
            near.sort_unstable();
            near.dedup();
            CustomDetector { name: name.to_owned(), regex, near }
        });
        self.custom.insert(item.name.span, detector.clone());
        detector
    }

    fn unknown_detector(&mut self, file: usize, name: &Text) {
        let own: Vec<String> = self
            .files
            .get(file)
            .map(|names| {
                let imported = names.imports.iter().filter_map(|(alias, (target, _))| {
                    Some(self.files.get(*target)?.detectors.keys().map(move |name| format!("{alias}.{name}")))
                });
                names.detectors.keys().map(|name| (*name).to_owned()).chain(imported.flatten()).collect()
            })
            .unwrap_or_default();
        let is_family = catalogue::family(&name.node).is_some();
        let mut candidates: Vec<&str> = detector_names().collect();
        candidates.extend(own.iter().map(String::as_str));
        let error = Diagnostic::error(Code::UnknownDetector, format!("there is no detector `{}`", name.node))
            .label(name.span, "");
        let family = format!("family({})", name.node);
        self.error(match is_family {
            true => error.help(format!("it is a family: write `{family}`")).patch(Patch::replace(name.span, family)),
            false => error
                .help(
                    "all built-in detectors are listed in docs/detectors.md; your own begin with `detector name = /…/`",
                )
                .suggest(&name.node, name.span, candidates),
        });
    }

    /// Always false, for the caller to store.
    fn unknown_family(&mut self, name: &Text) -> bool {
        let all = || catalogue::families().join(", ");
        self.error(
            Diagnostic::error(Code::UnknownDetector, format!("there is no family of detectors `{}`", name.node))
                .label(name.span, "")
                .help(format!("the families are {}", all()))
                .suggest(&name.node, name.span, catalogue::families()),
        );
        false
    }
}
