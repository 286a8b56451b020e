"""The tree of a Bicep file: expressions, types, declarations. parse.py makes it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field


@dataclass
class Node:
    line: int

    def children(self):
        """Every node directly below this one."""
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, Node):
                    yield child

    def walk(self):
        """This node and everything below it."""
        yield self
        for child in self.children():
            yield from child.walk()


@dataclass
class Literal(Node):
    """A number, true, false or null."""

    value: object


@dataclass
class Text(Node):
    """A string: pieces of text, with expressions between them."""

    parts: list

    @property
    def plain(self) -> str | None:
        """The text, if nothing is interpolated."""
        return None if any(isinstance(part, Node) for part in self.parts) else "".join(self.parts)


@dataclass
class Name(Node):
    name: str


@dataclass
class Call(Node):
    """`name(…)` or `base.name(…)`."""

    base: Node | None
    name: str
    arguments: list


@dataclass
class Member(Node):
    """`base.name` or `base.?name`."""

    base: Node
    name: str
    safe: bool


@dataclass
class Nested(Node):
    """`base::name`, a resource inside a resource."""

    base: Node
    name: str


@dataclass
class Index(Node):
    base: Node
    index: Node
    safe: bool


@dataclass
class NonNull(Node):
    """`base!`."""

    base: Node


@dataclass
class Unary(Node):
    operator: str
    operand: Node


@dataclass
class Binary(Node):
    operator: str
    left: Node
    right: Node


@dataclass
class Ternary(Node):
    condition: Node
    then: Node
    otherwise: Node


@dataclass
class Lambda(Node):
    parameters: list
    body: Node


@dataclass
class Property(Node):
    key: Text
    value: Node


@dataclass
class Spread(Node):
    value: Node


@dataclass
class Object(Node):
    """Properties, spreads, and (in the body of a resource) declarations of resources."""

    entries: list


@dataclass
class Array(Node):
    items: list


@dataclass
class For(Node):
    item: str
    index: str | None
    over: Node
    body: Node


@dataclass
class If(Node):
    condition: Node
    body: Node


@dataclass
class Decorator(Node):
    name: str
    arguments: list


@dataclass
class TypeName(Node):
    name: str


@dataclass
class TypeArray(Node):
    item: Node


@dataclass
class TypeOptional(Node):
    inner: Node


@dataclass
class TypeUnion(Node):
    elements: list


@dataclass
class TypeObject(Node):
    """name → type; `rest` is the type of all other properties, if any are allowed."""

    names: list
    types: list
    rest: Node | None


@dataclass
class Declaration(Node):
    """One statement. `kind` is its keyword; what a kind does not have is None."""

    kind: str
    name: str | None = None
    type: Node | None = None
    target: Text | None = None  # the type of a resource, the file of a module, the template of `using`
    existing: bool = False
    value: Node | None = None
    decorators: list = field(default_factory=list)

    def decorator(self, name: str) -> Decorator | None:
        return next((found for found in self.decorators if found.name == name), None)
