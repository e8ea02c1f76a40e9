"""The README's example, run as it stands but for the two databases it names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.servers import Server
from tests.system.support import sqlite_file

README = Path(__file__).parents[2] / "README.md"


def test_the_five_lines_for_python_run(any_database: Server, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    sqlite_file(tmp_path / "app.db", "CREATE TABLE t (a); INSERT INTO t VALUES (1), ('x');")
    script = example.replace("postgresql://user@host/app", any_database.url)
    assert any_database.url in script

    run = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == "t 2 verified\n"


def test_every_page_that_is_linked_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []
