"""Which step of a run a sampled Python stack, or a server's statement, belongs to. Pure.

A stack is a tuple of frames, outermost first, each written as py-spy's raw format has it:
"Packing.decode (tableferry/dialects/sqlite/values.py:75)". What a C library does shows as the
Python function that called it: a driver's reading as the frame that asks it for a batch.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Stack = tuple[str, ...]

_PROCESS = re.compile(r'^process (\d+):"')
_FRAME = re.compile(r"^(?P<function>.*) \((?P<file>[^()]*?)(?::\d+)?\)$")

OTHER = "anything else"
IMPORTS = "imports"
# Frames in which a thread waits, and which the sampler now and then takes for work.
_WAITING = (
    ("_end_with_coordinator", "tableferry/executors.py"),
    ("Connection._recv", "multiprocessing/connection.py"),
    ("ProcessExecutor._serve", "tableferry/executors.py"),
    ("hold", "tableferry/dialects/sqlite/holder.py"),
    ("Condition.wait", "threading.py"),
    ("Thread._wait_for_tstate_lock", "threading.py"),
    ("Popen._try_wait", "subprocess.py"),
)
_TASKS = "tableferry/tasks.py"
# The innermost frame that one of these speaks of decides: (end of the file's name, end of the
# function's name or "" for any, step).
_RULES = (
    ("tableferry/digest.py", "", "hash"),
    ("tableferry/xxh64.py", "", "hash"),
    ("tableferry/packing.py", "", "unpack"),
    ("tableferry/kinds.py", "", "to kinds"),
    ("tableferry/temporal.py", "", "to kinds"),
    ("tableferry/conversions.py", "", "to kinds"),
    ("tableferry/dialects/sqlite/storing.py", "", "encode"),
    ("tableferry/dialects/sqlite/values.py", "", "to kinds"),
    ("tableferry/dialects/postgresql/values.py", "", "to kinds"),
    ("tableferry/dialects/sqlite/session.py", "SqliteSession._batches", "read SQLite"),
    ("tableferry/dialects/sqlite/session.py", "SqliteSession.count", "count SQLite"),
    ("tableferry/dialects/sqlite/session.py", "SqliteSession.read", "read SQLite"),
    ("tableferry/dialects/sqlite/session.py", "SqliteSession._decoded", "read SQLite"),
    ("tableferry/dialects/postgresql/session.py", "PostgresSession._stream", "read PostgreSQL"),
    ("tableferry/dialects/postgresql/session.py", "PostgresSession.count", "count PostgreSQL"),
    ("tableferry/dialects/postgresql/session.py", "PostgresSession.read", "read PostgreSQL"),
    ("tableferry/dialects/postgresql/wire.py", "", "encode"),
    ("tableferry/dialects/postgresql/sending.py", "", "encode"),
    ("tableferry/dialects/postgresql/loader.py", "", "send to PostgreSQL"),
    ("tableferry/dialects/sqlite/target.py", ".write_apart", "insert into SQLite"),
    ("tableferry/dialects/sqlite/target.py", ".ingest", "insert into SQLite"),
    ("tableferry/dialects/sqlite/target.py", ".gather", "gather in SQLite"),
    ("tableferry/ledger.py", "", "ledger"),
    ("tableferry/dialects/base.py", "Batch.bytes", "sizes of batches"),
    (_TASKS, "session_for", "open sessions"),
    (_TASKS, "run_statements", "statements"),
)
# What is not told apart further down: an encoder's own work on kinds is encoding.
_ENCODING = ("encoded", "_require_fitting")
_READING = ("SqliteSession._decoded", "PostgresSession.read")
_STORIES = ("tableferry/migration.py", "tableferry/verification.py")
_IMPORT_FILE = "<frozen importlib._bootstrap>"


@dataclass(frozen=True, slots=True)
class Frame:
    function: str
    file: str


def frame_of(text: str) -> Frame:
    """Of a frame that has no file, all of it is the function."""
    found = _FRAME.match(text)
    return Frame(found["function"], found["file"]) if found else Frame(text, "")


def parse(lines: Iterable[str]) -> Iterator[tuple[int, Stack, int]]:
    """Of each line of py-spy's raw format with --subprocesses: the process, its stack, and how
    often that was met. Raises ValueError where a line names no process."""
    for line in lines:
        text, _, count = line.rstrip("\n").rpartition(" ")
        frames = _split(text)
        pids = [found[1] for frame in frames if (found := _PROCESS.match(frame))]
        if not pids:
            raise ValueError(f"No process in: {line[:80]}")
        stack = tuple(frame for frame in frames if not _PROCESS.match(frame))
        yield int(pids[-1]), stack, int(count)


def _split(text: str) -> list[str]:
    """At semicolons, but not at those of a command line, which stands in quotes."""
    frames = []
    while text:
        end = text.index('";') + 1 if _PROCESS.match(text) and '";' in text else text.find(";")
        if _PROCESS.match(text) and '";' not in text:
            end = -1
        if end < 0:
            frames.append(text)
            break
        frames.append(text[:end])
        text = text[end + 1 :]
    return frames


def waits(stack: Stack) -> bool:
    """Whether the thread sleeps in truth; a thread without any frame is none of Python's."""
    if not stack:
        return True
    last = frame_of(stack[-1])
    return any(last.function == name and last.file.endswith(file) for name, file in _WAITING)


def after_start(stack: Stack) -> bool:
    """Whether a coordinator is at its run, and not at loading the modules for it."""
    frames = [frame_of(text) for text in stack]
    running = any(f.file.endswith(_STORIES) and f.function != "<module>" for f in frames)
    return running or all(f.file != _IMPORT_FILE for f in frames)


def task_of(stack: Stack) -> str:
    """The function of tableferry.tasks that a worker is at; "" where it is at none."""
    for text in stack:
        frame = frame_of(text)
        if frame.file.endswith(_TASKS) and frame.function not in ("session_for", "close_sessions"):
            return frame.function.partition(".")[0]
    return ""


def step_of(stack: Stack) -> str:
    """The step of the innermost frame that tells; OTHER where none does."""
    for text in reversed(stack):
        frame = frame_of(text)
        if frame.file == _IMPORT_FILE:
            return IMPORTS
        if frame.function.endswith((".commit", ".rollback")) and "dialects" in frame.file:
            return "commit"
        step = _rule(frame)
        if step:
            return "encode" if step == "to kinds" and _within_encoder(stack) else step
    return OTHER


def _rule(frame: Frame) -> str:
    for file, function, step in _RULES:
        if frame.file.endswith(file) and frame.function.endswith(function):
            return step
    return ""


def _within_encoder(stack: Stack) -> bool:
    """Whether the innermost of reading and encoding is encoding."""
    for text in reversed(stack):
        function = frame_of(text).function
        if function.endswith(_READING):
            return False
        if function.endswith(_ENCODING) or function.endswith((".write_apart", ".ingest")):
            return True
    return False


def waiting(timeline: Sequence[Mapping[str, Any]], total: float, before: float) -> dict[str, float]:
    """Elapsed seconds in which nobody, or not everybody, is at a job."""
    jobs = sorted(
        (span["began"], span["began"] + span["seconds"], span["worker"])
        for span in timeline
        if span["worker"]
    )
    found = {"before the clock": before, "total": total}
    if not jobs:
        return found
    found["before the first job"] = jobs[0][0]
    found["after the last job"] = total - max(ended for _, ended, _ in jobs)
    edges = sorted({moment for began, ended, _ in jobs for moment in (began, ended)})
    for low, high in itertools.pairwise(edges):
        busy = len({worker for began, ended, worker in jobs if began < high and ended > low})
        key = f"{busy} workers at jobs"
        found[key] = found.get(key, 0.0) + high - low
    return found


_STATEMENTS = (
    (r"^COPY .* FROM STDIN", "COPY in"),
    (r"^COPY \(\s*SELECT\s+count\(\*\)", "counts"),
    (r"^SELECT\s+count\(\*\)", "counts"),
    (r"^ALTER TABLE .* ADD .*(PRIMARY KEY|UNIQUE|FOREIGN KEY|CHECK)", "keys and indexes"),
    (r"^ALTER TABLE .* VALIDATE", "keys and indexes"),
    (r"^CREATE (UNIQUE )?INDEX", "keys and indexes"),
    (r"^ANALYZE|^VACUUM", "statistics"),
    (r"^COMMIT|^ROLLBACK|^BEGIN", "commit"),
    (r"^CREATE |^DROP |^COMMENT |^ALTER ", "other definitions"),
)


# A read of a table has it under the alias t; a catalog's own are named by their schema.
_READ = re.compile(
    r"^COPY \((?!.*\bpg_(class|attribute|namespace|catalog)\b).* AS t( WHERE |\) TO)"
)


# What goes along before a statement of the loader's.
_BEFORE = re.compile(r"^BEGIN; ?(SET LOCAL [^;]*; ?)?(?=.)")


def statement_step(query: str) -> str:
    """What a server is at that runs this statement."""
    text = _BEFORE.sub("", " ".join(query.split()))
    if _READ.search(text) and "count(*)" not in text:
        return "COPY out"
    for pattern, step in _STATEMENTS:
        if re.search(pattern, text, re.IGNORECASE | re.DOTALL):
            return step
    return "catalog and others"
