"""Who has a SQLite file open: a /proc of our own making, where everyone's files can be hidden."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tableferry.dialects.base import Clients
from tableferry.dialects.sqlite import clients as module
from tableferry.dialects.sqlite.clients import clients_of

OTHER = 4_000_001  # a user that there is none of


class Proc:
    """A folder that looks like /proc: process numbers, their open files, and the locks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.locks: list[str] = []
        (folder / "self").mkdir(parents=True)
        self.add(1, "init")

    def add(self, pid: int, name: str, *files: Path, user: int = 0, memory: bool = True) -> Path:
        opened = self.folder / str(pid) / "fd"
        opened.mkdir(parents=True)
        size = "VmSize:\t    10 kB\n" if memory else ""
        (opened.parent / "status").write_text(
            f"Name:\t{name}\nUid:\t{user}\t{user}\t{user}\t{user}\n{size}"
        )
        for number, file in enumerate(files):
            (opened / str(number)).symlink_to(file)
        return opened

    def lock(self, pid: int, file: Path) -> None:
        status = file.stat()
        place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        self.locks.append(f"{len(self.locks) + 1}: POSIX  ADVISORY  READ {pid} {place} 1 EOF\n")
        (self.folder / "locks").write_text("".join(self.locks))


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path / "proc")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "app.db"
    path.write_bytes(b"x")
    return path


def hide(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so that modes do not do it."""
    read = Path.iterdir

    def iterdir(self: Path) -> object:
        if self == folder:
            raise PermissionError
        return read(self)

    monkeypatch.setattr(Path, "iterdir", iterdir)


def test_open_files_are_found_whatever_they_are_called(
    proc: Proc, file: Path, tmp_path: Path
) -> None:
    link, twin = tmp_path / "link.db", tmp_path / "twin.db"
    link.symlink_to(file)
    twin.hardlink_to(file)
    other = tmp_path / "other.db"
    other.write_bytes(b"x")
    proc.add(12, "reader", other, twin)
    proc.add(9, "python3", file, user=OTHER)
    proc.add(13, "neighbour", other)
    proc.add(os.getpid(), "ourselves", file)
    expected = Clients((f"python3 (process 9 of user {OTHER})", "reader (process 12 of user root)"))
    assert clients_of(file, proc.folder) == expected
    assert clients_of(link, proc.folder) == expected
    assert clients_of(other, proc.folder).named == (
        "reader (process 12 of user root)",
        "neighbour (process 13 of user root)",
    )


@pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal"])
def test_files_beside_it_count(proc: Proc, file: Path, tmp_path: Path, ending: str) -> None:
    beside = file.with_name(file.name + ending)
    beside.write_bytes(b"x")
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.db"
    link.symlink_to(file)
    proc.add(9, "service", beside)
    assert clients_of(link, proc.folder).named == ("service (process 9 of user root)",)


def test_what_is_closed_or_gone_is_no_client(proc: Proc, file: Path, tmp_path: Path) -> None:
    proc.add(9, "service", tmp_path / "gone.db", Path("socket:[12]"), Path("/dev/null"))
    (proc.folder / "10").mkdir()
    assert clients_of(file, proc.folder) == Clients()
    assert clients_of(tmp_path / "missing.db", proc.folder) == Clients()


def test_hidden_processes_of_others_are_counted(
    proc: Proc, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pid, user, memory in ((9, OTHER, True), (10, os.geteuid(), True), (11, OTHER, False)):
        hide(proc.add(pid, "any", file, user=user, memory=memory), monkeypatch)
    found = clients_of(file, proc.folder)
    assert found.named == ()
    assert found.unseen == (
        f"Whether 1 process of another user has {file} open cannot be seen; root sees it."
    )
    hide(proc.add(12, "any", user=OTHER), monkeypatch)
    assert "2 processes of other users have" in clients_of(file, proc.folder).unseen


def test_who_holds_a_lock_is_known_even_so(
    proc: Proc, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.db"
    other.write_bytes(b"x")
    for pid in (9, 10):
        hide(proc.add(pid, f"service {pid}", user=OTHER), monkeypatch)
    proc.lock(9, file)
    proc.lock(10, other)
    proc.lock(os.getpid(), file)
    found = clients_of(file, proc.folder)
    assert found.named == (f"service 9 (process 9 of user {OTHER})",)
    assert found.unseen.startswith("Whether 1 process of another user")


def test_a_system_that_hides_all_or_tells_nothing(proc: Proc, file: Path, tmp_path: Path) -> None:
    for name in ("status", "fd"):
        path = proc.folder / "1" / name
        path.rmdir() if path.is_dir() else path.unlink()
    (proc.folder / "1").rmdir()
    assert "cannot be seen" in clients_of(file, proc.folder).unseen
    assert "cannot be seen" in clients_of(file, tmp_path / "no proc").unseen


def test_names_are_no_control_characters(proc: Proc, file: Path) -> None:
    proc.add(9, "bad\x1b[31m", file)
    assert clients_of(file, proc.folder).named == ("bad?[31m (process 9 of user root)",)


def test_the_real_one_is_linux(file: Path) -> None:
    assert Path("/proc") == module.PROC
    with file.open():
        assert clients_of(file).named == ()  # this process itself
