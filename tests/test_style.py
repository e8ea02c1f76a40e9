"""Linting, formatting and types, so that the suite alone says whether a change is fit."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "arguments", [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]], ids=" ".join
)
def test_the_whole_tree_passes(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


# What runs text as a program, or brings objects to life from bytes.
_RUNS_TEXT = {"eval", "exec", "compile", "__import__", "execfile"}
_BRINGS_TO_LIFE = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "_pickle"}
_MODULES = sorted((ROOT / "src").rglob("*.py"))


@pytest.mark.parametrize("path", _MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_that_was_read_is_run(path: Path) -> None:
    """No eval, no exec, no shell, and no pickle but on the pipes of our own workers."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Name(name)):
                assert name not in _RUNS_TEXT, f"{path}, line {node.lineno}"
            case ast.Import(names):
                modules = {alias.name.partition(".")[0] for alias in names}
                assert path.name == "executors.py" or not modules & _BRINGS_TO_LIFE
            case ast.ImportFrom(module=str(module)):
                assert module.partition(".")[0] not in _BRINGS_TO_LIFE
            case ast.Call(keywords=keywords):
                assert all(keyword.arg != "shell" for keyword in keywords)
            case ast.Attribute(attr="system" | "popen" | "allow_pickle" | "enable_load_extension"):
                raise AssertionError(f"{path}, line {node.lineno}")
