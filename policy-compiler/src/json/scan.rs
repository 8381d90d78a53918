//! The scanner: one pass over the bytes, a stack of open containers, no recursion.

use super::{DEPTH_MAX, DOCUMENT_BYTES_MAX, JsonError, JsonErrorKind, Kind, Node};

pub(super) fn scan(bytes: &[u8]) -> Result<Vec<Node>, JsonError> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(error(DOCUMENT_BYTES_MAX, JsonErrorKind::Length));
    }
    if let Err(utf8) = std::str::from_utf8(bytes) {
        return Err(error(utf8.valid_up_to(), JsonErrorKind::Utf8));
    }
    let mut scanner =
        Scanner { bytes, at: 0, nodes: Vec::with_capacity(bytes.len() / 16 + 4), open: Vec::with_capacity(8) };
    scanner.document()?;
    Ok(scanner.nodes)
}

struct Scanner<'b> {
    bytes: &'b [u8],
    at: usize,
    nodes: Vec<Node>,
    /// Indices of the containers that are not closed.
    open: Vec<u32>,
}

impl Scanner<'_> {
    fn document(&mut self) -> Result<(), JsonError> {
        self.blanks();
        self.value((0, 0))?;
        while let Some(&container) = self.open.last() {
            self.member(container)?;
        }
        self.blanks();
        if self.at < self.bytes.len() {
            return Err(error(self.at, JsonErrorKind::Trailing));
        }
        Ok(())
    }

    /// The next element or member of the innermost container, or its end.
    fn member(&mut self, container: u32) -> Result<(), JsonError> {
        let object = self.nodes.get(container as usize).is_some_and(|node| node.kind == Kind::Object);
        let first = self.nodes.len() == container as usize + 1;
        self.blanks();
        if self.peek()? == if object { b'}' } else { b']' } {
            self.at += 1;
            self.close(container);
            return Ok(());
        }
        if !first {
            self.expect(b',')?;
            self.blanks();
        }
        let mut key = (0, 0);
        if object {
            let start = self.at;
            if self.peek()? != b'"' {
                return Err(error(self.at, JsonErrorKind::Byte));
            }
            self.string()?;
            key = (offset(start), offset(self.at));
            self.blanks();
            self.expect(b':')?;
            self.blanks();
        }
        self.value(key)
    }

    fn value(&mut self, key: (u32, u32)) -> Result<(), JsonError> {
        let start = self.at;
        let kind = match self.peek()? {
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b'"' => Kind::String,
            b't' => Kind::True,
            b'f' => Kind::False,
            b'n' => Kind::Null,
            b'-' | b'0'..=b'9' => Kind::Number,
            _ => return Err(error(start, JsonErrorKind::Byte)),
        };
        match kind {
            Kind::Object | Kind::Array => {
                if self.open.len() == DEPTH_MAX {
                    return Err(error(start, JsonErrorKind::Depth));
                }
                self.at += 1;
            }
            Kind::String => self.string()?,
            Kind::Number => self.number()?,
            Kind::True => self.word(b"true")?,
            Kind::False => self.word(b"false")?,
            Kind::Null => self.word(b"null")?,
        }
        let index = offset(self.nodes.len());
        self.nodes.push(Node {
            kind,
            start: offset(start),
            end: offset(self.at),
            key_start: key.0,
            key_end: key.1,
            parent: self.open.last().copied().unwrap_or(u32::MAX),
            next: index + 1,
        });
        if matches!(kind, Kind::Object | Kind::Array) {
            self.open.push(index);
        }
        Ok(())
    }

    fn close(&mut self, container: u32) {
        self.open.pop();
        let next = offset(self.nodes.len());
        let end = offset(self.at);
        if let Some(node) = self.nodes.get_mut(container as usize) {
            node.end = end;
            node.next = next;
        }
    }

    fn string(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        loop {
            self.at += plain_run(self.bytes.get(self.at..).unwrap_or_default());
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => self.escape()?,
                _ => return Err(error(self.at, JsonErrorKind::Control)),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        self.at += 1;
        match self.peek()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek()?.is_ascii_hexdigit() {
                        return Err(error(start, JsonErrorKind::Escape));
                    }
                    self.at += 1;
                }
            }
            _ => return Err(error(start, JsonErrorKind::Escape)),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        let wrong = |_| error(start, JsonErrorKind::Number);
        if self.next_is(b"-") {
            self.at += 1;
        }
        if self.next_is(b"0") {
            self.at += 1;
        } else {
            self.digits().map_err(wrong)?;
        }
        if self.next_is(b".") {
            self.at += 1;
            self.digits().map_err(wrong)?;
        }
        if self.next_is(b"eE") {
            self.at += 1;
            if self.next_is(b"+-") {
                self.at += 1;
            }
            self.digits().map_err(wrong)?;
        }
        Ok(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), ()> {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(()) } else { Ok(()) }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), JsonError> {
        for &expected in word {
            self.expect(expected)?;
        }
        Ok(())
    }

    fn expect(&mut self, expected: u8) -> Result<(), JsonError> {
        if self.peek()? != expected {
            return Err(error(self.at, JsonErrorKind::Byte));
        }
        self.at += 1;
        Ok(())
    }

    fn next_is(&self, any_of: &[u8]) -> bool {
        self.bytes.get(self.at).is_some_and(|byte| any_of.contains(byte))
    }

    fn blanks(&mut self) {
        while self.next_is(b" \t\n\r") {
            self.at += 1;
        }
    }

    fn peek(&self) -> Result<u8, JsonError> {
        self.bytes.get(self.at).copied().ok_or_else(|| error(self.at, JsonErrorKind::End))
    }
}

/// Bytes until the next quote, backslash or control character, eight at a time.
fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut run = 0;
    for chunk in bytes.chunks_exact(8) {
        let mut eight = [0; 8];
        eight.copy_from_slice(chunk);
        let word = u64::from_le_bytes(eight);
        let zero_in = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
        let quotes = zero_in(word ^ (ONES * 0x22));
        let backslashes = zero_in(word ^ (ONES * 0x5C));
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        // Borrows can only make false marks above a true one, so the lowest mark is right.
        let special = quotes | backslashes | controls;
        if special != 0 {
            return run + special.trailing_zeros() as usize / 8;
        }
        run += 8;
    }
    let rest = bytes.get(run..).unwrap_or_default();
    run + rest.iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20).unwrap_or(rest.len())
}

/// Documents are shorter than 4 GiB, which [`scan`] checks first.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn error(offset: usize, kind: JsonErrorKind) -> JsonError {
    JsonError { offset, kind }
}
