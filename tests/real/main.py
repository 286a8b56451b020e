"""Runs the parts: see README.md beside this file, and `run`, which installs what they need."""

import argparse
import importlib
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from world import World  # noqa: E402

# In this order: what only reads what was recorded first, what changes the world last.
PARTS = ["jira", "slack", "teams", "kusto", "factory", "databricks", "logs", "airflow", "storage", "otlp", "metrics", "openapi"]


def chosen():
    parser = argparse.ArgumentParser(prog="tests/real/run")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--without", default="", metavar="PART[,…]", help="all but these")
    parser.add_argument("--mutations", action="store_true", help="each part must fail at what is broken on purpose")
    parser.add_argument("--list", action="store_true", help="names and mutations of the parts")
    given = parser.parse_args()
    without = [name for name in given.without.split(",") if name]
    if wrong := [name for name in given.parts + without if name not in PARTS]:
        parser.error(f"no such part: {', '.join(wrong)} (there are {', '.join(PARTS)})")
    return given, [name for name in PARTS if (not given.parts or name in given.parts) and name not in without]


def main():
    given, names = chosen()
    parts = {name: importlib.import_module(f"parts.{name}") for name in names}
    if given.list:
        for name, part in parts.items():
            print(f"{name:<11} {part.__doc__.splitlines()[0]}\n{'':<11} mutation: {part.MUTATION}")
        return 0
    passed, failed = 0, 0
    began = time.time()
    with World() as world:
        world.fill()
        print(f"the world is filled ({time.time() - began:.0f} s)", flush=True)
        for name, part in parts.items():
            began = time.time()
            try:
                said = part.check(world, mutant=False)
                asked = world.not_modelled()
                assert not asked, f"the simulators do not model {asked}"
                lines = [f"ok   {name}: {said}"]
                if given.mutations:
                    lines.append(mutated(world, name, part))
                passed += 1
            except Exception:
                failed += 1
                lines = [f"FAIL {name}", traceback.format_exc()]
            print("\n".join(lines) + f" ({time.time() - began:.0f} s)", flush=True)
    print(f"\nreal: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def mutated(world, name, part):
    """Its mutation must be found."""
    try:
        part.check(world, mutant=True)
    except Exception as error:
        found = str(error).strip().splitlines()
        return f"     {part.MUTATION}: found ({found[0][:140] if found else type(error).__name__})"
    finally:
        world.not_modelled()
    raise AssertionError(f"{name} did not find: {part.MUTATION}")


if __name__ == "__main__":
    sys.exit(main())
