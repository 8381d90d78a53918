//! What to say when the grammar does not fit: pest knows where and what it tried, people want to know what was meant.

use super::boxed;
use super::grammar::Rule;
use crate::codes::Code;
use crate::diagnostic::{Diagnostic, Patch};
use crate::source::Span;
use pest::error::{Error, ErrorVariant, InputLocation};

const ITEMS: [&str; 9] = ["policy", "import", "claim", "set", "let", "detector", "rule", "invariant", "test"];
const CLAUSES: [&str; 15] = [
    "when", "unless", "allow", "deny", "require", "purpose", "risk", "mask", "drop", "limit", "record", "retain",
    "seal", "alert", "until",
];

/// An item whose first word begins no item of this version.
pub(super) fn unknown_item(word: &str, item: Span) -> Box<Diagnostic> {
    let span = Span { end: (item.start + word.len()).max(item.start + 1).min(item.end), ..item };
    let help = format!("a file is made of items that begin with {}", ITEMS.map(|item| format!("`{item}`")).join(", "));
    let message = match word {
        "" => "an item was expected here".to_owned(),
        word => format!("no item begins with `{word}`"),
    };
    boxed(Diagnostic::error(Code::UnknownItem, message).label(span, "").help(help).suggest(word, span, ITEMS))
}

/// A text that the grammar refused.
pub(super) fn unexpected(error: &Error<Rule>, text: &str, item: Span) -> Box<Diagnostic> {
    let at = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
    };
    let at = skip_trivia(text, at);
    let found = token(text.get(at..).unwrap_or(""));
    let span = Span { start: item.start + at, end: item.start + at + found.len(), ..item };
    let expected = match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => whole(positives),
        ErrorVariant::CustomError { .. } => Vec::new(),
    };
    let expected = expected.as_slice();
    let at_line_start = text.get(..at).is_some_and(|before| before.ends_with('\n'));
    if at_line_start && expected.contains(&Rule::EOI) && found.starts_with(char::is_alphabetic) {
        return unknown_item(found, span);
    }
    if found == "=" && expected.contains(&Rule::op) {
        return boxed(
            Diagnostic::error(Code::SingleEquals, "`=` gives names to things, `==` compares")
                .label(span, "write `==`")
                .patch(Patch::replace(span, "==")),
        );
    }
    if let Some(word) = word_for(found) {
        return boxed(
            Diagnostic::error(Code::SymbolForWord, format!("conditions use words: `{word}`, not `{found}`"))
                .label(span, format!("write `{word}`"))
                .patch(Patch::replace(span, spaced(word, text, at, found.len()))),
        );
    }
    let wanted = describe(expected);
    let message = match (found, wanted.as_str()) {
        ("", "") => "this item ends too early".to_owned(),
        ("", wanted) => format!("this item ends too early: expected {wanted}"),
        (found, "") => format!("`{found}` does not belong here"),
        (found, wanted) => format!("expected {wanted}, found `{found}`"),
    };
    let error = Diagnostic::error(Code::Syntax, message).label(span, "");
    boxed(match expected.contains(&Rule::set_type) || found.is_empty() {
        true => error,
        false => meant(error, (found, span), expected, text, at),
    })
}

/// A word in the place of a symbol, with spaces where it would touch what stands beside it.
fn spaced(word: &str, text: &str, at: usize, length: usize) -> String {
    let before = text.get(..at).is_some_and(|before| !before.ends_with([' ', '\t', '\n', '(']));
    let after = text.get(at + length..).is_some_and(|after| !after.starts_with([' ', '\t', '\r', '\n', '(']));
    format!("{}{word}{}", if before { " " } else { "" }, if after { " " } else { "" })
}

