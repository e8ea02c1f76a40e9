"""Dates and times that PostgreSQL has and Python has not, read by psycopg as their text."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.types import datetime as psycopg_datetime


def _text_where_far(base: type[Loader]) -> type[Loader]:
    class FarLoader(base):  # type: ignore[valid-type, misc]
        def load(self, data: Buffer) -> object:
            try:
                return super().load(data)
            except psycopg.DataError:
                return bytes(data).decode()

    return FarLoader


_LOADERS = {
    "date": _text_where_far(psycopg_datetime.DateLoader),
    "time": _text_where_far(psycopg_datetime.TimeLoader),
    "timestamp": _text_where_far(psycopg_datetime.TimestampLoader),
    "timestamptz": _text_where_far(psycopg_datetime.TimestamptzLoader),
}


def read_far_as_text(connection: psycopg.Connection[Any]) -> None:
    """infinity, years before 1 and after 9999, and 24:00:00, which psycopg would refuse."""
    for name, loader in _LOADERS.items():
        connection.adapters.register_loader(name, loader)
