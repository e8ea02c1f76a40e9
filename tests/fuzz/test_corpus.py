"""Every input that fuzzing has found worth keeping, without a fuzzer."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fuzz import fuzz_casts, fuzz_gcfg, fuzz_types, fuzz_urls, fuzz_values
from tests.fuzz.run import TARGETS

CORPUS = Path(__file__).parent / "corpus"
MOST_FILES, MOST_BYTES = 400, 300_000


def inputs(name: str) -> list[Path]:
    return sorted(path for path in (CORPUS / name).iterdir() if path.is_file())


@pytest.mark.parametrize("path", inputs("values"), ids=lambda path: path.name)
def test_values_are_kept_or_called_misfits(path: Path) -> None:
    fuzz_values.check(path.read_bytes())


@pytest.mark.parametrize("path", inputs("gcfg"), ids=lambda path: path.name)
def test_configuration_files_are_read_or_refused(path: Path) -> None:
    fuzz_gcfg.check(path.read_bytes())


@pytest.mark.parametrize("path", inputs("urls"), ids=lambda path: path.name)
def test_urls_mean_what_libpq_says_or_are_refused(path: Path) -> None:
    fuzz_urls.check(path.read_bytes())


@pytest.mark.parametrize("path", inputs("casts"), ids=lambda path: path.name)
def test_rules_are_understood_or_refused(path: Path) -> None:
    fuzz_casts.check(path.read_bytes())


@pytest.mark.parametrize("path", inputs("types"), ids=lambda path: path.name)
def test_declared_types_are_what_their_database_takes_them_for(path: Path) -> None:
    fuzz_types.check(path.read_bytes())


def test_the_corpus_is_there_and_stays_small() -> None:
    files = [path for name in TARGETS for path in inputs(name)]
    assert all(len(inputs(name)) > 20 for name in TARGETS)
    assert len(files) <= MOST_FILES
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES
