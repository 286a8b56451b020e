"""What an expression can be: its kind, and its value, properties or items as far as they are known before deployment.

An expression has one shape for each way it can turn out (both branches of a ternary, each allowed value of a parameter).
What is not known is `any`, and fits everywhere. On the way, what can only be wrong is reported: a property that an
object does not have, a file that is not there, an argument of the wrong kind.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import bicep
from azure import Type
from functions import FUNCTIONS, OBJECTS
from template import Template, full_type, inside, meant, resource_type


@dataclass
class Shape:
    kind: str  # string, int, bool, object, array, null, any, lambda
    line: int  # where it is written, or used
    value: object = None  # of a literal
    fields: dict[str, list[Shape]] | None = None  # of an object whose properties are known …
    complete: bool = True  # … and which has no others
    items: list[Shape] | None = None  # of an array whose items are known
    type: Type | None = None  # of an object or array of an official or declared type
    of: bicep.Declaration | None = None  # the resource or module that it stands for
    about: str = "this object"


@dataclass
class Scope:
    """The template, and what the loop variables around the expression are."""

    template: Template
    local: dict[str, list[Shape]] = field(default_factory=dict)
    seen: tuple = ()  # variables being looked into: a circle ends here

    def with_local(self, name: str, shapes: list[Shape]) -> Scope:
        return Scope(self.template, self.local | {name: shapes}, self.seen)


def shapes(node: bicep.Node, scope: Scope) -> list[Shape]:
    """All that the expression can be; never empty."""
    return _LOOK[type(node)](node, scope) or [Shape("any", node.line)]


def shapes_of(kind: Type, line: int) -> list[Shape]:
    """All that a value of this type can be."""
    match kind.kind:
        case "literal":
            return [Shape(kind.literal_kind, line, kind.value)]
        case "union":
            elements = kind.elements
            open_kinds = {element.kind for element in elements if element.kind != "literal"}
            # An open set of texts is a text.
            elements = [element for element in elements if element.kind != "literal" or "string" not in open_kinds]
            return [shape for element in elements for shape in shapes_of(element, line)]
        case "object" | "choice":
            return [Shape("object", line, type=kind, about=kind.raw.get("name", "this object"))]
        case "array":
            return [Shape("array", line, type=kind)]
        case "string" | "int" | "bool" | "null" as simple:
            return [Shape(simple, line)]
    return [Shape("any", line)]


def declared_type(node: bicep.Node | None, template: Template, allowed: bicep.Decorator | None = None) -> Type:
    """The type that a parameter or output says it has."""
    if allowed and allowed.arguments and isinstance(allowed.arguments[0], bicep.Array):
        items = [item for found in allowed.arguments[0].items for item in shapes(found, Scope(template))]
        return Type({"$type": "UnionType", "elements": [_literal(item.value) for item in items]})
    return Type(_declared(node, template, ()))


def _literal(value) -> dict:
    return {"$type": "StringLiteralType", "value": value}


def _declared(node: bicep.Node | None, template: Template, seen: tuple) -> dict:
    match node:
        case bicep.TypeName(name=name) if (alias := template.names.get(name)) and alias.kind == "type":
            return {"$type": "AnyType"} if name in seen else _declared(alias.type, template, (*seen, name))
        case bicep.TypeName(name=name):
            anything = {"$type": "AnyType"}
            return {
                "string": {"$type": "StringType"},
                "int": {"$type": "IntegerType"},
                "bool": {"$type": "BooleanType"},
                "array": {"$type": "ArrayType", "itemType": anything},
                "object": {"$type": "ObjectType", "properties": {}, "additionalProperties": anything},
            }.get(name, anything)
        case bicep.Text(plain=str() as text):
            return _literal(text)
        case bicep.TypeArray(item=item):
            return {"$type": "ArrayType", "itemType": _declared(item, template, seen)}
        case bicep.TypeOptional(inner=inner):
            return {"$type": "UnionType", "elements": [_declared(inner, template, seen), {"$type": "NullType"}]}
        case bicep.TypeUnion(elements=elements):
            return {"$type": "UnionType", "elements": [_declared(element, template, seen) for element in elements]}
        case bicep.TypeObject(names=names, types=types, rest=rest):
            found = {
                name: {"type": _declared(kind, template, seen), "flags": int(not isinstance(kind, bicep.TypeOptional))}
                for name, kind in zip(names, types, strict=True)
            }
            more = {"additionalProperties": _declared(rest, template, seen)} if rest else {}
            return {"$type": "ObjectType", "properties": found} | more
    return {"$type": "AnyType"}


# ---- expressions, one function a kind of node


def _constant(node: bicep.Literal, scope: Scope) -> list[Shape]:
    kinds = {bool: "bool", int: "int", type(None): "null"}
    return [Shape(kinds[type(node.value)], node.line, node.value)]


def _text(node: bicep.Text, scope: Scope) -> list[Shape]:
    for part in node.children():
        shapes(part, scope)
    return [Shape("string", node.line, node.plain)]


def _name(node: bicep.Name, scope: Scope) -> list[Shape]:
    if node.name in scope.local:
        return scope.local[node.name]
    declared = scope.template.names.get(node.name)
    if declared is None or node.name in scope.seen:
        return []
    if declared.kind == "var":
        inner = Scope(scope.template, {}, (*scope.seen, node.name))
        return shapes(declared.value, inner) if declared.value else []
    if declared.kind == "param":
        if declared.type is None:  # in a parameter file
            return []
        return shapes_of(declared_type(declared.type, scope.template, declared.decorator("allowed")), node.line)
    if declared.kind in ("resource", "module") and not isinstance(declared.value, bicep.For):
        return [standing_for(declared, scope.template, node.line)]
    return []


def standing_for(declared: bicep.Declaration, template: Template, line: int) -> Shape:
    """The resource or module as an object."""
    if declared.kind == "module":
        file = declared.target.plain
        target = template.project.open(template.path.parent / file) if file else None
        if target is None or target.broken:
            return Shape("any", line)
        found = {name: shapes_of(declared_type(output.type, target), line) for name, output in target.outputs.items()}
        outs = Shape("object", line, fields=found, about=f"the outputs of {file}")
        fields = {"name": [Shape("string", line)], "outputs": [outs]}
        return Shape("object", line, fields=fields, of=declared, about=f"module {declared.name}")
    official = resource_type(declared, template)
    return Shape("object", line, type=official and official.body, of=declared, about=official.name if official else "a resource")


def _nested(node: bicep.Nested, scope: Scope) -> list[Shape]:
    found = []
    for base in shapes(node.base, scope):
        if base.of:
            child = next((inner for inner in inside(base.of) if inner.name == node.name), None)
            if child is None:
                scope.template.report(node.line, f"there is no resource {node.name} inside {base.of.name}")
            else:
                found.append(standing_for(child, scope.template, node.line))
    return found


def _member(node: bicep.Member, scope: Scope) -> list[Shape]:
    return properties_of(shapes(node.base, scope), node.name, node.line, node.safe, scope)


def properties_of(bases: list[Shape], name: str, line: int, safe: bool, scope: Scope) -> list[Shape]:
    """What the property can be. That one of the shapes does not have it is reported."""
    found, missing = [], []
    for base in bases:
        if base.kind == "any" or base.kind == "null":
            found.append(Shape("any", line))
        elif base.kind != "object":
            missing.append(f"a value of kind {base.kind} has no property {name}")
        elif base.type:
            fields, rest = _fields(base.type)
            if name in fields:
                found += shapes_of(fields[name].type, line)
            elif rest:
                found += shapes_of(rest, line)
            else:
                missing.append(f"{base.about} has no property {name}{meant(name, fields)}")
        elif base.fields is None or not base.complete:
            found += (base.fields or {}).get(name, [Shape("any", line)])
        elif name in base.fields:
            found += base.fields[name]
        else:
            missing.append(f"{base.about} has no property {name}{meant(name, base.fields)}")
    if missing and not safe:
        scope.template.report(line, missing[0])
    return found


def _fields(kind: Type) -> tuple[dict, Type | None]:
    """Properties of an object type; of a choice those of all its variants."""
    fields = kind.fields
    if kind.kind == "choice":
        for variant in kind.variants.values():
            fields = variant.fields | fields
    return fields, kind.rest


def _index(node: bicep.Index, scope: Scope) -> list[Shape]:
    bases, found = shapes(node.base, scope), []
    for index in shapes(node.index, scope):
        if index.kind == "string" and isinstance(index.value, str):
            found += properties_of(bases, index.value, node.line, node.safe, scope)
        else:
            for base in bases:
                found += items_of(base, node.line)
    return found


def items_of(shape: Shape, line: int) -> list[Shape]:
    """What an item of the array can be."""
    if shape.items:
        return shape.items
    return shapes_of(shape.type.item, line) if shape.type and shape.type.kind == "array" else [Shape("any", line)]


def _nonnull(node: bicep.NonNull, scope: Scope) -> list[Shape]:
    return [shape for shape in shapes(node.base, scope) if shape.kind != "null"]


def _unary(node: bicep.Unary, scope: Scope) -> list[Shape]:
    operand = shapes(node.operand, scope)
    if node.operator == "!":
        must_be(operand, {"bool"}, "what follows !", node.line, scope)
        return [Shape("bool", node.line)]
    return [Shape("int", node.line, -shape.value if isinstance(shape.value, int) else None) for shape in operand]


def _binary(node: bicep.Binary, scope: Scope) -> list[Shape]:
    left, right = shapes(node.left, scope), shapes(node.right, scope)
    if node.operator == "??":
        return [shape for shape in left if shape.kind != "null"] + right
    if node.operator in ("&&", "||"):
        must_be(left + right, {"bool"}, f"what stands beside {node.operator}", node.line, scope)
    elif node.operator in ("+", "-", "*", "/", "%"):
        must_be(left + right, {"int"}, f"what stands beside {node.operator}", node.line, scope)
        return [Shape("int", node.line)]
    elif node.operator in ("==", "!=") and not {a.kind for a in left} & {b.kind for b in right} | _unknown(left + right):
        scope.template.report(node.line, f"a {left[0].kind} is never equal to a {right[0].kind}")
    return [Shape("bool", node.line)]


def _unknown(found: list[Shape]) -> set[str]:
    return {shape.kind for shape in found if shape.kind in ("any", "null")}


def must_be(found: list[Shape], kinds: set[str], what: str, line: int, scope: Scope):
    wrong = [shape.kind for shape in found if shape.kind not in kinds | {"any"}]
    if wrong:
        scope.template.report(line, f"{what} must be {' or '.join(sorted(kinds))}, not {wrong[0]}")


def _ternary(node: bicep.Ternary, scope: Scope) -> list[Shape]:
    must_be(shapes(node.condition, scope), {"bool"}, "a condition", node.line, scope)
    return shapes(node.then, scope) + shapes(node.otherwise, scope)


def _object(node: bicep.Object, scope: Scope) -> list[Shape]:
    made = Shape("object", node.line, fields={})
    for entry in node.entries:
        if isinstance(entry, bicep.Property):
            value = shapes(entry.value, scope)
            if entry.key.plain is None:
                made.complete = False
            else:
                # At the place of the property, so that a finding names its line.
                made.fields[entry.key.plain] = value
        elif isinstance(entry, bicep.Spread):
            made.complete = False
    return [made]


def _array(node: bicep.Array, scope: Scope) -> list[Shape]:
    found = []
    for item in node.items:
        spread = isinstance(item, bicep.Spread)
        for shape in shapes(item.value if spread else item, scope):
            found += items_of(shape, node.line) if spread else [shape]
    return [Shape("array", node.line, items=found)]


def loop_scope(node: bicep.For, scope: Scope) -> Scope:
    """The scope inside the loop."""
    over = shapes(node.over, scope)
    must_be(over, {"array"}, "what is looped over", node.line, scope)
    inner = scope.with_local(node.item, [item for shape in over for item in items_of(shape, node.line)])
    return inner.with_local(node.index, [Shape("int", node.line)]) if node.index else inner


def _loop(node: bicep.For, scope: Scope) -> list[Shape]:
    return [Shape("array", node.line, items=shapes(node.body, loop_scope(node, scope)))]


def _if(node: bicep.If, scope: Scope) -> list[Shape]:
    must_be(shapes(node.condition, scope), {"bool"}, "a condition", node.line, scope)
    return shapes(node.body, scope)


def _lambda(node: bicep.Lambda, scope: Scope) -> list[Shape]:
    for name in node.parameters:
        scope = scope.with_local(name, [Shape("any", node.line)])
    shapes(node.body, scope)
    return [Shape("lambda", node.line)]


# ---- functions


def _call(node: bicep.Call, scope: Scope) -> list[Shape]:
    given = [shapes(argument, scope) for argument in node.arguments]
    namespace = isinstance(node.base, bicep.Name) and node.base.name in ("sys", "az")
    if node.base and not namespace:
        _method(node, scope)
        return []
    function = FUNCTIONS.get(node.name)
    if function is None:
        return []
    for position, found in enumerate(given[: function.most]):
        kinds = function.kinds(position)
        if "any" not in kinds:
            must_be(found, kinds, f"argument {position + 1} of {node.name}", node.line, scope)
    if special := _SPECIAL.get(node.name):
        return special(node, given, scope)
    if node.name in OBJECTS:
        return [_known(OBJECTS[node.name], node)]
    return [Shape(function.gives, node.line)]


def _method(node: bicep.Call, scope: Scope):
    """A function of a resource: list…, or getSecret of a vault."""
    for base in shapes(node.base, scope):
        if base.of is None or base.kind == "any":
            continue
        name, version = full_type(base.of, scope.template) if base.of.kind == "resource" else ("", "")
        # Of some types no function is known: what is called there is not looked at.
        known = scope.template.project.types.functions(name, version)
        if name.lower() == "microsoft.keyvault/vaults":
            known.add("getsecret")
        if known and node.name.lower() not in known:
            scope.template.report(node.line, f"{base.about} has no function {node.name}{meant(node.name.lower(), known)}")


def _known(fields: dict, node: bicep.Call) -> Shape:
    found = {name: [_known(kind, node) if isinstance(kind, dict) else Shape(kind, node.line)] for name, kind in fields.items()}
    return Shape("object", node.line, fields=found, about=f"{node.name}()")


def _union(node: bicep.Call, given: list[list[Shape]], scope: Scope) -> list[Shape]:
    """One shape with all that may be in it: what is missing in one branch is not missing."""
    everything = [shape for found in given for shape in found]
    kinds = {shape.kind for shape in everything}
    if kinds == {"object"}:
        made = Shape("object", node.line, fields={})
        for shape in everything:
            made.complete = made.complete and shape.complete and shape.fields is not None
            for name, found in (shape.fields or {}).items():
                made.fields.setdefault(name, []).extend(found)
        return [made]
    if kinds == {"array"}:
        return [Shape("array", node.line, items=[item for shape in everything for item in items_of(shape, node.line)])]
    return []


def _items(node: bicep.Call, given: list[list[Shape]], scope: Scope) -> list[Shape]:
    known = all(shape.fields is not None and shape.complete for shape in given[0])
    values = [value for shape in given[0] for found in (shape.fields or {}).values() for value in found] if known else []
    fields = {"key": [Shape("string", node.line)], "value": values or [Shape("any", node.line)]}
    return [Shape("array", node.line, items=[Shape("object", node.line, fields=fields, about="an item of items()")])]


def _map(node: bicep.Call, given: list[list[Shape]], scope: Scope) -> list[Shape]:
    function = node.arguments[1] if len(node.arguments) == 2 else None
    if not isinstance(function, bicep.Lambda) or not function.parameters:
        return [Shape("array", node.line)]
    inner = scope.with_local(function.parameters[0], [item for shape in given[0] for item in items_of(shape, node.line)])
    return [Shape("array", node.line, items=shapes(function.body, inner))]


def _coalesce(node: bicep.Call, given: list[list[Shape]], scope: Scope) -> list[Shape]:
    return [shape for found in given for shape in found if shape.kind != "null"]


def _load(node: bicep.Call, given: list[list[Shape]], scope: Scope) -> list[Shape]:
    name = given[0][0].value
    if not isinstance(name, str):
        scope.template.report(node.line, f"the file of {node.name} must be known before deployment")
        return []
    path = scope.template.path.parent / name
    if not path.is_file():
        scope.template.report(node.line, f"there is no file {name}")
        return []
    if node.name != "loadJsonContent":
        return [Shape(FUNCTIONS[node.name].gives, node.line)]
    try:
        loaded = json.loads(path.read_text())
    except ValueError as error:
        scope.template.report(node.line, f"{name} is no JSON: {error}")
        return []
    return [_from_json(loaded, node.line, name)] if len(node.arguments) == 1 else []


def _from_json(value, line: int, about: str) -> Shape:
    if isinstance(value, dict):
        return Shape("object", line, fields={name: [_from_json(v, line, about)] for name, v in value.items()}, about=about)
    if isinstance(value, list):
        return Shape("array", line, items=[_from_json(item, line, about) for item in value])
    kinds = {bool: "bool", int: "int", float: "any", str: "string", type(None): "null"}
    return Shape(kinds[type(value)], line, value)


_SPECIAL = {
    "union": _union,
    "items": _items,
    "map": _map,
    "coalesce": _coalesce,
    "loadJsonContent": _load,
    "loadTextContent": _load,
    "loadYamlContent": _load,
    "loadFileAsBase64": _load,
}

_LOOK = {
    bicep.Literal: _constant,
    bicep.Text: _text,
    bicep.Name: _name,
    bicep.Member: _member,
    bicep.Nested: _nested,
    bicep.Index: _index,
    bicep.NonNull: _nonnull,
    bicep.Unary: _unary,
    bicep.Binary: _binary,
    bicep.Ternary: _ternary,
    bicep.Object: _object,
    bicep.Array: _array,
    bicep.For: _loop,
    bicep.If: _if,
    bicep.Lambda: _lambda,
    bicep.Call: _call,
}
