"""Every input that fuzzing has found worth keeping, without a fuzzer."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fuzz import fuzz_gcfg, fuzz_values

CORPUS = Path(__file__).parent / "corpus"
MOST_FILES, MOST_BYTES = 200, 300_000


def inputs(name: str) -> list[Path]:
    return sorted(path for path in (CORPUS / name).iterdir() if path.is_file())


@pytest.mark.parametrize("path", inputs("values"), ids=lambda path: path.name)
def test_values_are_kept_or_called_misfits(path: Path) -> None:
    fuzz_values.check(path.read_bytes())


@pytest.mark.parametrize("path", inputs("gcfg"), ids=lambda path: path.name)
def test_configuration_files_are_read_or_refused(path: Path) -> None:
    fuzz_gcfg.check(path.read_bytes())


def test_the_corpus_is_there_and_stays_small() -> None:
    files = [path for name in ("values", "gcfg") for path in inputs(name)]
    assert all(len(inputs(name)) > 20 for name in ("values", "gcfg"))
    assert len(files) <= MOST_FILES
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES
