"""Pictures of an HTML report as a browser shows it: wide and narrow, light and dark.

    python tools/screenshots.py run.html FOLDER [HEIGHT]

Needs Chromium (Debian: apt install chromium). Writes FOLDER/wide-light.png and so on, and
FOLDER/print.pdf.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

WIDTHS = {"wide": 1200, "narrow": 400}
# The numbers of Blink's PreferredColorScheme.
SCHEMES = {"dark": 0, "light": 1}
# A headless window is at least so wide: what is narrower is shown in a frame.
NARROWEST_WINDOW = 500


def main(page: Path, folder: Path, height: int = 2400) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, width in WIDTHS.items():
        for scheme, number in SCHEMES.items():
            picture = folder / f"{name}-{scheme}.png"
            look = [f"--blink-settings=preferredColorScheme={number}"]
            chromium(page, width, height, *look, f"--screenshot={picture.resolve()}")
            print(picture)
    chromium(page, 1200, 800, "--no-pdf-header-footer", f"--print-to-pdf={folder / 'print.pdf'}")
    print(folder / "print.pdf")


def chromium(page: Path, width: int, height: int, *arguments: str) -> None:
    with tempfile.TemporaryDirectory() as profile:
        address = page.resolve().as_uri()
        if width < NARROWEST_WINDOW:
            frame = Path(profile, "frame.html")
            frame.write_text(
                f'<body style="margin:0"><iframe src="{address}" width="{width}" '
                f'height="{height}" style="border:0"></iframe>'
            )
            address = frame.as_uri()
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        options = [f"--user-data-dir={profile}", f"--window-size={width},{height}"]
        subprocess.run([*command, *options, *arguments, address], check=True, capture_output=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:4]))
