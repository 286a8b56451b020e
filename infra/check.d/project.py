"""Checks files together: what one says about another is looked up there."""

from __future__ import annotations

import pathlib

import names
import rules
from azure import Types
from template import Project


def check(types: Types, root: pathlib.Path, paths: list[pathlib.Path]) -> Project:
    """All findings about the files, and about files that they use."""
    project = Project(types, root.resolve())
    for path in paths:
        project.open(path)
    done: set[pathlib.Path] = set()
    while open := set(project.templates) - done:
        for path in sorted(open):
            names.check(project.templates[path])
            rules.check(project.templates[path])
        done |= open
    return project
