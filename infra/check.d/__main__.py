"""Checks Bicep as the compiler would: syntax, names, modules, and every resource against its official type.

    python infra/check.d <folder with the official types> <files or folders>

Prints one finding per line and ends with 1 if there is any. What cannot be known before deployment is left alone.
"""

from __future__ import annotations

import pathlib
import sys

from azure import Types
from project import check


def main(types_folder: str, *places: str) -> int:
    paths = []
    for place in map(pathlib.Path, places):
        inside = [found for found in place.rglob("*") if found.suffix in (".bicep", ".bicepparam")]
        paths += sorted(inside) if place.is_dir() else [place]
    types = Types(pathlib.Path(types_folder))
    project = check(types, pathlib.Path.cwd(), paths)
    for path, line, message in sorted(project.findings):
        print(f"{path}:{line}: {message}")
    for name in sorted(found for found in project.checked if found.endswith("-preview")):
        stable = [version for version in types.versions(name.partition("@")[0]) if not version.endswith("-preview")]
        print(f"{name} is a preview; the last stable version is {stable[-1] if stable else 'none'}")
    for name in sorted(project.checked):
        kind, _, version = name.partition("@")
        if (known := types.known(kind, version)) != version:
            print(f"{name} is newer than the types here; checked as {known}")
    print(f"{len(project.templates)} Bicep files, {len(project.checked)} resource types, {len(project.findings)} findings")
    return 1 if project.findings else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