/// pest names a rule by its first word where that is all it tried; the rule itself says more.
fn whole(positives: &[Rule]) -> Vec<Rule> {
    let in_clauses = positives.contains(&Rule::kw_unless);
    let whole = positives.iter().map(|rule| match rule {
        Rule::kw_when => Rule::when,
        Rule::kw_unless => Rule::unless,
        Rule::kw_allow => Rule::allow,
        Rule::kw_deny => Rule::deny,
        Rule::kw_mask => Rule::mask,
        Rule::kw_drop => Rule::drop,
        Rule::kw_record if in_clauses => Rule::record,
        Rule::kw_retain => Rule::retain,
        Rule::kw_seal => Rule::seal,
        Rule::kw_risk => Rule::risk,
        Rule::kw_alert => Rule::alert,
        Rule::kw_purpose if in_clauses => Rule::purpose,
        Rule::kw_limit => Rule::limit_rate,
        Rule::kw_require => Rule::require_approval,
        Rule::kw_for => Rule::lasting,
        Rule::kw_by => Rule::by,
        Rule::kw_within => Rule::within,
        Rule::kw_valid => Rule::valid,
        Rule::kw_is => Rule::presence,
        Rule::kw_matches => Rule::matches,
        Rule::kw_contains => Rule::contains,
        Rule::kw_finds => Rule::finds,
        other => *other,
    });
    whole.collect()
}

fn is_clause(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::when
            | Rule::unless
            | Rule::allow
            | Rule::deny
            | Rule::mask
            | Rule::drop
            | Rule::record
            | Rule::retain
            | Rule::seal
            | Rule::require_approval
            | Rule::require_purpose
            | Rule::require_grant
            | Rule::purpose
            | Rule::risk
            | Rule::limit_rate
            | Rule::limit_field
            | Rule::alert
    )
}

fn word_for(found: &str) -> Option<&'static str> {
    match found {
        "&&" | "&" => Some("and"),
        "||" | "|" => Some("or"),
        "!" => Some("not"),
        _ => None,
    }
}

fn meant(error: Diagnostic, (found, span): (&str, Span), expected: &[Rule], text: &str, at: usize) -> Diagnostic {
    let rest = text.get(at..).unwrap_or("");
    let line = rest.split('\n').next().unwrap_or(rest);
    let before = text.get(..at).unwrap_or("").trim_end();
    if found.starts_with('\'') {
        let inner = line.get(1..).and_then(|line| line.split_once('\'')).map(|(inner, _)| inner);
        let patch = inner
            .filter(|inner| !inner.contains(['"', '\\']))
            .map(|inner| Patch::replace(Span { end: span.start + inner.len() + 2, ..span }, format!("\"{inner}\"")));
        return error.help("strings stand in double quotes").maybe_patch(patch);
    }
    if found == ";" {
        return error.help("clauses need no separator").patch(Patch::replace(span, ""));
    }
    if expected.contains(&Rule::open_paren) && before.ends_with("group") && found.starts_with('"') {
        let inner = line.get(1..).and_then(|line| line.split_once('"')).map(|(inner, _)| inner);
        let patch = inner
            .map(|inner| Patch::replace(Span { end: span.start + inner.len() + 2, ..span }, format!("(\"{inner}\")")));
        return error.help("groups stand in brackets: group(\"…\")").maybe_patch(patch);
    }
    let closes = expected.contains(&Rule::close_brace) || expected.contains(&Rule::close_paren);
    let is_entry = found.starts_with(|c: char| c == '"' || c == '~' || c.is_alphanumeric());
    if expected.contains(&Rule::comma) && closes && expected.len() == 2 && is_entry {
        let comma = Patch::insert(span.file, span.start - (at - before.len()), ",");
        return error.help("entries are separated by commas").patch(comma);
    }
    let words = expected.iter().flat_map(|rule| words(*rule)).copied();
    error.suggest(found, span, words)
}

