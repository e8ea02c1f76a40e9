"""The process that keeps writers out of a SQLite source. Run as a script, by its path.

It reads one line of JSON, {"uri": …}, begins an immediate transaction, answers "held" or the
driver's words, and waits for the end of its input; so it ends with the process that started it,
however that ends.

A process of its own, because any plain open and close of the file in the process that holds a
POSIX lock drops it (fcntl(2)); and without pyarrow, so that it starts in a twentieth of a second.
"""

from __future__ import annotations

import json
import sys

import adbc_driver_manager
import adbc_driver_sqlite


def hold() -> None:
    uri = json.loads(sys.stdin.readline())["uri"]
    try:
        database = adbc_driver_manager.AdbcDatabase(
            driver=adbc_driver_sqlite._driver_path(), uri=uri
        )
        connection = adbc_driver_manager.AdbcConnection(database)
        for statement in ("PRAGMA trusted_schema = OFF", "BEGIN IMMEDIATE"):
            with adbc_driver_manager.AdbcStatement(connection) as prepared:
                prepared.set_sql_query(statement)
                prepared.execute_update()
    except adbc_driver_manager.Error as error:
        sys.stdout.write(f"{error}\n")
        return
    sys.stdout.write("held\n")
    sys.stdout.flush()
    sys.stdin.read()
    # Closed in order, the last connection takes the -wal and -shm of a file in WAL mode with it.
    connection.close()
    database.close()


if __name__ == "__main__":
    hold()
