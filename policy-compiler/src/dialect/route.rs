//! From a request line to an operation.

/// What a caller wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `POST /v1/chat/completions`
    ChatCompletions,
    /// `GET /v1/models`
    ListModels,
}

impl Operation {
    const ALL: [Self; 2] = [Self::ChatCompletions, Self::ListModels];

    /// The normalised path, as policies see it in `request.endpoint`.
    #[must_use]
    pub fn endpoint(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::ListModels => "/v1/models",
        }
    }

    /// The API it belongs to, as policies see it in `dialect`.
    #[must_use]
    pub fn dialect(self) -> &'static str {
        match self {
            Self::ChatCompletions | Self::ListModels => "openai",
        }
    }

    /// The method it takes.
    #[must_use]
    pub fn method(self) -> &'static str {
        match self {
            Self::ChatCompletions => "POST",
            Self::ListModels => "GET",
        }
    }
}

/// The operation of a request, `None` if this gateway knows none. A query is ignored.
#[must_use]
pub fn route(method: &str, target_path: &str) -> Option<Operation> {
    of_path(target_path).filter(|operation| operation.method() == method)
}

/// The method that this path would take, so that "no such path" and "no such method" can be told apart.
#[must_use]
pub fn method_of(target_path: &str) -> Option<&'static str> {
    of_path(target_path).map(Operation::method)
}

fn of_path(target_path: &str) -> Option<Operation> {
    let path = normalised_path(target_path)?;
    Operation::ALL.into_iter().find(|operation| operation.endpoint() == path)
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
