"""What must hold for each statement: parameters, outputs, resources against official types, modules, parameter files."""

from __future__ import annotations

import bicep
import shapes as look
from azure import RESOURCE_GROUP, ResourceType, Type
from fits import Fit, kinds, with_limits
from functions import RUNTIME
from shapes import Scope, Shape, shapes
from template import Template, body, full_type, meant, properties

TEXT = Type({"$type": "StringType"})
# What a body may say beside the properties of the type, and what a reference to an existing resource may say at all.
BESIDE = ("scope", "parent", "dependsOn")
OF_EXISTING = ("name", "scope", "parent")
LIMITS = {"minLength": {"string", "array"}, "maxLength": {"string", "array"}, "minValue": {"int"}, "maxValue": {"int"}}
SECURE = {"string", "object", "any"}
KNOWN_AT_START = {"id", "name", "type", "apiVersion"}


def check(template: Template):
    if template.is_parameters:
        _parameter_file(template)
        return
    for found in template.of_kind("param"):
        _parameter(found, template)
    for found in template.of_kind("output"):
        kind = look.declared_type(found.type, template)
        Fit(template, "").all(shapes(found.value, Scope(template)), kind, f"output {found.name}")
    for found in template.of_kind("var"):
        shapes(found.value, Scope(template))  # reports what can only be wrong
    for found in template.of_kind("resource"):
        _resource(found, template, Scope(template), None)
    for found in template.of_kind("module"):
        _module(found, template)
    for found in template.of_kind("resource", "module", "var", "output"):
        allowed = set(_loops(found.value, found.kind in ("resource", "module")))
        for node in found.value.walk():
            if isinstance(node, bicep.For) and id(node) not in allowed:
                template.report(node.line, "a loop cannot stand here; a variable can be one")


def _loops(value: bicep.Node, properties_too: bool):
    """Where the compiler takes loops: the whole value, and properties of resources and modules, none inside another."""
    if isinstance(value, bicep.For):
        yield id(value)
        value = value.body
    if isinstance(value, bicep.If):
        value = value.body
    open = [value] if properties_too else []
    while open:
        node = open.pop()
        for entry in node.entries if isinstance(node, bicep.Object) else ():
            if isinstance(entry, bicep.Declaration):
                yield from _loops(entry.value, True)
            elif isinstance(entry.value, bicep.For):
                yield id(entry.value)
            else:
                open.append(entry.value)


# ---- parameters


def parameter_type(declared: bicep.Declaration, template: Template) -> Type:
    """Its type with what @allowed and the limits say."""
    return with_limits(look.declared_type(declared.type, template, declared.decorator("allowed")), declared)


def _parameter(declared: bicep.Declaration, template: Template):
    kind = parameter_type(declared, template)
    plain = kinds(look.declared_type(declared.type, template))
    for decorator in declared.decorators:
        allowed = SECURE if decorator.name == "secure" else LIMITS.get(decorator.name)
        if allowed and not plain & (allowed | {"any"}):
            template.report(decorator.line, f"@{decorator.name} does not fit {declared.name}, a {' or '.join(plain)}")
    for decorator in declared.decorators:
        if decorator.name == "allowed":
            for shape in shapes(decorator.arguments[0], Scope(template)):
                for item in shape.items or []:
                    Fit(template, "").one(item, look.declared_type(declared.type, template), f"@allowed of {declared.name}")
    if declared.value:
        Fit(template, "").all(shapes(declared.value, Scope(template)), kind, f"default of {declared.name}")


def _given(given: dict[str, tuple[int, list[Shape]]], target: Template, template: Template, line: int, whose: str):
    """Values against the parameters of another template."""
    if target.broken:
        return
    declared = target.params()
    for name, (where, found) in given.items():
        if name in declared:
            Fit(template, whose).all(found, parameter_type(declared[name], target), name)
        else:
            template.report(where, f"{whose} has no parameter {name}{meant(name, declared)}")
    for name, found in declared.items():
        optional = found.value is not None or isinstance(found.type, bicep.TypeOptional)
        if not optional and name not in given:
            template.report(line, f"{whose} needs the parameter {name}")


