"""A sqlite database with the tables that OpenSIPS' dialog and b2b_entities keep calls in.

In production the vendor's own scripts make them (opensips-cli -x database create). The columns are
those of the two modules' documentation ("db_url" and the *_column parameters).
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

VERSIONS = {"dialog": 12, "b2b_entities": 2}
COLUMNS = {
    "version": "table_name text, table_version int",
    "dialog": (
        "dlg_id bigint primary key, callid text, from_uri text, from_tag text, to_uri text, "
        "to_tag text, mangled_from_uri text, mangled_to_uri text, caller_cseq text, "
        "callee_cseq text, caller_ping_cseq int, callee_ping_cseq int, caller_route_set text, "
        "callee_route_set text, caller_contact text, callee_contact text, caller_sock text, "
        "callee_sock text, state int, start_time int, timeout int, vars blob, profiles text, "
        "script_flags text, module_flags int default 0, flags int default 0, rt_on_answer text, "
        "rt_on_timeout text, rt_on_hangup text"
    ),
    "b2b_entities": (
        "id integer primary key autoincrement, type int, state int, ruri text, from_uri text, "
        "to_uri text, from_dname text, to_dname text, tag0 text, tag1 text, callid text, "
        "cseq0 int, cseq1 int, contact0 text, contact1 text, route0 text, route1 text, "
        "sockinfo_srv text, param text, mod_name text, storage blob, lm int, lrc int, lic int, "
        "leg_cseq int, leg_route text, leg_tag text, leg_contact text, leg_sockinfo text"
    ),
}


def make_database(path: Path) -> str:
    """An empty database; its URL for OpenSIPS."""
    with closing(sqlite3.connect(path)) as database, database:
        for name, columns in COLUMNS.items():
            database.execute(f"create table {name} ({columns})")
        database.executemany("insert into version values (?, ?)", VERSIONS.items())
    return f"sqlite://{path}"
