"""Cuts Bicep into tokens. Line ends are tokens: they separate statements, properties and items."""

from __future__ import annotations

import re
from dataclasses import dataclass


class SyntaxFault(Exception):
    """What cannot be read, and in which line."""

    def __init__(self, line: int, message: str):
        super().__init__(message)
        self.line = line


@dataclass
class Token:
    kind: str  # "name", "number", "text", "line", "end", or the mark itself
    value: object  # of a text: its pieces, each a text or the tokens of an interpolation
    line: int


_MARKS = sorted(
    "=> == != =~ !~ <= >= && || ?? ... .? :: [? { } [ ] ( ) , : ? ! . = < > + - * / % @ |".split(), key=len, reverse=True
)
_SPACE = re.compile(r"[ \t]+|//[^\n]*|/\*.*?\*/|#(?:disable|restore)[^\n]*", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_NUMBER = re.compile(r"\d+")
_ESCAPE = re.compile(r"\\(?:([nrt\\'$])|u\{([0-9a-fA-F]+)\})")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


class Scanner:
    def __init__(self, text: str):
        self.text, self.at, self.line = text.replace("\r\n", "\n"), 0, 1

    def tokens(self, closing: bool = False) -> list[Token]:
        """All tokens; with `closing`, those up to the brace that ends an interpolation."""
        found, depth = [], 0
        while self.at < len(self.text):
            if space := _SPACE.match(self.text, self.at):
                self._pass(space.end())
            elif closing and depth == 0 and self.text[self.at] == "}":
                self.at += 1
                return [*found, Token("end", None, self.line)]
            else:
                found.append(self._token())
                depth += {"{": 1, "}": -1}.get(found[-1].kind, 0)
        if closing:
            raise SyntaxFault(self.line, "an interpolation is not closed")
        return [*found, Token("line", None, self.line), Token("end", None, self.line)]

    def _pass(self, end: int):
        self.line += self.text.count("\n", self.at, end)
        self.at = end

    def _token(self) -> Token:
        line = self.line
        if self.text[self.at] == "\n":
            self._pass(self.at + 1)
            return Token("line", None, line)
        for kind, pattern in (("name", _WORD), ("number", _NUMBER)):
            if found := pattern.match(self.text, self.at):
                self.at = found.end()
                return Token(kind, found.group(), line)
        if self.text.startswith("'''", self.at):
            return self._long_text()
        if self.text[self.at] == "'":
            return self._text()
        for mark in _MARKS:
            if self.text.startswith(mark, self.at):
                self.at += len(mark)
                return Token(mark, mark, line)
        raise SyntaxFault(line, f"unexpected {self.text[self.at]!r}")

    def _long_text(self) -> Token:
        line, end = self.line, self.text.find("'''", self.at + 3)
        if end < 0:
            raise SyntaxFault(line, "a string is not closed")
        value = self.text[self.at + 3 : end].removeprefix("\n")
        self._pass(end + 3)
        return Token("text", [value], line)

    def _text(self) -> Token:
        line, parts, piece = self.line, [], ""
        self.at += 1
        while self.at < len(self.text) and self.text[self.at] != "\n":
            if self.text[self.at] == "'":
                self.at += 1
                return Token("text", [*parts, piece], line)
            if self.text.startswith("${", self.at):
                self.at += 2
                parts += [piece, self.tokens(closing=True)]
                piece = ""
            elif self.text[self.at] == "\\":
                escape = _ESCAPE.match(self.text, self.at)
                if not escape:
                    raise SyntaxFault(line, "no such escape sequence in a string")
                char, code = escape.groups()
                piece += chr(int(code, 16)) if code else _ESCAPED.get(char, char)
                self.at = escape.end()
            else:
                piece += self.text[self.at]
                self.at += 1
        raise SyntaxFault(line, "a string is not closed")