def _parameter_file(template: Template):
    using = template.of_kind("using")
    if len(using) != 1 or not using[0].target.plain:
        template.report(1, "a parameter file names its template once: using '…'")
        return
    target = template.project.open(template.path.parent / using[0].target.plain)
    if target is None:
        template.report(using[0].line, f"there is no file {using[0].target.plain}")
        return
    given = {found.name: (found.line, shapes(found.value, Scope(template))) for found in template.of_kind("param")}
    _given(given, target, template, using[0].line, using[0].target.plain)


# ---- resources


def _resource(declared: bicep.Declaration, template: Template, scope: Scope, parent: ResourceType | None):
    name, version = full_type(declared, template)
    official = _official(declared, name, version, template)
    inside, scope = body(declared), _inner(declared.value, scope)
    if inside is None:
        template.report(declared.line, f"resource {declared.name} is no object")
        return
    given = properties(inside)
    _start(declared, given, template)
    if official:
        if declared.existing:
            for key, found in given.items():
                if key not in OF_EXISTING:
                    template.report(found.line, f"an existing resource cannot set {key}")
        else:
            _body(inside, official, scope, template)
        _place(declared, given, official, scope, template, bool(parent))
    for child in inside.entries:
        if isinstance(child, bicep.Declaration):
            _resource(child, template, scope, official)


def _inner(value: bicep.Node, scope: Scope) -> Scope:
    """The scope inside loops and conditions, which are looked at on the way."""
    while not isinstance(value, bicep.Object):
        if isinstance(value, bicep.For):
            scope = look.loop_scope(value, scope)
        elif isinstance(value, bicep.If):
            look.must_be(shapes(value.condition, scope), {"bool"}, "a condition", value.line, scope)
        else:
            break
        value = value.body
    return scope


def _official(declared: bicep.Declaration, name: str, version: str, template: Template) -> ResourceType | None:
    types = template.project.types
    found = types.find(name, version)
    if found is None:
        versions = types.versions(name)
        if version in versions:
            template.report(declared.line, f"{name}@{version} exists, but its type is not at hand (CLIENT_MODELS in azure.py)")
        elif versions:
            template.report(declared.line, f"{name} has no API version {version}; the last ones are {', '.join(versions[-3:])}")
        else:
            template.report(declared.line, f"there is no resource type {name}{meant(name.lower(), types.names())}")
    elif name != found.name.partition("@")[0]:
        template.report(declared.line, f"the type is spelt {found.name.partition('@')[0]}")
    template.project.checked.add(f"{name}@{version}")
    return found


def _body(inside: bicep.Object, official: ResourceType, scope: Scope, template: Template):
    shape = shapes(inside, scope)[0]
    for key in BESIDE:
        shape.fields.pop(key, None)
    Fit(template, official.name).one(shape, official.body, "")


def _place(declared: bicep.Declaration, given: dict, official: ResourceType, scope: Scope, template: Template, nested: bool):
    """Its name, its parent, its scope, and what it waits for."""
    if "name" not in given:
        template.report(declared.line, f"resource {declared.name} has no name")
    type_name = official.name.partition("@")[0]
    if "parent" in given:
        _parent(given["parent"], type_name, scope, template)
    elif not nested and type_name.count("/") > 1 and "name" in given:
        _long_name(given["name"], type_name, template)
    # Of what may be deployed everywhere the data does not say that it may be put onto a resource, too.
    if "scope" in given and not declared.existing and official.scopes == RESOURCE_GROUP:
        template.report(given["scope"].line, f"{type_name} cannot be put onto another resource")
    if "scope" not in given and not declared.existing and not official.scopes & RESOURCE_GROUP:
        template.report(declared.line, f"{type_name} cannot be deployed to a resource group")
    _waits_for(given, template)


