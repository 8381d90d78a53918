//! Which field a dotted name means.

use super::Lowerer;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::program::Side;
use crate::schema::{BoolField, IntField, StrField};
use crate::source::Spanned;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Str(StrField),
    Int(IntField),
    Bool(BoolField),
    Ip,
    /// `request.text`, `response.text`
    Text(Side),
    /// `request.tool_names`
    Tools,
    /// `identity`, which is in groups.
    Identity,
    /// `identity.groups`, `identity.scopes`: on the right of `in`.
    Groups,
    Scopes,
}

const OTHERS: [(Field, &str); 7] = [
    (Field::Ip, "request.ip"),
    (Field::Text(Side::Request), "request.text"),
    (Field::Text(Side::Response), "response.text"),
    (Field::Tools, "request.tool_names"),
    (Field::Identity, "identity"),
    (Field::Groups, "identity.groups"),
    (Field::Scopes, "identity.scopes"),
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
        let elsewhere = self.files.iter().any(|file| file.defined(&name.node).is_some());
        if self.known_set_key(file, &name.node).is_some() {
            self.error(
                Diagnostic::error(Code::NotACondition, format!("`{}` is a set, not a condition", name.node))
                    .label(name.span, "")
                    .help(format!("write `… in {}`", name.node)),
            );
            return;
        }
        let is_alias = self.files.get(file).is_some_and(|file| file.imports.contains_key(root));
        if (!name.node.contains('.') && elsewhere) || is_alias {
            self.unknown_name(file, &name.node, name.span, "condition");
            return;
        }
        let own = self.files.get(file).filter(|_| self.may_suggest());
        let lets: Vec<&str> = own.map(|file| file.lets.keys().copied().collect()).unwrap_or_default();
        let claims = self.claim_names(file);
        let candidates = all().map(|(_, name)| name).chain(lets).chain(claims.iter().map(String::as_str));
        let help = match root {
            _ if name.node == "request.header" => "write `request.header(\"name\")`".to_owned(),
            "identity" => {
                "there are identity.subject, issuer, client_id, kind, groups and scopes; a claim of the token is \
                           declared first: `claim name : bool`"
                    .to_owned()
            }
            "request" => {
                "there are request.method, path, endpoint, host, ip, size, stream, text, risk, tokens_requested, \
                          tool_names, image_count, header(\"…\") and request $.json.path"
                    .to_owned()
            }
            "response" => {
                "there are response.status, size, text, finish_reason, tokens and response $.json.path".to_owned()
            }
            "time" => "there are time.hour, time.weekday and time.date".to_owned(),
            _ => {
                "fields begin with `request.`, `response.`, `identity.`, `time.` or `env.`, or are `model`, `dialect`, \
                  `upstream`, `purpose`, `basis`"
                    .to_owned()
            }
        };
        self.error(
            Diagnostic::error(Code::UnknownField, format!("there is no field or condition `{}`", name.node))
                .label(name.span, "")
                .help(help)
                .suggest(&name.node, name.span, candidates),
        );
    }
}
