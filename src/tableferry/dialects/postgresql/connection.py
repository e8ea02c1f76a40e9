"""Opening PostgreSQL through ADBC, and its errors as ours. The one edge of driver errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote as percent
from weakref import WeakValueDictionary

import adbc_driver_manager
import adbc_driver_postgresql.dbapi
import pyarrow as pa

from tableferry.addresses import PostgresServer
from tableferry.dialects.base import Endpoint, Writer
from tableferry.dialects.postgresql.ddl import literal
from tableferry.errors import LESS_MEMORY, DatabaseError, Refused, TableferryError
from tableferry.interrupts import cancelling
from tableferry.processes import role
from tableferry.redaction import redact
from tableferry.sql import quote

# Pinned in every session, whatever the role, the database or the server has set: the text forms
# that are read and written depend on them, and a cursor left idle must not be ended.
_SETTINGS = {
    "client_encoding": "UTF8",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "row_security": "off",
    # What an administrator has set for people at a prompt ends no run, as it ends no pg_dump.
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    # What the network has lost, the server is to notice: a run's lock goes with its session.
    # Without a network they mean nothing.
    "tcp_keepalives_idle": "60",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "6",
    # Compiling takes longer than it saves in statements as plain as ours.
    "jit": "off",
}

# The same from our side (section 34.1.2), in seconds: otherwise the system waits for two hours.
_KEEPALIVES = {"keepalives_idle": "60", "keepalives_interval": "10", "keepalives_count": "6"}

# The same where the server knows them: from PostgreSQL 14 and 17 on.
_LATER_SETTINGS = {"idle_session_timeout": "0", "transaction_timeout": "0"}

# Milliseconds after which a statement under way notices that whoever sent it is gone.
_CLIENT_CHECK = 500
# A server that cannot watch its clients refuses any value but 0 (section 20.3.1 of versions 14 and
# 15, "client_connection_check_interval").
_WATCHES_CLIENTS = (
    "current_setting('server_version_num')::int >= CASE WHEN version() ~* 'linux' THEN 140000 "
    "WHEN version() ~* 'darwin|apple|bsd|illumos|solaris' THEN 150000 ELSE 2147483647 END"
)

# How long a session of a snapshot waits for a lock. Who asks for a table to himself waits for the
# holder of the snapshot, and everybody after him for him: without an end to it all would wait.
_LOCK_SECONDS = 30

# Ours for the length of a load, within what any role may set. A commit need not wait for the
# disk: rows and the ledger line that vouches for them are lost or kept together, and the run's
# last commit waits again. Index builds get the memory that one at a time may have.
_LOAD_SETTINGS = {
    "synchronous_commit": "off",
    "maintenance_work_mem": "256MB",
}

# Of one query, which the server parses as a whole.
_MOST_STATEMENTS = 500

_REFUSALS = {
    "23502": "The target takes no NULL there. If the source's schema says the same, the source is "
    "damaged; in SQLite, PRAGMA integrity_check tells.",
    "28P01": "Check the password: the Password key, TABLEFERRY_POSTGRES_PASSWORD or .pgpass.",
    "28000": "Check the user, and what the server's pg_hba.conf lets it do.",
    "3D000": "Create the database first (createdb), or correct its name in the URL.",
    "42501": "Grant this role what it needs, or connect as the owner.",
    "55P03": "Another session waits to have this table to itself; let it end, then run again.",
    "53100": "The disk of the server is full: make room there.",
    "57P03": "The server is starting or ending; wait until it answers, then run again.",
    # Of its memory, or of the part of it where locks are kept.
    "53200": "Raise max_locks_per_transaction where it has too many tables at once; else give the "
    "server more memory.",
    "53300": "The server has no connection left; stop other clients or lower --workers.",
}
_UNREACHABLE = "Check that the server runs, and its host and port in the URL."
# libpq's words, where it does not trust a server, or has nothing to be trusted by.
_TLS = {
    "does not match host name": "Name the host in the URL as its certificate does, or, with "
    "sslmode=verify-ca, do without that check.",
    "certificate verify failed": "Check that sslrootcert (PGSSLROOTCERT) names the certificate of "
    "the authority that has signed the server's.",
    "root certificate file": "Check sslrootcert (PGSSLROOTCERT).",
    "certificate file": "Check sslcert (PGSSLCERT).",
    "private key file": "Check sslkey (PGSSLKEY), its mode, and sslpassword where it has one.",
    "does not support SSL": "Turn ssl on in the server, or choose another sslmode.",
}


# By URL, a connection of this process. The driver asks for all types of the server before it opens
# the first one, over a connection of its own: a twentieth of a second, which the next ones of that
# URL are spared for as long as one of them is there. A type that is made later is unknown to them,
# and none but the server's own is ever read or written otherwise than as text.
_opened: WeakValueDictionary[str, adbc_driver_postgresql.dbapi.Connection] = WeakValueDictionary()


def address_of(endpoint: Endpoint) -> PostgresServer:
    assert isinstance(endpoint.address, PostgresServer)
    return endpoint.address


def connect(endpoint: Endpoint) -> adbc_driver_postgresql.dbapi.Connection:
    """A connection with autocommit off. Raises Refused where the server lets no one in."""
    with errors(endpoint, connecting=True):
        connection = _connected(url_of(endpoint))
        try:
            run(connection, opening(endpoint))
            connection.commit()
        except BaseException:
            connection.close()
            raise
    return connection


def _connected(url: str) -> adbc_driver_postgresql.dbapi.Connection:
    known = _opened.get(url)
    if known is not None:
        # Where all connections of that URL are closed by now, or the server lets no other in,
        # connecting anew is what brings one, or says why not.
        with suppress(adbc_driver_manager.Error):
            clone = known.adbc_clone()
            cancelling(clone.adbc_cancel)
            return clone
    connection = adbc_driver_postgresql.dbapi.connect(url)
    _opened[url] = connection
    cancelling(connection.adbc_cancel)
    return connection


def opening(endpoint: Endpoint) -> str:
    """The statement that every session of an endpoint begins with."""
    later = (
        f"CASE WHEN current_setting({literal(name)}, true) IS NOT NULL THEN {_set(name, value)} END"
        for name, value in _LATER_SETTINGS.items()
    )
    watched = _set("client_connection_check_interval", str(_CLIENT_CHECK))
    return ", ".join(
        (
            set_all(_settings_of(endpoint)),
            *later,
            f"CASE WHEN {_WATCHES_CLIENTS} THEN {watched} END",
        )
    )


def url_of(endpoint: Endpoint) -> str:
    """The URI for a driver, secrets included. The name of the session is in it, and not only among
    its settings: the driver opens a short session of its own beside each first one."""
    url = address_of(endpoint).connection_url
    own = [f"{name}={value}" for name, value in _KEEPALIVES.items() if f"{name}=" not in url]
    # Of two, libpq takes the last.
    own.append(f"application_name={percent(_session_name(endpoint))}")
    return f"{url}{'&' if '?' in url else '?'}{'&'.join(own)}"


def _session_name(endpoint: Endpoint) -> str:
    """Of at most 63 bytes, which is where a server cuts it off (NAMEDATALEN)."""
    return f"tableferry {endpoint.run} {role()}" if endpoint.run else "tableferry"


def _settings_of(endpoint: Endpoint) -> dict[str, str]:
    address = address_of(endpoint)
    settings = dict(_SETTINGS, application_name=_session_name(endpoint))
    if address.schema:
        settings["search_path"] = quote(address.schema)
    if endpoint.snapshot:
        settings["lock_timeout"] = f"{_LOCK_SECONDS}s"
    return settings


def prepare_load(writer: Writer) -> None:
    """See Writer.prepare_load()."""
    writer.execute(set_all(_LOAD_SETTINGS))
    writer.commit()


def set_all(settings: Mapping[str, str], *, local: bool = False) -> str:
    """One statement that sets them all, for the session or for this transaction alone."""
    return f"SELECT {', '.join(_set(k, v, local=local) for k, v in settings.items())}"


def _set(name: str, value: str, *, local: bool = False) -> str:
    return f"set_config({literal(name)}, {literal(value)}, {str(local).lower()})"


def scripts(statements: Sequence[str]) -> Iterator[str]:
    """Statements as simple queries of many each ("Multiple Statements in a Simple Query", section
    55.2.2.1), which the server runs one after the other, up to an error, in one round trip."""
    for first in range(0, len(statements), _MOST_STATEMENTS):
        # Each semicolon on a line of its own, since a statement may end with a comment.
        yield "\n;".join(statements[first : first + _MOST_STATEMENTS])


def run(connection: adbc_driver_postgresql.dbapi.Connection, statement: str) -> None:
    """As a simple query, in one round trip: cursor.execute() prepares and describes it before."""
    with connection.cursor() as cursor:
        cursor.adbc_statement.set_sql_query(statement)
        cursor.adbc_statement.execute_update()


def rows(connection: adbc_driver_postgresql.dbapi.Connection, query: str) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        answer: list[dict[str, Any]] = cursor.fetch_arrow_table().to_pylist()
    return answer


def explained(connection: adbc_driver_postgresql.dbapi.Connection, query: str) -> tuple[str, ...]:
    """What EXPLAIN prints for each column of a query that brings no rows, which is not run."""
    with connection.cursor() as cursor:
        # The driver would make it a COPY, which takes no EXPLAIN.
        cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})
        cursor.execute(f"EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) {query}")
        ((plan,),) = cursor.fetchall()
    return tuple(json.loads(plan)[0]["Plan"]["Output"])


@contextmanager
def errors(endpoint: Endpoint, what: str = "", *, connecting: bool = False) -> Iterator[None]:
    """Turns what the driver raises into errors that name the server's object, with no secret."""
    try:
        yield
    except (TableferryError, MemoryError):
        raise
    except (adbc_driver_manager.Error, OSError, pa.ArrowException) as error:
        raise translated(error, endpoint, what, connecting=connecting) from None


def translated(
    error: BaseException, endpoint: Endpoint, what: str, *, connecting: bool = False
) -> TableferryError:
    """The same for one error of a driver's, which may have an attribute ``sqlstate``."""
    address = address_of(endpoint)
    state = getattr(error, "sqlstate", None) or ""
    text = redact(_words(str(error)), address.secrets)
    if connecting:
        state = state or _state_of_login(text)
        tls = _hint_of_tls(text)
        return Refused(
            f"{endpoint} cannot be reached: {text}",
            hint=_REFUSALS.get(state) or tls or _UNREACHABLE,
            sqlstate=state,
            transient=passes(state, text) or not (state or tls),
        )
    place = f"{endpoint}, {what}" if what else str(endpoint)
    short = not state and (text == "." or "out of memory" in text)
    return DatabaseError(
        f"{place}: {'there was not enough memory for it.' if short else text}",
        hint=LESS_MEMORY if short else _REFUSALS.get(state, ""),
        sqlstate=state,
        transient=passes(state, text),
    )


# What an error of these classes or codes says may be over in a moment (appendix A): a connection
# that was lost, a server that ends, starts or has crashed, a deadlock or serialisation failure, no
# connection left, a lock that was not to be had.
_PASSING = ("08", "57P01", "57P02", "57P03", "40001", "40P01", "53300", "55P03")
# What libpq and its drivers say of a lost connection, for which there is no code.
_LOST = re.compile(
    r"server closed the connection|connection (?:to server|is (?:closed|lost)|not open|reset|"
    r"refused|timed out|already closed|pointer is NULL)|no connection to the server|"
    r"terminating connection|could not (?:receive|send) data|consuming input failed|"
    r"Broken pipe|SSL SYSCALL|SSL connection has been closed|"
    r"the database system is|timeout expired",
    re.IGNORECASE,
)


def passes(state: str, text: str) -> bool:
    """Whether what an error says may be over in a moment."""
    if state:
        return state.startswith(_PASSING)
    return _LOST.search(text) is not None


def _hint_of_tls(text: str) -> str:
    return next((hint for words, hint in _TLS.items() if words in text), "")


def _words(text: str) -> str:
    """The server's own words: without the driver's frame, which may hold the statement."""
    text = " ".join(text.split())
    text = text.rpartition("': ERROR: ")[2]
    for mark in ("ERROR: ", "FATAL: "):
        if mark in text:
            text = text[text.index(mark) + len(mark) :]
    return text.split(" Query was: ")[0].split(" SQLSTATE: ")[0].strip(" .") + "."


def _state_of_login(text: str) -> str:
    # libpq gives no SQLSTATE for a refused login, only the server's sentence.
    if "password authentication failed" in text or "no password supplied" in text:
        return "28P01"
    if "does not exist" in text and "database" in text:
        return "3D000"
    if ("does not exist" in text and "role" in text) or "no pg_hba.conf entry" in text:
        return "28000"
    if "too many" in text or "remaining connection slots" in text:
        return "53300"
    if "the database system is" in text:
        return "57P03"
    return ""
