"""Which other clients are connected to a PostgreSQL database, as pg_stat_activity tells it.

Everyone sees which sessions there are, whose they are and what they call themselves; the rest is
for members of pg_read_all_stats and of the session's own role ("The Cumulative Statistics System",
section 27.2).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from tableferry.dialects.base import Clients, Endpoint
from tableferry.dialects.postgresql import connection as postgres

# The server takes its time to notice the end of a session, and the driver opens a short one of its
# own beside ours: what is gone a moment later is no service.
_LOOKS = 6
_BETWEEN = 0.2  # seconds

# Never a query's text. Where the kind of a session is hidden, it is taken for a client's unless it
# is surely none: autovacuum has no user, and everyone may know the processes of replication.
QUERY = """
SELECT coalesce(a.usename::text, a.usesysid::text) AS role, a.application_name::text AS application,
  CASE WHEN a.backend_type IS NULL THEN 'hidden' ELSE 'seen' END AS known,
  coalesce(host(a.client_addr), '') AS address, coalesce(a.state, '') AS state,
  count(*)::text AS sessions,
  coalesce(to_char(min(a.state_change), 'YYYY-MM-DD HH24:MI:SS'), '') AS since
FROM pg_stat_activity a
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.usesysid IS NOT NULL
  AND coalesce(a.backend_type, 'client backend') = 'client backend'
  AND a.application_name !~ '^tableferry( |$)'
  AND NOT EXISTS (SELECT 1 FROM pg_stat_replication r WHERE r.pid = a.pid)
  AND NOT EXISTS (SELECT 1 FROM pg_stat_subscription s WHERE s.pid = a.pid)
GROUP BY 1, 2, 3, 4, 5
ORDER BY 1, 2, 3, 4, 5
"""


def clients_of(endpoint: Endpoint) -> Clients:
    """The sessions of other clients on the endpoint's database, alike ones together.

    Our own sessions, those of other runs (which the run lock keeps apart) and the server's own
    processes are none. Raises Refused where the server cannot be reached.
    """
    with closing(postgres.connect(endpoint)) as connection, postgres.errors(endpoint):
        rows = postgres.rows(connection, QUERY)
        for _ in range(_LOOKS - 1):
            if not rows:
                break
            # A transaction sees the sessions of its first look.
            connection.rollback()
            time.sleep(_BETWEEN)
            rows = postgres.rows(connection, QUERY)
        connection.rollback()
    return described(rows)


def described(rows: Sequence[dict[str, Any]]) -> Clients:
    """Rows of the query, as text, in words."""
    hidden = sum(int(row["sessions"]) for row in rows if row["known"] == "hidden")
    unseen = ""
    if hidden:
        what = "1 session" if hidden == 1 else f"{hidden:,} sessions"
        unseen = (
            f"Where {what} came from, and what the state is, this role may not see; a member of "
            "pg_read_all_stats may."
        )
    return Clients(tuple(map(_described, rows)), unseen)


def _described(row: dict[str, Any]) -> str:
    sessions = int(row["sessions"])
    facts = [f"application {row['application']}"] if row["application"] else []
    if row["known"] == "seen":
        facts.append(f"from {row['address']}" if row["address"] else "through the local socket")
        # No state is told where track_activities is off.
        since = f" since {row['since']} UTC" if row["since"] else ""
        earliest = " at the earliest" if since and sessions > 1 else ""
        facts.append(f"{row['state'] or 'connected'}{since}{earliest}")
    else:
        facts.append("details hidden")
    who = row["role"] if sessions == 1 else f"{sessions:,} sessions of {row['role']}"
    return f"{who} ({', '.join(facts)})"
