"""Tokens of the text form: what `expr_text` and `text` parse from."""

from __future__ import annotations

import json
import re
from typing import NoReturn

from ..errors import InvalidGraph

_STRING = r'"(?:[^"\\]|\\.)*"'
_TOKEN = re.compile(
    rf"""[^\S]+
    | (?P<token> {_STRING}
    | %(?:[A-Za-z_][\w.]*|\d+|{_STRING})
    | \#[0-9a-f]+
    | \d+(?:\.\d*)?(?:[eE][+-]?\d+)?
    | [A-Za-z_]\w*
    | -> | // | [-+*%(){{}}\[\]<|,:;=@`] )""",
    re.VERBOSE,
)
_OPEN, _CLOSE = "([{", ")]}"
END = ""  # the token after the last


class Scanner:
    """A position in the tokens of a text. Errors are InvalidGraph and name the line."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[str] = []
        self.starts: list[int] = []
        self.at = 0
        place = 0
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None:
                line = text.count("\n", 0, place) + 1
                raise InvalidGraph(f"line {line}: {text[place : place + 20].splitlines()[0]!r} is no token of the text form")
            if match["token"] is not None:
                self.tokens.append(match["token"])
                self.starts.append(place)
            place = match.end()
        self.tokens += [END, END]  # two: `peek(1)` is always there
        self.starts.append(len(text))

    def peek(self, ahead: int = 0) -> str:
        """The next token, or the one after it (ahead=1)."""
        return self.tokens[self.at + ahead]

    def next(self) -> str:
        token = self.tokens[self.at]
        self.at += token != END
        return token

    def accept(self, token: str) -> bool:
        """Steps over `token` if it is next."""
        found = self.tokens[self.at] == token
        self.at += found
        return found

    def expect(self, token: str) -> None:
        if not self.accept(token):
            self.fail(f"expected {token!r}, found {self.peek() or 'the end'!r}")

    def line_of(self, at: int) -> int:
        """The line of token number `at`, from 1."""
        return self.text.count("\n", 0, self.starts[at]) + 1

    def fail(self, what: str) -> NoReturn:
        raise InvalidGraph(f"line {self.line_of(self.at)}: {what}")

    def until(self, *stops: str) -> str:
        """The raw text up to the first of `stops` outside brackets, or up to a bracket that closes an outer one."""
        start, depth = self.at, 0
        while self.peek() != END:
            token = self.peek()
            if not depth and (token in stops or token in _CLOSE):
                break
            depth += (token in _OPEN) - (token in _CLOSE)
            self.at += 1
        if start == self.at:
            self.fail(f"expected a value, found {self.peek() or 'the end'!r}")
        return self.text[self.starts[start] : self.starts[self.at]].strip()

    def name(self) -> str:
        """A bare word or a quoted string."""
        token = self.peek()
        if token.startswith('"'):
            return self.string()
        if not re.match(r"[A-Za-z_]", token):
            self.fail(f"expected a name, found {token or 'the end'!r}")
        return self.next()

    def string(self) -> str:
        """A quoted string, as JSON writes it."""
        try:
            return str(json.loads(self.peek()))
        except ValueError:
            self.fail(f"{self.peek()} is not a string as JSON writes it")
        finally:
            self.at += 1

    def number(self, prefix: str) -> int:
        """The number n of a token such as `i7` or `%7`."""
        token = self.peek()
        if not re.fullmatch(re.escape(prefix) + r"\d+", token):
            self.fail(f"expected {prefix}0, {prefix}1, …, found {token or 'the end'!r}")
        self.at += 1
        return int(token[len(prefix) :])


def quoted(name: str) -> str:
    """A name as text: bare where it is a word, else quoted."""
    return name if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) else json.dumps(name)
