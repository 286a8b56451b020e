"""Prints templates as JSON, as checkov's own parser of Bicep reads them: path → tree.

    python infra/check.d/tree.py <files or folders>

Texts are texts. What is no text has one form each:

    {"$": "a.b"}                          a name, with what is read of it
    {"call": "load_json_content", "with": […]}   a function, in the parser's spelling
    {"if": …, "then": …, "else": …}       a choice, or a declaration with a condition
    {"for": "item", "in": …, "each": …}   a loop
    {"op": "and", "of": […]}              any other operator
"""

from __future__ import annotations

import json
import pathlib
import sys

from pycep import BicepParser
from pycep.transformer import BicepElement


def plain(node: object) -> object:
    match node:
        case BicepElement():
            return {"$": str(node)}
        case {"operator": {"type": "property_accessor", "operands": {"operand_1": whole, "operand_2": part}}}:
            return _read(plain(whole), plain(part))
        case {"operator": {"type": "conditional", "operands": chosen}}:
            return {word: plain(chosen[key]) for word, key in (("if", "condition"), ("then", "true_value"), ("else", "false_value"))}
        case {"operator": {"type": kind, "operands": operands}}:
            return _bound(kind, [plain(operand) for operand in operands.values()])
        case {"function": {"type": kind} as call}:
            given = [plain(value) for value in call.get("parameters", {}).values() if value is not None]
            read = {"of": str(call["property_name"])} if "property_name" in call else {}
            return {"call": kind, "with": given, **read}
        case {"loop_type": {"detail": loop}, "config": inside, **rest}:
            inside = plain(inside)
            if rest.get("condition") is not None:
                inside = {"if": plain(rest["condition"]), "then": inside}
            over = loop.get("array_name", loop.get("object_name"))
            return {"for": str(loop["item_name"]), "in": plain(over), "each": inside}
        case {"condition": condition, "config": inside}:
            return {"if": plain(condition), "then": plain(inside)}
        case dict():
            return {str(key).strip("'"): plain(value) for key, value in node.items()}
        case list() | tuple():
            return [plain(value) for value in node]
        case str():
            return str(node)
    return node


def _read(whole: object, part: object) -> object:
    match whole, part:
        case {"$": name}, {"$": more}:
            return {"$": f"{name}.{more}"}
    return {"op": "property_accessor", "of": [whole, part]}


def _bound(kind: str, operands: list) -> object:
    """The parser reads `a == b ? c : d` as `a == (b ? c : d)`. A choice binds last; none of ours is an operand."""
    match operands:
        case [first, {"if": second, **rest}]:
            return {"if": {"op": kind, "of": [first, second]}, **rest}
    return {"op": kind, "of": operands}


def trees(places: list[pathlib.Path]) -> dict[str, object]:
    parser = BicepParser()
    files = [file for place in places for file in (sorted(place.rglob("*.bicep")) if place.is_dir() else [place])]
    return {str(file): plain(parser.parse(file_path=file)) for file in files}


if __name__ == "__main__":
    json.dump(trees([pathlib.Path(place) for place in sys.argv[1:]]), sys.stdout)
