//! From a request line to an operation.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::operation::{ErrorShape, Operation};

/// The operation of a request, `None` if this gateway knows none. A query is ignored.
#[must_use]
pub fn route(method: &str, target_path: &str) -> Option<Operation> {
    let path = normalised_path(target_path)?;
    of_path(&path).find(|operation| operation.method() == method)
}

/// Likewise among the operations of a configured API.
#[must_use]
pub fn route_among(operations: &[Operation], method: &str, target_path: &str) -> Option<Operation> {
    let path = normalised_path(target_path)?;
    operations.iter().copied().find(|operation| operation.method() == method && fits(operation.endpoint(), &path))
}

/// A method that this path would take, so that "no such path" and "no such method" can be told apart.
#[must_use]
pub fn method_of(target_path: &str) -> Option<&'static str> {
    of_path(&normalised_path(target_path)?).next().map(Operation::method)
}

/// Whose form an error on this path has, whatever the method.
#[must_use]
pub fn errors_of(target_path: &str) -> ErrorShape {
    let path = normalised_path(target_path);
    path.and_then(|path| of_path(&path).next()).map_or(ErrorShape::OpenAi, Operation::errors)
}

/// The model that the path names, where the operation's path does.
#[must_use]
pub fn model_in_path(operation: Operation, target_path: &str) -> Option<String> {
    if !operation.endpoint().contains("{model}") {
        return None;
    }
    let path = normalised_path(target_path)?;
    let named = segments(operation.endpoint()).zip(segments(&path)).find(|(part, _)| *part == "{model}");
    named.map(|(_, name)| name.to_owned())
}

/// Every operation by its path: those without placeholders, of which at most a few fit, are looked up.
struct Paths {
    fixed: HashMap<String, Vec<Operation>>,
    /// Those with the fewest placeholders first.
    templates: Vec<Operation>,
}

static PATHS: LazyLock<Paths> = LazyLock::new(|| {
    let (mut templates, plain): (Vec<Operation>, Vec<Operation>) =
        Operation::ALL.iter().partition(|operation| operation.endpoint().contains('{'));
    templates.sort_by_key(|operation| operation.endpoint().matches('{').count());
    let mut fixed: HashMap<String, Vec<Operation>> = HashMap::new();
    for operation in plain {
        if let Some(path) = normalised_path(operation.endpoint()) {
            fixed.entry(path).or_default().push(operation);
        }
    }
    Paths { fixed, templates }
});

/// The fewer placeholders, the better it fits: `/v1/responses/input_tokens` is no id.
fn of_path(path: &str) -> impl Iterator<Item = Operation> {
    let fixed = PATHS.fixed.get(path).into_iter().flatten();
    let templates = PATHS.templates.iter().filter(move |operation| fits(operation.endpoint(), path));
    fixed.chain(templates).copied()
}

fn fits(template: &str, path: &str) -> bool {
    let mut parts = segments(path);
    segments(template).all(|part| parts.next().is_some_and(|own| part.starts_with('{') || part == own))
        && parts.next().is_none()
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

/// A template as [`normalised_path`] would leave it; `None` if it could fit nothing.
pub(crate) fn normalised_template(path: &str) -> Option<String> {
    normalised_path(path)
}

/// The path without query, with single slashes, without a slash at the end and without needless percent-encoding
/// (RFC 3986 §6.2.2.2: unreserved characters only). `None` for dot segments, broken percent-encoding, control characters
/// and anything that does not begin with a slash: such paths could mean something else to the server behind.
#[must_use]
pub fn normalised_path(target_path: &str) -> Option<String> {
    let path = target_path.split_once(['?', '#']).map_or(target_path, |(path, _)| path);
    if !path.starts_with('/') || path.bytes().any(|byte| byte <= b' ' || byte == b'\\' || byte >= 0x7F) {
        return None;
    }
    if is_normal(path) { Some(path.to_owned()) } else { rewritten(path) }
}

fn rewritten(path: &str) -> Option<String> {
    let mut normalised = String::with_capacity(path.len());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        let segment = decoded_segment(segment)?;
        if segment == "." || segment == ".." {
            return None;
        }
        normalised.push('/');
        normalised.push_str(&segment);
    }
    if normalised.is_empty() {
        normalised.push('/');
    }
    Some(normalised)
}

/// Whether a path of harmless characters certainly needs no change: nothing coded, no empty segment, none that begins with a dot.
fn is_normal(path: &str) -> bool {
    let bytes = path.as_bytes();
    let ends_well = bytes.last().is_some_and(|&last| last != b'/');
    ends_well && !bytes.contains(&b'%') && !bytes.windows(2).any(|pair| matches!(pair, b"//" | b"/."))
}

fn decoded_segment(segment: &str) -> Option<String> {
    let mut decoded = String::with_capacity(segment.len());
    let mut rest = segment;
    while let Some((plain, behind)) = rest.split_once('%') {
        decoded.push_str(plain);
        let digits = behind.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        let byte = u8::from_str_radix(digits, 16).ok()?;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            decoded.push(char::from(byte));
        } else {
            decoded.push('%');
            decoded.push_str(&digits.to_ascii_uppercase());
        }
        rest = behind.get(2..)?;
    }
    decoded.push_str(rest);
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn what_counts_as_normal_is_what_rewriting_leaves_alone(path in "(/|[a-z.%0-9]){0,12}") {
            if path.starts_with('/') && is_normal(&path) {
                proptest::prop_assert_eq!(rewritten(&path), Some(path));
            }
        }
    }

    #[test]
    fn a_fixed_path_comes_before_those_with_placeholders() {
        for operation in Operation::ALL.iter().filter(|operation| !operation.endpoint().contains('{')) {
            let first = of_path(operation.endpoint()).next().map(Operation::endpoint);
            assert_eq!(first, Some(operation.endpoint()));
            assert_eq!(route(operation.method(), operation.endpoint()), Some(*operation));
        }
    }
}
