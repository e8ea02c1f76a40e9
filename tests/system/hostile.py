"""Names and expressions that were written to make a database do what they say.

``NAMES`` break out of every kind of quoting there is, and then say something; ``EXPRESSIONS`` are
things that stand in a default, a rule, a generated column, an index or a view of a source. ``code``
is what a statement says apart from its quoted parts: there, and only there, would a word of theirs
be a command.
"""

from __future__ import annotations

import itertools
import re

# Where a file would appear, if anything could write one.
CANARY = "/tmp/tf-canary"

# What would be done. Each holds a word that no statement of ours has.
_DEEDS = [
    "DROP TABLE canary CASCADE",
    "DELETE FROM canary",
    "UPDATE canary SET a = 666",
    "CREATE ROLE intruder SUPERUSER",
    f"SELECT lo_export(1, '{CANARY}')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    f"COPY canary TO PROGRAM 'touch {CANARY}'",
    f"COPY canary TO '{CANARY}'",
    "SELECT dblink_exec('dbname=postgres', 'DROP TABLE canary')",
    "SELECT query_to_xml('DELETE FROM canary', true, true, '')",
    "SELECT pg_terminate_backend(1)",
    "SELECT pg_sleep(999)",
    "SELECT load_extension('/tmp/canary.so')",
    f"SELECT writefile('{CANARY}', 'x')",
    "SELECT readfile('/etc/passwd')",
    f"ATTACH DATABASE '{CANARY}' AS canary",
    f"VACUUM INTO '{CANARY}'",
    "PRAGMA writable_schema = ON",
    "SELECT * FROM pragma_table_info('canary')",
    "DO 'BEGIN DELETE FROM canary; END'",
]
WORDS = re.compile(
    r"canary|intruder|lo_export|lo_import|pg_read_file|pg_ls_dir|\bprogram\b|dblink|query_to_xml|"
    r"terminate_backend|pg_sleep|load_extension|writefile|readfile|\battach\b|writable_schema|"
    r"pragma_|fts3_tokenizer|edit\s*\(|printf_hostile",
    re.IGNORECASE,
)
# How a quoted name, a string, a comment or a format would be left.
_WAYS = [
    '"; {}; --',
    '"); {}; --',
    "'; {}; --",
    "'); {}; --",
    "''; {}; --",
    '""; {}; --',
    "\\'; {}; --",
    '\\"; {}; --',
    "*/ {}; /*",
    "--\n{};\n--",
    "\r\n; {}; --",
    "$$; {}; $$",
    "$tableferry$; {}; $tableferry$",
    "$1; {}; %s",
    "%(x)s {0} {{}} {}; :a ?",
    "E'\\''; {}; --",
    'U&"\\0022"; {}; --',
    "ʼ＂’; {}; --",
    "\\u0000\\x00%00; {}; --",
    "[x]; {}; --",
    "`; {}; --",
    "x\u2028; {}; --",
    ";\t{}\t;",
    "\\.\n{};\n\\.",
    "COPY x FROM STDIN;\n{};\n",
    ")) AS x; {}; SELECT ((",
    "' || ({}) || '",
    "<script>alert('{}')</script>",
]

_MANY = [way.replace("{}", deed, 1) for deed, way in itertools.product(_DEEDS, _WAYS)]
# Half of all, in which every deed and every way stands several times.
NAMES = [name for i, name in enumerate(_MANY) if i % 2 == i // len(_WAYS) % 2]

# The functions that a hostile SQLite file would have had when it was written.
FUNCTIONS = (
    *("lo_export", "lo_import", "pg_read_file", "pg_ls_dir", "dblink_exec", "query_to_xml"),
    *("load_extension", "writefile", "readfile", "pg_sleep", "edit", "printf_hostile"),
)
EXPRESSIONS = [
    f"lo_export(1, '{CANARY}')",
    "pg_read_file('/etc/passwd')",
    "pg_ls_dir('/')",
    "lo_import('/etc/passwd')",
    "dblink_exec('dbname=postgres', 'DROP TABLE canary')",
    "query_to_xml('DELETE FROM canary', 1, 1, '')",
    "load_extension('/tmp/canary.so')",
    f"writefile('{CANARY}', 'x')",
    "readfile('/etc/passwd')",
    "pg_sleep(999)",
    f"edit('x', 'touch {CANARY}')",
    "coalesce(a, lo_export(1, 'x'))",
    "CASE WHEN a > 0 THEN pg_read_file('x') ELSE a END",
    "abs(pg_sleep(9))",
    "a + lo_import('/etc/passwd')",
    "upper(readfile('/etc/passwd'))",
    "printf_hostile('%s', a)",
    "\"lo_export\"(1, 'x')",
    "LO_EXPORT /* here */ (1, 'x')",
    "lo_export\n(1, 'x')",
    "substr(pg_read_file('/etc/passwd'), 1, 2)",
    "a IN (1, pg_sleep(9))",
    "a BETWEEN 1 AND lo_import('x')",
    "NOT writefile('x', a)",
    "length(pg_ls_dir('/')) > 0",
]
# What no function says, in strings that must arrive as they are.
TEXTS = _MANY[::23]

_QUOTED = re.compile(
    r"""
    "(?:[^"]|"")*"                                   # a name
    | [eE]'(?:[^'\\]|\\.|'')*'                       # a string with escapes
    | '(?:[^']|'')*'                                 # a string
    | --[^\r\n]*                                     # a comment, as PostgreSQL ends it
    | /\*.*?\*/
    | \$(?P<tag>[A-Za-z_]*)\$.*?\$(?P=tag)\$         # a string in dollars
    """,
    re.VERBOSE | re.DOTALL,
)


def code(statement: str) -> str:
    """A statement without its quoted parts."""
    return _QUOTED.sub(" ", statement)
