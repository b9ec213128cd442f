"""Bugs of data directories: copied, moved, of any name, of another release; and of the files in them."""

from lab.drill.mutants.mutant import edited

_BELONGING = "tests/unit/test_belonging.py::"
_PATHS = "tests/property/test_paths.py::"
_DB = "tests/unit/test_db.py::"
_STATES = "tests/unit/test_wrong_states.py::"
_LOG = "tests/unit/test_logfile.py::"

MUTANTS = (
    edited(
        "pid-file-believed",
        "a copied stack takes the original's servers for its own, and stops them",
        _BELONGING + "test_a_copied_stack_runs_nothing_and_stops_nothing",
        ("ops.stack.daemons:Daemon.running", "belongs(known.pid, self._root / LOCK, self.log)", "True"),
    ),
    edited(
        "lock-file-believed",
        "a pid that was copied with a lock file is told as its holder, whom `down` stops",
        _BELONGING + "test_a_pid_in_a_copied_lock_is_never_told_as_the_holder",
        ("ops.runstate:RunLock.holder", " or _is_holder(pid, self._path)", " or pid"),
    ),
    edited(
        "state-file-believed",
        "a copy uses the original's share of a common stack",
        _BELONGING + "test_a_copy_has_no_share_of_the_original_s",
        ("ops.runstate:RunState.is_of", "self.home is None or self.home.is_at(root)", "True"),
    ),
    edited(
        "stopped-servers-connected-to",
        "a command connects to the ports of a stack that is stopped, where another one listens by now",
        _BELONGING + "test_a_deployment_finds_its_own_stack_where_it_was_moved_or_copied_to",
        ("ops.deployment:Deployment._require_servers", "if (", "if False and ("),
    ),
    edited(
        "path-not-quoted",
        "a data directory with a # or ? in its name shares a file beside it with others",
        _PATHS + "test_a_url_names_the_path_it_was_made_of",
        ("halfmessage.paths:file_url", "quote(str(path))", "str(path)"),
    ),
    edited(
        "url-cut-in-silence",
        "of a path that was written into a URL as it is, the rest is dropped",
        _PATHS + "test_a_url_that_would_be_cut_is_refused",
        ("halfmessage.paths:file_path", "parts.query or parts.fragment or url.endswith", "False and url.endswith"),
    ),
    edited(
        "moved-database-written",
        "orders are acknowledged that are in a file which was moved",
        _DB + "test_file_moved_in_commit",
        ("halfmessage.db:EngineTransactor._commit", "        self._verify()\n", "        pass\n"),
    ),
    edited(
        "moved-database-read",
        "check-backs are answered from a file that was moved",
        _DB + "test_file_moved_under_it",
        ("halfmessage.db:EngineTransactor.read", "        self._verify()\n", ""),
    ),
    edited(
        "moved-file-looked-at-after-the-work",
        "what is read in a transaction, and refused, comes from a file that was moved away",
        _DB + "test_file_moved_under_it",
        ("halfmessage.db:EngineTransactor._transact_once", "            self._verify()  # what", "            # what"),
    ),
    edited(
        "newer-database-migrated",
        "a database of a newer release is a traceback",
        _STATES + "test_nothing_is_changed_in_a_database_that_is_not_ours",
        ("common.schema_version:refuse_unknown", "found not in known(service)", "False"),
    ),
    edited(
        "any-schema-served",
        "a service starts on a schema that its statements do not fit",
        _STATES + "test_a_service_starts_on_its_own_schema_alone",
        ("common.schema_version:require", "if found != needed:", "if False:"),
    ),
    edited(
        "moved-log-gone-on-with",
        "a log that was moved is written on, and never seen",
        _LOG + "test_a_log_that_was_moved_is_made_anew",
        ("common.logfile:LogFile.follow", "_identity(found) != self._identity or", "False or"),
        ("common.logfile:LogFile.follow", "            self._open()\n            return\n", "            return\n"),
    ),
    edited(
        "log-without-bound",
        "a log grows until the disk is full",
        _LOG + "test_a_log_is_bounded_in_size_and_number",
        ("common.logfile:LogFile.follow", "found.st_size >= self._largest and", "False and"),
    ),
    edited(
        "successor-of-a-log-rotated",
        "two processes that rotate at once push the last old log out",
        _LOG + "test_who_comes_late_to_rotate_finds_it_done",
        ("common.logfile:rotate", "if found.st_size < largest:", "if False:"),
    ),
)
