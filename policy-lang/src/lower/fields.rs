//! Which field a dotted name means.

use super::Lowerer;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::schema::{BoolField, IntField, StrField};
use crate::source::Spanned;
use crate::suggest::did_you_mean;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Str(StrField),
    Int(IntField),
    Bool(BoolField),
    Ip,
    Text,
    /// `identity`, which is in groups.
    Identity,
    /// `identity.groups`, `identity.scopes`: on the right of `in`.
    Groups,
    Scopes,
}

const OTHERS: [(Field, &str); 5] = [
    (Field::Ip, "request.ip"),
    (Field::Text, "request.text"),
    (Field::Identity, "identity"),
    (Field::Groups, "identity.groups"),
    (Field::Scopes, "identity.scopes"),
];
/// Fields of the full language.
const NOT_YET: [&str; 10] = [
    "request.risk",
    "request.tokens_requested",
    "request.tool_names",
    "request.image_count",
    "purpose",
    "basis",
    "time.weekday",
    "time.date",
    "env",
    "response",
];

pub(super) fn all() -> impl Iterator<Item = (Field, &'static str)> {
    let strings = StrField::ALL.iter().map(|(f, name)| (Field::Str(*f), *name));
    let ints = IntField::ALL.iter().map(|(f, name)| (Field::Int(*f), *name));
    let bools = BoolField::ALL.iter().map(|(f, name)| (Field::Bool(*f), *name));
    strings.chain(ints).chain(bools).chain(OTHERS)
}

pub(super) fn lookup(name: &str) -> Option<Field> {
    all().find(|(_, known)| *known == name).map(|(field, _)| field)
}

impl Lowerer<'_, '_> {
    /// Neither a field nor a condition of the file.
    pub(super) fn unknown_field(&mut self, file: usize, name: &Spanned<String>) {
        let root = name.node.split('.').next().unwrap_or("");
        if NOT_YET.contains(&name.node.as_str()) || matches!(root, "env" | "response") {
            self.error(
                Diagnostic::error(Code::NotYet, format!("`{}` is not in this version of the language yet", name.node))
                    .label(name.span, ""),
            );
            return;
        }
        let elsewhere = self.files.iter().any(|file| file.defined(&name.node).is_some());
        let is_set = self.files.get(file).is_some_and(|file| file.sets.contains_key(name.node.as_str()));
        if is_set {
            self.error(
                Diagnostic::error(Code::NotACondition, format!("`{}` is a set, not a condition", name.node))
                    .label(name.span, "")
                    .help(format!("write `… in {}`", name.node)),
            );
            return;
        }
        if !name.node.contains('.') && elsewhere {
            self.unknown_name(file, &name.node, name.span, "condition");
            return;
        }
        let lets: Vec<&str> = self
            .files
            .get(file)
            .filter(|_| self.may_suggest())
            .map(|file| file.lets.keys().copied().collect())
            .unwrap_or_default();
        let candidates = all().map(|(_, name)| name).chain(lets);
        let help = did_you_mean(&name.node, candidates).unwrap_or_else(|| match root {
            "identity" => "claims of the token come with `claim`, which is not in this version yet; \
                           there are identity.subject, issuer, client_id, kind, groups and scopes"
                .to_owned(),
            "request" => "there are request.method, path, endpoint, host, ip, size, stream, text, header(\"…\") \
                          and request $.json.path"
                .to_owned(),
            _ => {
                "fields begin with `request.`, `identity.` or `time.`, or are `model`, `dialect`, `upstream`".to_owned()
            }
        });
        self.error(
            Diagnostic::error(Code::UnknownField, format!("there is no field or condition `{}`", name.node))
                .label(name.span, "")
                .help(help),
        );
    }
}
