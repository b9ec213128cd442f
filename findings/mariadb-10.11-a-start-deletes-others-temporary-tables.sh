#!/usr/bin/env bash
# MariaDB 10.11: a server that starts deletes the temporary tables of another one that runs.
#
# At its start it removes every file of its tmpdir whose name is one of a temporary table, whichever server made it. Without
# `tmpdir` that is $TMPDIR or /tmp, for each server of a machine: two test servers on ports and data directories of their
# own are enough, or mariadb-install-db beside a running server, as that starts one, too. What was seen of it: of three
# servers that were made at once one was not, with "Error on delete of '/tmp/#sql-temptable-...MAI' (Errcode: 2)".
#
# Seen with 10.11 of Debian 12: the file of a temporary table of another server's session is there, and is gone after
# mariadb-install-db for a data directory elsewhere. With a tmpdir of its own nothing is deleted.
# Fails if that changes. Needs apt-get (it unpacks two packages into the temporary directory; no root) and 15 seconds.
set -euo pipefail
work=$(mktemp -d)
server=
end() {
    [ -z "$server" ] || { kill "$server" && wait "$server"; } 2>/dev/null || true
    rm -rf "$work"
}
trap end EXIT
cd "$work"
apt-get download -qq mariadb-server-core mariadb-client-core 2>/dev/null
for package in *.deb; do dpkg -x "$package" .; done
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check PyMySQL==1.2.4
usr/sbin/mariadbd --no-defaults --version
user=()
if [ "$(id -u)" = 0 ]; then user=(--user=root); fi
mkdir shared own
install() { # data directory, tmpdir
    TMPDIR=$work/$2 usr/bin/mariadb-install-db --no-defaults "${user[@]}" --basedir="$work/usr" --datadir="$work/$1" \
        --auth-root-authentication-method=normal --skip-test-db >"$work/$1.log" 2>&1
}
install first own
usr/sbin/mariadbd --no-defaults "${user[@]}" --basedir="$work/usr" --datadir="$work/first" --tmpdir="$work/shared" \
    --socket="$work/s" --skip-networking >log 2>&1 &
server=$!
venv/bin/python - "$work" <<'PY' &
import pathlib
import sys
import time

import pymysql

work = pathlib.Path(sys.argv[1])
for _ in range(300):
    try:
        connection = pymysql.connect(unix_socket=str(work / "s"), user="root", database="mysql")
        break
    except pymysql.err.OperationalError:
        time.sleep(0.1)  # until it answers
else:
    raise SystemExit("MariaDB did not start.")
cursor = connection.cursor()


def rows():
    cursor.execute("SELECT COUNT(*) FROM kept")
    return cursor.fetchone()[0]


def files():
    return len(list((work / "shared").glob("#sql*")))


def told(name):
    """Have the shell do something, and wait until it did."""
    (work / f"{name}.do").touch()
    while not (work / f"{name}.done").exists():
        time.sleep(0.05)


cursor.execute("CREATE TEMPORARY TABLE kept (id INT) ENGINE=Aria")
cursor.execute("INSERT INTO kept VALUES (1), (2)")
found = {"before": (rows(), files() > 0)}
told("elsewhere")
found["after another started, with a tmpdir of its own"] = (rows(), files() > 0)
told("beside")
found["after another started, with the same tmpdir"] = (files() > 0,)
print(found)
if found != {
    "before": (2, True),
    "after another started, with a tmpdir of its own": (2, True),
    "after another started, with the same tmpdir": (False,),
}:
    raise SystemExit("This has changed.")
PY
looks=$!
for name in elsewhere beside; do
    until [ -e "$name.do" ]; do
        kill -0 "$looks" 2>/dev/null || { wait "$looks"; exit 1; }
        sleep 0.05
    done
    install "$name" "$([ "$name" = beside ] && echo shared || echo own)"
    touch "$name.done"
done
wait "$looks"
