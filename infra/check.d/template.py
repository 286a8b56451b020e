"""A template or parameter file with its declarations by name, and the findings about it."""

from __future__ import annotations

import difflib
import os
import pathlib
from dataclasses import dataclass, field

import bicep
import parse
from azure import ResourceType, Types
from tokens import SyntaxFault


@dataclass
class Project:
    """Everything that is checked together. `root` is taken off the paths in findings."""

    types: Types
    root: pathlib.Path
    templates: dict[pathlib.Path, Template] = field(default_factory=dict)
    findings: set[tuple[str, int, str]] = field(default_factory=set)
    checked: set[str] = field(default_factory=set)  # type@version

    def open(self, path: pathlib.Path) -> Template | None:
        """The file, read once; None where there is none. One that cannot be parsed is a finding."""
        path = path.resolve()
        if not path.is_file():
            return None
        if path not in self.templates:
            self.templates[path] = made = Template(self, path)
            try:
                made.declare(parse.parse(path.read_text()))
            except SyntaxFault as fault:
                made.broken = True
                made.report(fault.line, str(fault))
        return self.templates[path]


class Template:
    def __init__(self, project: Project, path: pathlib.Path):
        self.project, self.path, self.broken = project, path, False
        self.statements: list[bicep.Declaration] = []
        self.names: dict[str, bicep.Declaration] = {}  # params, vars, resources, modules, types
        self.outputs: dict[str, bicep.Declaration] = {}

    @property
    def is_parameters(self) -> bool:
        return self.path.suffix == ".bicepparam"

    def report(self, line: int, message: str):
        self.project.findings.add((os.path.relpath(self.path, self.project.root), line, message))

    def declare(self, statements: list[bicep.Declaration]):
        self.statements = statements
        for found in statements:
            if found.name is None or found.kind == "metadata":
                continue
            space = self.outputs if found.kind == "output" else self.names
            if found.name in space:
                self.report(found.line, f"{found.kind} {found.name} is declared before, in line {space[found.name].line}")
            space.setdefault(found.name, found)

    def of_kind(self, *kinds: str) -> list[bicep.Declaration]:
        return [found for found in self.statements if found.kind in kinds]

    def params(self) -> dict[str, bicep.Declaration]:
        return {found.name: found for found in self.of_kind("param")}


def meant(name: str, known, likeness: float = 0.6) -> str:
    """Did you mean …? Or nothing, where nothing is near."""
    near = difflib.get_close_matches(name, known, 1, likeness)
    return f" (did you mean '{near[0]}'?)" if near else ""


def body(declaration: bicep.Declaration) -> bicep.Object | None:
    """The object of a resource or module, inside its condition and loop."""
    value = declaration.value
    while isinstance(value, bicep.For | bicep.If):
        value = value.body
    return value if isinstance(value, bicep.Object) else None


def properties(object: bicep.Object) -> dict[str, bicep.Property]:
    """The properties of an object literal that are named in plain text."""
    found = [entry for entry in object.entries if isinstance(entry, bicep.Property) and entry.key.plain is not None]
    return {entry.key.plain: entry for entry in found}


def resource_type(declared: bicep.Declaration, template: Template) -> ResourceType | None:
    """The official type, or None where it cannot be known. What is wrong with it is reported by rules.py."""
    name, version = full_type(declared, template)
    return template.project.types.find(name, version) if version else None


def full_type(declared: bicep.Declaration, template: Template) -> tuple[str, str]:
    """Type and API version; a resource inside a resource has its parent's before its own."""
    name, _, version = (declared.target.plain or "").partition("@")
    parent = next((outer for outer in _resources(template) if any(declared is inner for inner in inside(outer))), None)
    if parent:
        above, its_version = full_type(parent, template)
        return f"{above}/{name}", version or its_version
    return name, version


def _resources(template: Template):
    open = template.of_kind("resource")
    while open:
        found = open.pop()
        yield found
        open.extend(inside(found))


def inside(declared: bicep.Declaration) -> list[bicep.Declaration]:
    """The resources that are declared in the body of this one."""
    found = body(declared)
    return [entry for entry in found.entries if isinstance(entry, bicep.Declaration)] if found else []
