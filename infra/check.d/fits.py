"""Does what an expression can be fit a type? Everything that does not is reported with its path."""

from __future__ import annotations

import re

import bicep
from azure import Type
from shapes import Shape, shapes_of
from template import Template, meant


class Fit:
    """Reports into the template; `about` is whose properties they are."""

    def __init__(self, template: Template, about: str):
        self.template, self.about = template, about

    def report(self, line: int, path: str, message: str):
        self.template.report(line, f"{path}: {message} ({self.about})" if self.about else f"{path}: {message}")

    def all(self, found: list[Shape], kind: Type, path: str):
        for shape in found:
            self.one(shape, kind, path)

    def one(self, shape: Shape, kind: Type, path: str):
        # null leaves a property out.
        if shape.kind in ("any", "null") or kind.kind == "any":
            return
        if kind.kind == "union":
            self._union(shape, kind, path)
        elif kind.kind == "literal":
            self._one_of(shape, [kind], path, closed=True)
        elif shape.kind != ("object" if kind.kind == "choice" else kind.kind):
            self.report(shape.line, path, f"{kind.kind} expected, {shape.kind} given")
        elif kind.kind in ("object", "choice"):
            self._object(shape, kind, path)
        elif kind.kind == "array":
            for item in shape.items or []:
                self.one(item, kind.item, f"{path}[]")
        else:
            self._limits(shape, kind.raw, path)

    def _union(self, shape: Shape, kind: Type, path: str):
        literals = [element for element in kind.elements if element.kind == "literal"]
        others = [element for element in kind.elements if element.kind != "literal"]
        near = [element for element in others if ("object" if element.kind == "choice" else element.kind) in (shape.kind, "any")]
        if any(element.literal_kind == shape.kind for element in literals):
            self._one_of(shape, literals, path, closed=not near)
        elif len(near) == 1:
            self.one(shape, near[0], path)
        elif not near:
            kinds = sorted({element.literal_kind for element in literals} | {element.kind for element in others})
            self.report(shape.line, path, f"{' or '.join(kinds)} expected, {shape.kind} given")

    def _one_of(self, shape: Shape, literals: list[Type], path: str, closed: bool):
        """Vendors leave most sets open for values to come; one that is not known today is a slip all the same."""
        values = [literal.value for literal in literals]
        if shape.kind not in {literal.literal_kind for literal in literals}:
            self.report(shape.line, path, f"{literals[0].literal_kind} expected, {shape.kind} given")
        elif shape.value is not None and shape.value not in values:
            text = shape.value if isinstance(shape.value, str) else ""
            known = ", ".join(map(str, values)) if len(values) <= 8 else f"{len(values)} others"
            which = "allowed" if closed else "known"
            self.report(shape.line, path, f"{shape.value!r} is not {which}{meant(text, map(str, values))}; {which}: {known}")

    def _object(self, shape: Shape, kind: Type, path: str):
        if shape.fields is None:
            return
        fields, rest = dict(kind.fields), kind.rest
        if kind.kind == "choice":
            variant = self._variant(shape, kind, path)
            if variant is None:
                return
            fields, rest = fields | variant.fields, variant.rest
        for name, values in shape.fields.items():
            below = f"{path}.{name}" if path else name
            line = next((value.line for value in values), shape.line)
            if name in fields:
                if fields[name].read_only:
                    self.report(line, below, "cannot be set, Azure sets it")
                else:
                    self.all(values, fields[name].type, below)
            elif rest:
                # Further properties are allowed; one that nearly has the name of a known one is a slip all the same.
                if near := meant(name, fields, 0.8):
                    self.report(line, below, f"no such property is known{near}")
                self.all(values, rest, below)
            else:
                self.report(line, below, f"no such property{meant(name, fields)}")
        missing = [name for name, field in fields.items() if field.required and not field.read_only and name not in shape.fields]
        if missing and shape.complete:
            self.report(shape.line, path or "the object", f"{', '.join(missing)} is missing")

    def _variant(self, shape: Shape, kind: Type, path: str) -> Type | None:
        told = shape.fields.get(kind.told_by)
        below = f"{path}.{kind.told_by}" if path else kind.told_by
        if told is None:
            if shape.complete:
                self.report(shape.line, path or "the object", f"{kind.told_by} is missing")
            return None
        value = told[0].value if len(told) == 1 else None
        if value is None:
            return None
        if value not in kind.variants:
            self.report(told[0].line, below, f"{value!r} is not allowed{meant(str(value), kind.variants)}")
        return kind.variants.get(value)

    def _limits(self, shape: Shape, raw: dict, path: str):
        value = shape.value
        if isinstance(value, str):
            shortest, longest = raw.get("minLength", 0), raw.get("maxLength", len(value))
            if not shortest <= len(value) <= longest:
                self.report(shape.line, path, f"{value!r} must have {shortest} to {longest} characters")
            if raw.get("pattern") and not re.search(raw["pattern"], value):
                self.report(shape.line, path, f"{value!r} does not match {raw['pattern']}")
        elif isinstance(value, int) and not isinstance(value, bool):
            least, most = raw.get("minValue", value), raw.get("maxValue", value)
            if not least <= value <= most:
                self.report(shape.line, path, f"{value} is not between {least} and {most}")


def with_limits(kind: Type, declaration: bicep.Declaration) -> Type:
    """The type of a parameter with the limits that its decorators set."""
    raw = dict(kind.raw)
    for name in ("minLength", "maxLength", "minValue", "maxValue"):
        found = declaration.decorator(name)
        if found and found.arguments and isinstance(found.arguments[0], bicep.Literal):
            raw[name] = found.arguments[0].value
    return Type(raw, kind.document)


def kinds(kind: Type) -> set[str]:
    """The kinds of value that fit."""
    return {shape.kind for shape in shapes_of(kind, 0)}