/// The words a rule of the grammar may begin with, for suggestions.
fn words(rule: Rule) -> &'static [&'static str] {
    match rule {
        rule if is_clause(rule) => &CLAUSES,
        Rule::kw_and | Rule::kw_or => &["and", "or"],
        Rule::compare | Rule::membership | Rule::presence | Rule::matches | Rule::contains | Rule::finds => {
            &["in", "not", "is", "matches", "contains", "finds"]
        }
        Rule::side => &["request", "response"],
        Rule::bound => &["least", "most"],
        Rule::level => &["full", "metadata"],
        Rule::state => &["present", "absent"],
        Rule::by | Rule::within | Rule::valid => &["by", "within", "valid"],
        Rule::kw_version => &["version"],
        Rule::kw_shadow => &["shadow"],
        Rule::kw_status => &["status"],
        Rule::kw_approval => &["approval"],
        Rule::kw_from => &["from"],
        Rule::kw_group | Rule::groups => &["group"],
        Rule::kw_at => &["at"],
        Rule::kw_text => &["text"],
        Rule::kw_with => &["with"],
        Rule::kw_as => &["as"],
        Rule::kw_label | Rule::kw_last4 => &["label", "last4", "hash", "token"],
        Rule::kw_grant => &["approval", "purpose", "grant"],
        Rule::counted => &["requests", "tokens"],
        Rule::source => &["claim", "policy", "header"],
        Rule::severity => &["low", "medium", "high", "critical"],
        Rule::given_what => &["identity", "request", "response", "time", "env"],
        Rule::verdict => &["allow", "deny", "pending", "fires"],
        Rule::given | Rule::expect | Rule::kw_given | Rule::kw_expect => &["given", "expect"],
        Rule::kw_near => &["near"],
        Rule::kw_default | Rule::claim_from | Rule::claim_default => &["from", "default"],
        Rule::kw_record => &["record"],
        Rule::kw_in => &["in"],
        Rule::kw_is => &["is"],
        Rule::detect | Rule::kw_detect => &["detect"],
        _ => &[],
    }
}

