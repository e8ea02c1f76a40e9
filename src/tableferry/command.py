"""The console scripts ``migrate`` and ``tableferry``, from their first moment on.

Until ``cli.main`` watches for interrupts, there is nothing to put in order and nothing to say:
importing it takes a tenth of a second, in which an interrupt would be shown as an error.
"""

from __future__ import annotations

import os
import signal
from typing import NoReturn


def main() -> NoReturn:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            # 130 as errors.EXIT_INTERRUPTED, which is not imported yet.
            signal.signal(number, lambda *_: os._exit(130))
    from tableferry import cli

    cli.main()
