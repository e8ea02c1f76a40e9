"""A file system that is as small as a test wants it, and can be made larger."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import servers

ENOUGH = 512 << 20


@dataclass(frozen=True, slots=True)
class SmallDisk:
    folder: Path

    def resize(self, size: int) -> None:
        """In bytes; what is there stays."""
        subprocess.run(["mount", "-o", f"remount,size={size}", self.folder], check=True)

    @property
    def used(self) -> int:
        return shutil.disk_usage(self.folder).used


def can_mount() -> bool:
    """Root may, unless it is root of a container that may not."""
    if os.geteuid() != 0:
        return False
    try:
        with small_disk(1 << 20):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@contextlib.contextmanager
def small_disk(size: int) -> Iterator[SmallDisk]:
    """One of that many bytes, in memory, empty and open to all."""
    with servers.short_folder() as folder:
        place = folder / "disk"
        place.mkdir()
        options = f"size={size},mode=777"
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place],
            check=True,
            capture_output=True,
        )
        folder.chmod(0o755)
        try:
            yield SmallDisk(place)
        finally:
            subprocess.run(["umount", "--lazy", place], check=True)
