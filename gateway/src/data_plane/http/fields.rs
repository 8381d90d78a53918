//! Field lines of a head as spans into its bytes.

/// Field lines in order, names and values as ranges of the head's bytes.
#[derive(Debug, Clone)]
pub(crate) struct Fields {
    bytes: Vec<u8>,
    lines: Vec<(Span, Span)>,
}

/// A range of a head; heads are bounded far below 4 GiB.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

impl Fields {
    /// Takes a copy of the head's bytes once; `headers` borrow from `head`.
    pub(super) fn new(head: &[u8], headers: &[httparse::Header<'_>]) -> Self {
        let span = |part: &[u8]| {
            let start = (part.as_ptr() as usize).saturating_sub(head.as_ptr() as usize);
            Span { start: to_u32(start), end: to_u32(start + part.len()) }
        };
        let lines = headers.iter().map(|h| (span(h.name.as_bytes()), span(h.value))).collect();
        Self { bytes: head.to_vec(), lines }
    }

    /// Name and value of every line, as received.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines
            .iter()
            .map(|(name, value)| (std::str::from_utf8(self.slice(*name)).unwrap_or(""), self.slice(*value)))
    }

    /// Values of a field, in order; the name in any case.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.lines
            .iter()
            .filter(move |(own, _)| self.slice(*own).eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| self.slice(*value))
    }

    /// First value of a field.
    pub(crate) fn first(&self, name: &str) -> Option<&[u8]> {
        let line = self.lines.iter().find(|(own, _)| self.slice(*own).eq_ignore_ascii_case(name.as_bytes()));
        line.map(|(_, value)| self.slice(*value))
    }

    /// First value of a field as text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.first(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Whether a list field (RFC 9110 §5.6.1) has the token, in any case.
    pub(crate) fn lists(&self, name: &str, token: &str) -> bool {
        self.tokens(name).any(|t| t.eq_ignore_ascii_case(token))
    }

    /// The tokens of a list field.
    pub(crate) fn tokens<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.all(name)
            .filter_map(|value| std::str::from_utf8(value).ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|token| !token.is_empty())
    }

    fn slice(&self, span: Span) -> &[u8] {
        self.bytes.get(span.start as usize..span.end as usize).unwrap_or_default()
    }
}

fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Fields that concern one connection only (RFC 9110 §7.6.1), beside those that `Connection` names.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether the field must not be forwarded: hop-by-hop by name, or named by `Connection` in `fields`.
pub(crate) fn is_hop_by_hop(fields: &Fields, name: &str) -> bool {
    HOP_BY_HOP.iter().any(|hop| name.eq_ignore_ascii_case(hop)) || fields.lists("connection", name)
}