def _parent(found: bicep.Property, type_name: str, scope: Scope, template: Template):
    for shape in shapes(found.value, scope):
        above = full_type(shape.of, template)[0] if shape.of and shape.of.kind == "resource" else None
        if above is None:
            template.report(found.line, "a parent must be a resource")
        elif above.lower() != type_name.rpartition("/")[0].lower():
            template.report(found.line, f"the parent of {type_name} cannot be a {above}")


def _long_name(found: bicep.Property, type_name: str, template: Template):
    if not isinstance(found.value, bicep.Text):
        return
    if sum(part.count("/") for part in found.value.parts if isinstance(part, str)) != type_name.count("/") - 1:
        template.report(found.line, f"without a parent, the name of a {type_name} has its parents' names before it")


def _waits_for(given: dict, template: Template):
    if "dependsOn" in given and isinstance(given["dependsOn"].value, bicep.Array):
        for item in given["dependsOn"].value.items:
            base = item
            while isinstance(base, bicep.Index | bicep.Nested | bicep.NonNull):
                base = base.base
            declared = template.names.get(base.name) if isinstance(base, bicep.Name) else None
            if declared is None or declared.kind not in ("resource", "module"):
                template.report(item.line, "dependsOn names resources and modules only")


# ---- modules


def _module(declared: bicep.Declaration, template: Template):
    file = declared.target.plain
    target = template.project.open(template.path.parent / file) if file else None
    if target is None:
        template.report(declared.line, f"there is no file {file}")
        return
    inside, scope = body(declared), _inner(declared.value, Scope(template))
    given = properties(inside) if inside else {}
    for key, found in given.items():
        if key not in ("name", "params", "scope", "dependsOn"):
            template.report(found.line, f"a module has no property {key}{meant(key, ('name', 'params', 'scope', 'dependsOn'))}")
    if "name" in given:
        Fit(template, "").all(shapes(given["name"].value, scope), TEXT, f"name of module {declared.name}")
    _start(declared, given, template)
    _waits_for(given, template)
    values = {}
    if "params" in given:
        for shape in shapes(given["params"].value, scope):
            values |= {name: (found[0].line, found) for name, found in (shape.fields or {}).items()}
    _given(values, target, template, declared.line, file)


# ---- what must be known before anything is deployed


def _start(declared: bicep.Declaration, given: dict, template: Template):
    """Names, scopes, conditions and loops are computed at the start: nothing that a deployment yields can stand there."""
    places = [(key, given[key].value) for key in ("name", "scope") if key in given]
    value = declared.value
    while isinstance(value, bicep.For | bicep.If):
        places.append(("loop", value.over) if isinstance(value, bicep.For) else ("condition", value.condition))
        value = value.body
    for what, node in places:
        late = _late(node, template, ())
        if late:
            template.report(node.line, f"the {what} of {declared.name} must be known at the start; {late} is known only later")


def _late(node: bicep.Node, template: Template, seen: tuple) -> str | None:
    """The first thing in the expression that only a deployment yields."""
    match node:
        case bicep.Call(base=None, name=name) if name in RUNTIME:
            return f"{name}()"
        case bicep.Call(base=bicep.Node()):
            return f"{node.name}()"
        case bicep.Member(base=base, name=name):
            root = base.base if isinstance(base, bicep.NonNull) else base
            declared = _stands_for(root, template)
            if declared and declared.kind == "module" and name == "outputs":
                return f"an output of {declared.name}"
            if declared and declared.kind == "resource" and name not in KNOWN_AT_START:
                return f"{declared.name}.{name}"
        case bicep.Name(name=name):
            declared = template.names.get(name)
            if declared and declared.kind == "var" and name not in seen:
                return _late(declared.value, template, (*seen, name))
    return next((late for child in node.children() if (late := _late(child, template, seen))), None)


def _stands_for(node: bicep.Node, template: Template) -> bicep.Declaration | None:
    while isinstance(node, bicep.Index | bicep.Nested | bicep.NonNull):
        node = node.base
    return template.names.get(node.name) if isinstance(node, bicep.Name) else None
