"""Defaults that ask the clock or for random bytes: how they are written in SQLite for those of
PostgreSQL. Pure. Both directions use it, so that a database which went there comes back with what
it had.

A transaction's time in PostgreSQL is the time of its begin, to the microsecond; SQLite takes that
of the statement, to the millisecond. Where PostgreSQL would take the session's time zone, it is
UTC here.
"""

from __future__ import annotations

from tableferry.expressions.stored import TIME, TIMESTAMP, TIMESTAMPTZ

# Without zeros at the end of the fraction, as all moments are kept.
_MOMENT = "rtrim(rtrim(strftime('%Y-%m-%d %H:%M:%f', 'now'), '0'), '.')"
# By the type in PostgreSQL.
NOW = {
    TIMESTAMPTZ: f"({_MOMENT} || '+00:00')",
    TIMESTAMP: _MOMENT,
    "date": "date('now')",
    TIME: "rtrim(rtrim(strftime('%H:%M:%f', 'now'), '0'), '.')",
}
# To the second.
NOW_IN_SECONDS = {
    TIMESTAMPTZ: "(datetime('now') || '+00:00')",
    TIMESTAMP: "datetime('now')",
    TIME: "time('now')",
}
# Version 4 and the variant of RFC 9562, section 5.4, in the digits 13 and 17.
RANDOM_UUID = (
    "(lower(hex(randomblob(4))) || '-' || lower(hex(randomblob(2))) || '-4' || "
    "substr(lower(hex(randomblob(2))), 2) || '-' || substr('89ab', (random() & 3) + 1, 1) || "
    "substr(lower(hex(randomblob(2))), 2) || '-' || lower(hex(randomblob(6))))"
)
# What strftime() has, as to_char() of PostgreSQL writes it.
FIELDS = {
    "Y": "YYYY",
    "m": "MM",
    "d": "DD",
    "H": "HH24",
    "M": "MI",
    "S": "SS",
    "f": "SS.MS",
    "j": "DDD",
}
