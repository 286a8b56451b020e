"""The official resource types: what may stand where in a resource of a type and API version.

Two sources (see fetch.py) become one thing, a Type: the generated types in the format of Azure/bicep-types, and, for
alerts and diagnostic settings, the models of Microsoft's Python client, read as text and brought into the same format.
"""

from __future__ import annotations

import ast
import json
import pathlib
import zipfile
from dataclasses import dataclass

REQUIRED, READ_ONLY = 1, 2  # flags of a property
RESOURCE_GROUP, EXTENSION = 8, 16  # scopes that a resource may be written to

# Type@version → which client, package inside it, and model.
CLIENT_MODELS = {
    "microsoft.insights/actiongroups@2023-01-01": ("7.0.0", "", "ActionGroupResource", "action_groups", RESOURCE_GROUP),
    "microsoft.insights/scheduledqueryrules@2023-12-01": (
        "7.0.0",
        "",
        "ScheduledQueryRuleResource",
        "scheduled_query_rules",
        RESOURCE_GROUP,
    ),
    "microsoft.insights/diagnosticsettings@2021-05-01-preview": (
        "6.0.2",
        "v2021_05_01_preview/",
        "DiagnosticSettingsResource",
        "diagnostic_settings",
        EXTENSION,
    ),
}


@dataclass
class Field:
    """A property of an object."""

    type: Type
    required: bool
    read_only: bool


class Type:
    """One type of Azure/bicep-types' format. `document` is the list that its references point into."""

    def __init__(self, raw: dict, document: list | None = None):
        self.raw, self.document = raw, document or []

    def _at(self, key: str) -> Type | None:
        return self._resolve(self.raw[key]) if self.raw.get(key) else None

    def _resolve(self, raw: dict) -> Type:
        if "$ref" in raw:
            raw = self.document[int(raw["$ref"].removeprefix("#/"))]
        return Type(raw, self.document)

    @property
    def kind(self) -> str:
        """any, null, bool, int, string, literal, array, union, object, or choice (an object told by one property)."""
        name = self.raw["$type"].removesuffix("Type").lower()
        short = {"boolean": "bool", "integer": "int", "stringliteral": "literal", "discriminatedobject": "choice"}
        return short.get(name, name)

    @property
    def value(self) -> str | int | bool:
        """Of a literal. The official ones are texts; in a template's own sets there are numbers as well."""
        return self.raw["value"]

    @property
    def literal_kind(self) -> str:
        return {str: "string", int: "int", bool: "bool"}[type(self.value)]

    @property
    def item(self) -> Type:
        """Of an array."""
        return self._at("itemType")

    @property
    def rest(self) -> Type | None:
        """What all other properties of an object are; none: there may be no others."""
        return self._at("additionalProperties")

    @property
    def elements(self) -> list[Type]:
        """Of a union, flat."""
        found = []
        for element in map(self._resolve, self.raw["elements"]):
            found += element.elements if element.kind == "union" else [element]
        return found

    @property
    def fields(self) -> dict[str, Field]:
        """Of an object, or those that all variants of a choice have."""
        raw = self.raw.get("baseProperties" if self.kind == "choice" else "properties") or {}
        return {
            name: Field(self._resolve(found["type"]), bool(found["flags"] & REQUIRED), bool(found["flags"] & READ_ONLY))
            for name, found in raw.items()
        }

    @property
    def told_by(self) -> str:
        """The property that tells which variant of a choice it is."""
        return self.raw["discriminator"]

    @property
    def variants(self) -> dict[str, Type]:
        """Of a choice."""
        return {name: self._resolve(raw) for name, raw in self.raw["elements"].items()}


@dataclass
class ResourceType:
    name: str
    body: Type
    scopes: int


# API versions that the templates use and these types do not have yet: the version, and the one that stands in for it. The
# compiler, where it is installed, knows them.
NEWER = {
    "microsoft.web": ("2025-03-01", "2024-11-01"),
    "microsoft.storage": ("2025-06-01", "2025-01-01"),
    "microsoft.keyvault": ("2025-05-01", "2024-11-01"),
    "microsoft.operationalinsights": ("2025-07-01", "2025-02-01"),
    "microsoft.databricks": ("2026-01-01", "2024-05-01"),
    "microsoft.insights/scheduledqueryrules": ("2026-03-01", "2023-12-01"),
}


