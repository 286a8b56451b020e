"""Names: everything used is declared, everything declared is used, nothing goes round in a circle."""

from __future__ import annotations

import bicep
from functions import DECORATORS, DEFAULTS, FUNCTIONS, PARAMETER_FILES
from template import Template, meant

PRIMITIVES = {"string", "int", "bool", "object", "array", "any"}
NAMESPACES = {"sys", "az"}


def check(template: Template):
    uses: dict[str, set[str]] = {}
    for statement in template.statements:
        reader = _Reader(template, statement)
        reader.statement(statement, set())
        if statement.kind == "output" or statement.name is None:
            uses.setdefault("", set()).update(reader.used)
        else:
            uses[statement.name] = reader.used
    _unused(template, uses)
    _circles(template, uses)


class _Reader:
    """Walks one statement with the names that are known at each place."""

    def __init__(self, template: Template, statement: bicep.Declaration):
        self.template, self.top = template, statement
        self.used: set[str] = set()

    def report(self, line: int, message: str):
        self.template.report(line, message)

    def statement(self, found: bicep.Declaration, local: set[str]):
        for decorator in found.decorators:
            places = DECORATORS.get(decorator.name)
            if places is None or found.kind not in places:
                near = meant(decorator.name, DECORATORS)
                self.report(decorator.line, f"@{decorator.name} cannot stand at a {found.kind}{near}")
        for node in [found.type, found.target, found.value, *found.decorators]:
            if node is not None:
                self.expression(node, local)

    def expression(self, node: bicep.Node, local: set[str]):
        match node:
            case bicep.Name():
                self._name(node, local)
                return
            case bicep.TypeName():
                self._type(node)
            case bicep.Call():
                self._call(node, local)
                return
            case bicep.For():
                self.expression(node.over, local)
                self.expression(node.body, local | {node.item, node.index or node.item})
                return
            case bicep.Lambda():
                local = local | set(node.parameters)
            case bicep.Object():
                children = [entry for entry in node.entries if isinstance(entry, bicep.Declaration)]
                local = local | {child.name for child in children}
                self._twice(node)
                for child in children:
                    self.statement(child, local)
                for entry in node.entries:
                    if not isinstance(entry, bicep.Declaration):
                        self.expression(entry, local)
                return
        for child in node.children():
            self.expression(child, local)

    def _name(self, node: bicep.Name, local: set[str]):
        if node.name in local:
            return
        if node.name in self.template.names:
            self.used.add(node.name)
        else:
            self.report(node.line, f"{node.name} is not declared{meant(node.name, [*self.template.names, *local])}")

    def _type(self, node: bicep.TypeName):
        declared = self.template.names.get(node.name)
        if declared and declared.kind == "type":
            self.used.add(node.name)
        elif node.name not in PRIMITIVES:
            self.report(node.line, f"{node.name} is no type{meant(node.name, PRIMITIVES)}")

    def _call(self, node: bicep.Call, local: set[str]):
        for argument in node.arguments:
            self.expression(argument, local)
        if node.base and not (isinstance(node.base, bicep.Name) and node.base.name in NAMESPACES - set(self.template.names)):
            self.expression(node.base, local)  # a function of a resource: rules.py looks at those
            return
        function = FUNCTIONS.get(node.name)
        if function is None:
            self.report(node.line, f"{node.name} is no function{meant(node.name, FUNCTIONS)}")
        elif node.name in PARAMETER_FILES and not self.template.is_parameters:
            self.report(node.line, f"{node.name} works in parameter files only")
        elif node.name in DEFAULTS and self.top.kind != "param":
            self.report(node.line, f"{node.name} works in the default of a parameter only")
        elif not function.least <= len(node.arguments) <= (function.most or len(node.arguments)):
            self.report(node.line, f"{node.name} does not take {len(node.arguments)} arguments")

    def _twice(self, node: bicep.Object):
        seen = set()
        for entry in node.entries:
            if isinstance(entry, bicep.Property) and (key := entry.key.plain) is not None:
                if key in seen:
                    self.report(entry.line, f"{key} is set before in the same object")
                seen.add(key)


def _unused(template: Template, uses: dict[str, set[str]]):
    if template.is_parameters:
        return
    used = set().union(*(found - {name} for name, found in uses.items()))
    for found in template.of_kind("param", "var", "type", "resource"):
        if found.name not in used and (found.kind != "resource" or found.existing):
            what = "existing resource" if found.existing else found.kind
            template.report(found.line, f"{what} {found.name} is not used")


def _circles(template: Template, uses: dict[str, set[str]]):
    done: set[str] = set()

    def visit(name: str, path: list[str]):
        if name in path:
            circle = [*path[path.index(name) :], name]
            template.report(template.names[name].line, f"a circle: {' → '.join(circle)}")
        elif name not in done:
            for target in sorted(uses.get(name, ())):
                if target != name or template.names[name].kind in ("var", "param"):
                    visit(target, [*path, name])
            done.add(name)

    for name in sorted(uses):
        if name:
            visit(name, [])