/// "a, b or c" in the reader's terms, each once, in the order of the grammar.
fn describe(expected: &[Rule]) -> String {
    let mut names: Vec<&str> = Vec::new();
    let mut sorted = expected.to_vec();
    sorted.sort_unstable();
    for rule in sorted {
        let name = name(rule);
        // Where a clause may stand, the closing brace goes without saying.
        let is_noise = rule == Rule::close_brace && expected.contains(&Rule::when);
        if !is_noise && !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    match names.split_last() {
        None => String::new(),
        Some((only, [])) => (*only).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

fn name(rule: Rule) -> &'static str {
    match rule {
        Rule::name | Rule::word => "a name",
        Rule::rule_name => "a rule name",
        Rule::set_type => "a type",
        Rule::string => "a string in double quotes",
        Rule::number => "a number",
        rule if is_clause(rule) => "a clause (`when`, `allow`, `deny`, `require`, `mask`, …)",
        Rule::claim_name => "the name of a claim",
        Rule::claim_type => "a type (`bool`, `number`, `string`, `list`)",
        Rule::set_expr | Rule::set_name => "a set (`{ … }` or its name)",
        Rule::date => "a day such as 2027-03-31",
        Rule::rate => "a rate such as 5/s",
        Rule::counted => "`requests` or `tokens`",
        Rule::source => "`claim`, `policy` or `header`",
        Rule::severity => "`low`, `medium`, `high` or `critical`",
        Rule::lasting => "`for`",
        Rule::status => "`status`",
        Rule::kw_until | Rule::until => "`until`",
        Rule::kw_union => "`union`",
        Rule::kw_except => "`except`",
        Rule::kw_grant => "`grant`",
        Rule::kw_purpose => "`purpose`",
        Rule::kw_near | Rule::near => "`near`",
        Rule::kw_default | Rule::claim_default => "`default`",
        Rule::claim_from => "`from`",
        Rule::promise | Rule::never | Rule::always | Rule::kw_never | Rule::kw_always => {
            "`never allow when` or `always deny when`"
        }
        Rule::given | Rule::kw_given => "`given`",
        Rule::expect | Rule::kw_expect => "`expect`",
        Rule::given_what => "`identity`, `request`, `response`, `time` or `env`",
        Rule::verdict | Rule::expect_verdict | Rule::expect_fires | Rule::expect_value => {
            "`allow`, `deny`, `pending`, `fires rule.name` or `response $.path == …`"
        }
        Rule::equal => "`==`",
        Rule::json_value | Rule::json_object | Rule::json_array | Rule::json_atom | Rule::json_member => "JSON",
        Rule::condition
        | Rule::all
        | Rule::unary
        | Rule::group
        | Rule::comparison
        | Rule::kw_not
        | Rule::header
        | Rule::json => "a condition",
        Rule::field => "a field",
        Rule::compare
        | Rule::membership
        | Rule::presence
        | Rule::matches
        | Rule::contains
        | Rule::finds
        | Rule::op
        | Rule::kw_is
        | Rule::kw_matches
        | Rule::kw_contains
        | Rule::kw_finds => "a test (`==`, `<`, `in`, `is present`, `matches`, …)",
        Rule::kw_and => "`and`",
        Rule::kw_or => "`or`",
        Rule::kw_in => "`in`",
        Rule::braces => "`{ … }`",
        Rule::groups | Rule::kw_group => "`group(\"…\")`",
        Rule::glob | Rule::address => "a value",
        Rule::json_path => "a path beginning with `$`",
        Rule::detect | Rule::kw_detect => "`detect(…)`",
        Rule::detector => "the name of a detector",
        Rule::regex => "a regular expression in slashes",
        Rule::side => "`request` or `response`",
        Rule::bound => "`least` or `most`",
        Rule::level => "`full` or `metadata`",
        Rule::state => "`present` or `absent`",
        Rule::by | Rule::within | Rule::valid => "`by`, `within` or `valid`",
        Rule::kw_version => "`version`",
        Rule::kw_shadow => "`shadow`",
        Rule::kw_status => "`status`",
        Rule::kw_approval => "`approval`",
        Rule::kw_from => "`from`",
        Rule::kw_at => "`at`",
        Rule::kw_text => "`text`",
        Rule::kw_with => "`with`",
        Rule::kw_as => "`as`",
        Rule::kw_label | Rule::kw_last4 | Rule::kw_hash | Rule::kw_token => {
            "`label`, `last4`, `hash`, `token` or a string"
        }
        Rule::kw_record => "`record`",
        Rule::colon => "`:`",
        Rule::equals => "`=`",
        Rule::comma => "`,`",
        Rule::open_brace => "`{`",
        Rule::close_brace => "`}`",
        Rule::open_paren => "`(`",
        Rule::close_paren => "`)`",
        Rule::kw_header => "a condition",
        Rule::EOI => "the end of the item",
        _ => "",
    }
}

/// pest stops before white space and comments; the reader looks at what follows.
fn skip_trivia(text: &str, mut at: usize) -> usize {
    loop {
        let rest = text.get(at..).unwrap_or("");
        let trimmed = rest.trim_start();
        at += rest.len() - trimmed.len();
        if !trimmed.starts_with("//") {
            return at;
        }
        at += trimmed.find('\n').unwrap_or(trimmed.len());
    }
}

/// The word or symbol at the start of the text, at most 40 bytes of it.
fn token(text: &str) -> &str {
    let Some(first) = text.chars().next() else {
        return "";
    };
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let end = if is_word(first) {
        text.find(|c| !is_word(c)).unwrap_or(text.len())
    } else if text.starts_with("&&") || text.starts_with("||") || text.starts_with("==") {
        2
    } else {
        first.len_utf8()
    };
    text.get(..text.floor_char_boundary(end.min(40))).unwrap_or("")
}