class Types:
    """Looks types up in the folder that fetch.py has filled."""

    def __init__(self, folder: pathlib.Path):
        self.folder, self.zip = folder, zipfile.ZipFile(folder / "types.zip")
        self.files = set(self.zip.namelist())
        index = self._json("index.json")
        self.index = {name.lower(): (name, place["$ref"]) for name, place in index["resources"].items()}
        self.calls = {name.lower(): versions for name, versions in index["resourceFunctions"].items()}
        self.documents: dict[str, list] = {}
        self.found: dict[str, ResourceType | None] = {}

    def _json(self, name: str):
        return json.loads(self.zip.read(name))

    def names(self) -> set[str]:
        """All type names, in lower case."""
        return {name.partition("@")[0] for name in self.index}

    def known(self, type_name: str, version: str) -> str:
        """The version whose types are there: for one that is newer than they are, the last stable one before it."""
        newer, known = NEWER.get(type_name.lower().split("/")[0], ("", ""))
        newer, known = NEWER.get(type_name.lower(), (newer, known))
        return known if version == newer else version

    def versions(self, type_name: str) -> list[str]:
        """All API versions of a type, oldest first."""
        return sorted(name.partition("@")[2] for name in self.index if name.startswith(type_name.lower() + "@"))

    def find(self, type_name: str, version: str) -> ResourceType | None:
        """The type, or None where there is no such type or version."""
        version = self.known(type_name, version)
        key = f"{type_name}@{version}".lower()
        if key not in self.found:
            self.found[key] = self._find(key)
        return self.found[key]

    def _find(self, key: str) -> ResourceType | None:
        if key in CLIENT_MODELS:
            return self._model(key)
        name, place = self.index.get(key, (None, ""))
        if place.partition("#")[0] not in self.files:
            return None
        raw, document = self._place(place)
        return ResourceType(name, Type(raw, document)._at("body"), raw["writableScopes"])

    def functions(self, type_name: str, version: str) -> set[str]:
        """The functions of a resource, listKeys and the like, in lower case. What they give is not always true."""
        version = self.known(type_name, version)
        places = [place["$ref"] for place in self.calls.get(type_name.lower(), {}).get(version, [])]
        return {self._place(place)[0]["name"].lower() for place in places if place.partition("#")[0] in self.files}

    def _place(self, place: str) -> tuple[dict, list]:
        """What a reference of the index points at, and the list that it stands in."""
        file, _, number = place.partition("#/")
        if file not in self.documents:
            self.documents[file] = self._json(file)
        return self.documents[file][int(number)], self.documents[file]

    def _model(self, key: str) -> ResourceType:
        client, package, model, operations, scope = CLIENT_MODELS[key]
        with zipfile.ZipFile(self.folder / f"azure_mgmt_monitor-{client}-py3-none-any.whl") as wheel:
            names = ("models/_models_py3", "models/_monitor_management_client_enums", f"operations/_{operations}_operations")
            models, enums, calls = (wheel.read(f"azure/mgmt/monitor/{package}{name}.py").decode() for name in names)
        version = key.partition("@")[2]
        if f'"{version}"' not in calls:
            raise SystemExit(f"the client {client} does not speak {version} for {key}")
        models = _Models(models, enums)
        body = models.object(model)
        # A client names it in the address; a template says it in the body.
        body["properties"]["name"]["flags"] = REQUIRED
        return ResourceType(self.index[key][0], Type(body), scope)


# What a client calls them, and what the format does. A number with a fraction has no type there.
_PLAIN = {
    "str": "StringType", "duration": "StringType", "iso-8601": "StringType", "int": "IntegerType", "bool": "BooleanType",
    "float": "AnyType", "object": "AnyType",
}  # fmt: skip


class _Models:
    """Classes of a generated client (autorest): attribute maps, validations, and enums by their annotations."""

    def __init__(self, models: str, enums: str):
        self.classes = {found.name: found for found in ast.parse(models).body if isinstance(found, ast.ClassDef)}
        self.enums = {
            found.name: [ast.literal_eval(line.value) for line in found.body if isinstance(line, ast.Assign)]
            for found in ast.parse(enums).body
            if isinstance(found, ast.ClassDef)
        }

    def object(self, name: str) -> dict:
        """An object type with everything below it in place (no model contains itself)."""
        made = {"$type": "ObjectType", "name": name, "properties": {}}
        rules, enums = self._constant(name, "_validation"), self._enum_attributes(name)
        for attribute, entry in self._constant(name, "_attribute_map").items():
            rule = rules.get(attribute, {})
            flags = REQUIRED * rule.get("required", False) | READ_ONLY * rule.get("readonly", False)
            raw = self._type(entry["type"], enums.get(attribute), rule)
            if not entry["key"]:  # the map of all other properties
                made["additionalProperties"] = raw["additionalProperties"]
                continue
            at, *names = made, *entry["key"].replace("\\.", "\0").split(".")
            for step in names[:-1]:
                empty = {"$type": "ObjectType", "properties": {}}
                at = at["properties"].setdefault(step, {"type": empty, "flags": 0})["type"]
            at["properties"][names[-1].replace("\0", ".")] = {"type": raw, "flags": flags}
        return made

    def _constant(self, name: str, constant: str) -> dict:
        for line in self.classes[name].body:
            if isinstance(line, ast.Assign) and line.targets[0].id == constant:
                return ast.literal_eval(line.value)
        return {}

    def _enum_attributes(self, name: str) -> dict[str, str]:
        """attribute → enum, out of the annotations of the constructor: Optional[Union[str, "_models.Kind"]]."""
        found = {}
        for line in self.classes[name].body:
            if isinstance(line, ast.FunctionDef) and line.name == "__init__":
                for argument in line.args.kwonlyargs:
                    for part in ast.walk(argument.annotation):
                        if isinstance(part, ast.Constant) and str(part.value).removeprefix("_models.") in self.enums:
                            found[argument.arg] = part.value.removeprefix("_models.")
        return found

    def _type(self, name: str, enum: str | None, rule: dict) -> dict:
        if name.startswith("["):
            return {"$type": "ArrayType", "itemType": self._type(name[1:-1], enum, {})}
        if name.startswith("{"):
            rest = self._type(name[1:-1], enum, {})
            return {"$type": "ObjectType", "properties": {}, "additionalProperties": rest}
        if enum and name == "str":
            values = [{"$type": "StringLiteralType", "value": value} for value in self.enums[enum]]
            return {"$type": "UnionType", "elements": [*values, {"$type": "StringType"}]}
        if name in _PLAIN:
            limits = {"min_length": "minLength", "max_length": "maxLength", "minimum": "minValue", "maximum": "maxValue"}
            return {"$type": _PLAIN[name]} | {limits[key]: value for key, value in rule.items() if key in limits}
        return self.object(name) if name in self.classes else {"$type": "AnyType"}
