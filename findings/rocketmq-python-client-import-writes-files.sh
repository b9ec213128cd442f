#!/usr/bin/env bash
# rocketmq-python-client 5.1.2: importing it makes a directory in HOME and opens a log there; without one the import fails.
#
# `import rocketmq` runs os.makedirs and logging.config.dictConfig: it makes ~/logs/rocketmq_python and opens
# rocketmq_client.log in it, which rotates at 100 MiB and keeps ten older ones, 1,100 MiB a user. No argument or variable
# turns that off, and the package's own description does not speak of it. A library of Python leaves handlers to the program
# (https://docs.python.org/3/howto/logging.html, "Configuring Logging for a Library"). Here, in addition:
# - a service whose user has no home, as with HOME=/dev/null, can't import it at all;
# - its logger does not propagate, so what it warns of, a lost connection say, is in no log that the program configured.
#
# Seen: the file is there after the import alone, NotADirectoryError with HOME=/dev/null, and no line of its logger at the
# root's handler. Fails if that changes. Needs no server.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check rocketmq-python-client==5.1.2
mkdir "$work/home"
HOME=$work/home "$work/venv/bin/python" - <<'PY'
import io
import logging
from pathlib import Path

told = io.StringIO()
logging.basicConfig(stream=told, level=logging.INFO)  # the program's own
import rocketmq  # noqa: E402, F401

files = sorted(str(path.relative_to(Path.home())) for path in Path.home().rglob("*") if path.is_file())
logger = logging.getLogger("rocketmq-python-client")
(handler,) = logger.handlers
logger.warning("a warning of the library")
print(f"files after the import: {files}")
print(f"{type(handler).__name__}: {handler.maxBytes} bytes, {handler.backupCount} older ones")
print(f"what the program's log was told: {told.getvalue()!r}")
if files != ["logs/rocketmq_python/rocketmq_client.log"] or (handler.maxBytes, handler.backupCount) != (104857600, 10):
    raise SystemExit("This has changed.")
if told.getvalue() or logger.propagate:
    raise SystemExit("This has changed.")
PY
without=$(HOME=/dev/null "$work/venv/bin/python" -c "import rocketmq" 2>&1 | tail -n 1 || true)
echo "HOME=/dev/null: $without"
[[ $without == NotADirectoryError:* ]] || { echo "This has changed."; exit 1; }
