"""Reads the lists of strings that a Go source builds from literals and a few calls; nothing of it is run."""

import random
import re
import string

TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*|/\*.*?\*/)|(?P<raw>`[^`]*`)|(?P<text>"(?:\\.|[^"\\\n])*")|(?P<rune>'(?:\\.|[^'\\])+')"""
    r"""|(?P<name>[A-Za-z_][\w.]*)|(?P<number>\d[\w.]*)|(?P<sign>:=|\.\.\.|[^\w\s])""",
    re.S,
)
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}


class NotRead(Exception):
    """An expression that is more than literals and the calls that are known."""


def tokens(source):
    """Kinds and texts."""
    found, at = [], 0
    while at < len(source):
        match = TOKEN.match(source, at)
        if match is None:
            raise NotRead(source[at : at + 20])
        at = match.end()
        if match.lastgroup != "skip":
            found.append((match.lastgroup, match.group()))
    return found


def unquoted(text):
    """The value of a string between double quotes."""
    def escape(match):
        code = match.group(1)
        return ESCAPES[code] if code in ESCAPES else chr(int(code[1:], 16))
    return re.sub(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", escape, text[1:-1])


class Reader:
    """Expressions of one function: `calls` maps names to functions, `names` holds what was assigned."""

    def __init__(self, source, calls):
        self.tokens, self.calls, self.names, self.at = tokens(source), calls, {}, 0

    def peek(self, ahead=0):
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else ("end", "")

    def take(self, text=None):
        kind, found = self.peek()
        if text is not None and found != text:
            raise NotRead(f"{found} where {text} was expected")
        self.at += 1
        return kind, found

    def assignments(self):
        """Notes the value of every name that is assigned one that can be read; the others are left out."""
        while self.peek()[0] != "end":
            kind, name = self.peek()
            if kind == "name" and "." not in name and self.peek(1)[1] in (":=", "="):
                start = self.at
                self.at += 2
                try:
                    self.names[name] = self.expression()
                except NotRead:
                    self.names.pop(name, None)
                    self.at = start + 2
            else:
                self.at += 1
        return self.names

    def expression(self):
        value = self.operand()
        while self.peek()[1] == "+":
            self.take()
            other = self.operand()
            if not (isinstance(value, str) and isinstance(other, str)):
                raise NotRead("a sum of something else than strings")
            value += other
        return value

    def operand(self):
        kind, text = self.take()
        if kind == "raw":
            return text[1:-1].replace("\r", "")
        if kind == "text":
            return unquoted(text)
        if text == "[" and self.peek()[1] == "]":
            self.take("]")
            self.take("string")
            return self.items()
        if kind == "name" and text == "map":
            for part in ("[", "string", "]", "string"):
                self.take(part)
            return self.items()
        if kind == "name" and self.peek()[1] == "(":
            return self.call(text)
        if kind == "name" and text == "nil":
            return []
        if kind == "name" and text in self.names:
            return self.names[text]
        raise NotRead(text)

    def items(self):
        """A list, or the values of a map, between braces."""
        self.take("{")
        found = []
        while self.peek()[1] != "}":
            value = self.expression()
            if self.peek()[1] == ":":
                self.take()
                value = self.expression()
            found.append(value)
            if self.peek()[1] == ",":
                self.take()
        self.take("}")
        return found

    def call(self, name):
        self.take("(")
        given = []
        while self.peek()[1] != ")":
            value = self.expression()
            if self.peek()[1] == "...":
                self.take()
                given.extend(value)
            else:
                given.append(value)
            if self.peek()[1] == ",":
                self.take()
        self.take(")")
        if name == "append":
            return given[0] + given[1:]
        if name == "fmt.Sprintf":
            return re.sub("%[sv]", lambda _, rest=iter(given[1:]): next(rest), given[0])
        if name not in self.calls:
            raise NotRead(name)
        return self.calls[name](*given)


class Sample:
    """Texts that match a regular expression, the same each time."""

    def __init__(self, seed):
        self.source = random.Random(seed)

    def of(self, pattern):
        parse = getattr(re, "_parser", None)
        if parse is None:
            import sre_parse as parse  # Python before 3.11
        return "".join(self.parts(parse.parse(pattern)))

    def parts(self, tree):
        for code, what in tree:
            code = str(code)
            if code == "LITERAL":
                yield chr(what)
            elif code == "NOT_LITERAL":
                yield self.source.choice([c for c in string.ascii_letters if ord(c) != what])
            elif code == "ANY":
                yield self.source.choice(string.ascii_letters)
            elif code == "IN":
                yield self.source.choice(sorted(self.members(what)))
            elif code in ("MAX_REPEAT", "MIN_REPEAT"):
                least, most, inner = what
                for _ in range(self.source.randint(int(least), min(int(most), int(least) + 10))):
                    yield from self.parts(inner)
            elif code == "SUBPATTERN":
                yield from self.parts(what[-1])
            elif code == "BRANCH":
                yield from self.parts(self.source.choice(what[1]))
            elif code != "AT":
                raise NotRead(code)

    def members(self, what):
        found = set()
        for code, value in what:
            code = str(code)
            if code == "LITERAL":
                found.add(chr(value))
            elif code == "RANGE":
                found.update(chr(c) for c in range(value[0], value[1] + 1))
            elif code == "CATEGORY" and str(value) == "CATEGORY_WORD":
                found.update(string.ascii_letters + string.digits + "_")
            elif code == "CATEGORY" and str(value) == "CATEGORY_DIGIT":
                found.update(string.digits)
            else:
                raise NotRead(f"{code} {value}")
        return found
