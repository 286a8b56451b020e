"""Reads Bicep into the tree of bicep.py.

Grammar packages are more forgiving than the compiler (they lose line ends, which separate properties in Bicep, and
know no parameter files); this reader takes what Azure/bicep's docs/grammar.md allows and stops at the first thing that
it does not understand. It knows nothing of Azure.
"""

from __future__ import annotations

import bicep
from tokens import Scanner, SyntaxFault, Token

_LEVELS = [["??"], ["||"], ["&&"], ["==", "!=", "=~", "!~"], ["<", "<=", ">", ">="], ["+", "-"], ["*", "/", "%"]]
_OPENERS = {"param", "var", "resource", "module", "output", "type", "func", "metadata", "targetScope", "using"}


class _Parser:
    def __init__(self, tokens: list[Token]):
        self.tokens, self.at = tokens, 0

    # -- small steps

    @property
    def next(self) -> Token:
        return self.tokens[self.at]

    def sees(self, *kinds: str) -> bool:
        return self.next.kind in kinds

    def word(self, value: str) -> bool:
        return self.next.kind == "name" and self.next.value == value

    def take(self, kind: str) -> Token:
        if self.next.kind != kind:
            raise SyntaxFault(self.next.line, f"{kind} expected, {self.next.value or self.next.kind} found")
        self.at += 1
        return self.tokens[self.at - 1]

    def skip(self, kind: str) -> bool:
        if self.next.kind == kind:
            self.at += 1
            return True
        return False

    def lines(self):
        while self.skip("line"):
            pass

    # -- statements

    def program(self) -> list[bicep.Declaration]:
        found = []
        self.lines()
        while not self.sees("end"):
            found.append(self.statement())
            self.take("line")
            self.lines()
        return found

    def statement(self) -> bicep.Declaration:
        decorators = []
        while self.sees("@"):
            decorators.append(self.decorator())
            self.take("line")
            self.lines()
        keyword = self.take("name")
        if keyword.value not in _OPENERS:
            raise SyntaxFault(keyword.line, f"'{keyword.value}' begins no statement that this check knows")
        made = bicep.Declaration(keyword.line, keyword.value, decorators=decorators)
        if made.kind == "using":
            made.target = self.text()
            return made
        if made.kind == "targetScope":
            self.take("=")
            made.value = self.expression()
            return made
        made.name = self.take("name").value
        getattr(self, f"_after_{made.kind}")(made)
        return made

    def decorator(self) -> bicep.Decorator:
        line = self.take("@").line
        name = self.take("name").value
        while self.skip("."):
            name = self.take("name").value
        return bicep.Decorator(line, name, self.arguments())

    def _after_param(self, made: bicep.Declaration):
        if not self.sees("="):
            made.type = self.type()
        if self.skip("="):
            made.value = self.expression()

    def _after_var(self, made: bicep.Declaration):
        if not self.sees("="):
            made.type = self.type()
        self.take("=")
        made.value = self.expression()

    def _after_output(self, made: bicep.Declaration):
        made.type = self.type()
        self.take("=")
        made.value = self.expression()

    def _after_metadata(self, made: bicep.Declaration):
        self.take("=")
        made.value = self.expression()

    def _after_type(self, made: bicep.Declaration):
        self.take("=")
        made.type = self.type()

    def _after_func(self, made: bicep.Declaration):
        raise SyntaxFault(made.line, "functions of one's own are not known to this check")

    def _after_resource(self, made: bicep.Declaration):
        made.target = self.text()
        if self.word("existing"):
            self.at += 1
            made.existing = True
        self.take("=")
        made.value = self.condition() if self.word("if") else self.expression()

    def _after_module(self, made: bicep.Declaration):
        made.target = self.text()
        self.take("=")
        made.value = self.condition() if self.word("if") else self.expression()

    def condition(self) -> bicep.If:
        line = self.take("name").line
        self.take("(")
        condition = self.expression()
        self.take(")")
        return bicep.If(line, condition, self.object())

    # -- types

    def type(self) -> bicep.Node:
        line = self.next.line
        elements = [self.type_part()]
        while self.skip("|"):
            elements.append(self.type_part())
        return elements[0] if len(elements) == 1 else bicep.TypeUnion(line, elements)

    def type_part(self) -> bicep.Node:
        line = self.next.line
        if self.sees("text", "number"):
            made = self.primary()
        elif self.sees("{"):
            made = self.type_object()
        elif self.skip("("):
            made = self.type()
            self.take(")")
        elif self.word("true") or self.word("false") or self.word("null"):
            made = self.primary()
        else:
            made = bicep.TypeName(line, self.take("name").value)
        while self.sees("[", "?"):
            if self.skip("?"):
                made = bicep.TypeOptional(line, made)
            else:
                self.take("[")
                self.take("]")
                made = bicep.TypeArray(line, made)
        return made

    def type_object(self) -> bicep.TypeObject:
        made = bicep.TypeObject(self.take("{").line, [], [], None)
        self.lines()
        while not self.skip("}"):
            while self.sees("@"):
                self.decorator()
                self.take("line")
                self.lines()
            if self.skip("*"):
                self.take(":")
                made.rest = self.type()
            else:
                made.names.append(self.key().plain)
                self.take(":")
                made.types.append(self.type())
            self.separator("}")
        return made

    # -- expressions

    def expression(self) -> bicep.Node:
        made = self.binary(0)
        at = self.at
        self.lines()
        if not self.skip("?"):
            self.at = at
            return made
        self.lines()
        then = self.expression()
        self.lines()
        self.take(":")
        self.lines()
        return bicep.Ternary(made.line, made, then, self.expression())

    def binary(self, level: int) -> bicep.Node:
        if level == len(_LEVELS):
            return self.unary()
        made = self.binary(level + 1)
        while self.sees(*_LEVELS[level]):
            operator = self.take(self.next.kind).kind
            made = bicep.Binary(made.line, operator, made, self.binary(level + 1))
        return made

    def unary(self) -> bicep.Node:
        if self.sees("!", "-"):
            mark = self.take(self.next.kind)
            return bicep.Unary(mark.line, mark.kind, self.unary())
        return self.members(self.primary())

    def members(self, made: bicep.Node) -> bicep.Node:
        while True:
            line = self.next.line
            if self.sees(".", ".?"):
                safe = self.take(self.next.kind).kind == ".?"
                name = self.take("name").value
                call = self.sees("(") and not safe
                made = bicep.Call(line, made, name, self.arguments()) if call else bicep.Member(line, made, name, safe)
            elif self.skip("::"):
                made = bicep.Nested(line, made, self.take("name").value)
            elif self.sees("[", "[?"):
                safe = self.take(self.next.kind).kind == "[?"
                made = bicep.Index(line, made, self.expression(), safe)
                self.take("]")
            elif self.skip("!"):
                made = bicep.NonNull(line, made)
            else:
                return made

    def primary(self) -> bicep.Node:
        token = self.next
        if token.kind == "text":
            return self.text()
        if token.kind == "number":
            return bicep.Literal(token.line, int(self.take("number").value))
        if token.kind == "{":
            return self.object()
        if token.kind == "[":
            return self.array()
        if token.kind == "(":
            return self.parentheses()
        if token.kind != "name":
            raise SyntaxFault(token.line, f"an expression expected, {token.value or token.kind} found")
        self.at += 1
        if token.value in ("true", "false", "null"):
            return bicep.Literal(token.line, {"true": True, "false": False, "null": None}[token.value])
        if self.sees("("):
            return bicep.Call(token.line, None, token.value, self.arguments())
        if self.skip("=>"):
            return bicep.Lambda(token.line, [token.value], self.expression())
        return bicep.Name(token.line, token.value)

    def text(self) -> bicep.Text:
        token = self.take("text")
        parts = []
        for part in token.value:
            if isinstance(part, list):
                inside = _Parser(part)
                part = inside.expression()
                inside.take("end")
            parts.append(part)
        return bicep.Text(token.line, parts)

    def parentheses(self) -> bicep.Node:
        start, line = self.at, self.take("(").line
        names = []
        while self.sees("name", ","):
            names.append(self.take(self.next.kind))
        if self.skip(")") and self.skip("=>"):
            return bicep.Lambda(line, [token.value for token in names if token.kind == "name"], self.expression())
        self.at = start + 1
        self.lines()
        made = self.expression()
        self.lines()
        self.take(")")
        return made

    def arguments(self) -> list[bicep.Node]:
        found = []
        self.take("(")
        self.lines()
        while not self.skip(")"):
            found.append(self.expression())
            self.lines()
            if not self.sees(")"):
                self.take(",")
                self.lines()
        return found

    def separator(self, end: str):
        """Between two items stands a line end or a comma."""
        if not self.skip(",") and not self.sees("line", end):
            raise SyntaxFault(self.next.line, f"a line end or a comma expected, {self.next.value} found")
        self.lines()

    def array(self) -> bicep.Node:
        line = self.take("[").line
        self.lines()
        if self.word("for"):
            return self.loop(line)
        made = bicep.Array(line, [])
        while not self.skip("]"):
            made.items.append(self.spread() or self.expression())
            self.separator("]")
        return made

    def loop(self, line: int) -> bicep.For:
        self.take("name")
        index = None
        if self.skip("("):
            item = self.take("name").value
            self.take(",")
            index = self.take("name").value
            self.take(")")
        else:
            item = self.take("name").value
        if not self.word("in"):
            raise SyntaxFault(self.next.line, "'in' expected")
        self.at += 1
        over = self.expression()
        self.take(":")
        self.lines()
        body = self.condition() if self.word("if") else self.expression()
        self.lines()
        self.take("]")
        return bicep.For(line, item, index, over, body)

    def spread(self) -> bicep.Spread | None:
        line = self.next.line
        return bicep.Spread(line, self.expression()) if self.skip("...") else None

    def key(self) -> bicep.Text:
        token = self.next
        return self.text() if token.kind == "text" else bicep.Text(token.line, [self.take("name").value])

    def object(self) -> bicep.Object:
        made = bicep.Object(self.take("{").line, [])
        self.lines()
        while not self.skip("}"):
            declares = self.word("resource") and self.tokens[self.at + 1].kind == "name"
            entry = self.statement() if declares or self.sees("@") else self.spread()
            if entry is None:
                key = self.key()
                self.take(":")
                entry = bicep.Property(key.line, key, self.expression())
            made.entries.append(entry)
            self.separator("}")
        return made


def parse(text: str) -> list[bicep.Declaration]:
    """The declarations of a template or parameter file, or a SyntaxFault."""
    return _Parser(Scanner(text).tokens()).program()
