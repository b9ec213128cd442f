#!/usr/bin/env bash
# snowflake-id 1.0.2: a generator that is resumed from its last id issues ids again, as soon as an epoch of one's own is set.
#
# SnowflakeGenerator.from_snowflake(Snowflake.parse(last, epoch)) is how a process goes on where another one ended.
# from_snowflake hands over the id's time, which counts from the epoch, where the constructor expects one that counts
# from 1970 and takes the epoch off once more. What is left is long past (negative, for an epoch in the second half of the
# time since 1970), so the resumed generator forgets which sequence numbers of this millisecond are taken, and begins at 0.
# Without an epoch (0) both times are the same, and it works.
#
# Seen, of 20,000 resumed at once: epoch 0: none repeats. Epoch 2021-01-01: each repeats
# an id, or is below the last one, unless a new millisecond began. Fails if that changes. Takes half a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check snowflake-id==1.0.2
"$work/venv/bin/python" - <<'PY'
from snowflake import Snowflake, SnowflakeGenerator

TRIES = 20_000


def resumed(epoch):
    """Return how often the first id of a resumed generator was issued before, and how often it was below the last one."""
    repeated = below = 0
    for _ in range(TRIES):
        first = SnowflakeGenerator(1, epoch=epoch)
        issued = [next(first) for _ in range(5)]
        second = SnowflakeGenerator.from_snowflake(Snowflake.parse(issued[-1], epoch))
        after = next(second)
        repeated += after in issued
        below += after not in issued and after < issued[-1]
    return repeated, below


plain = resumed(0)
own = resumed(1_609_459_200_000)  # 2021-01-01
print(f"of {TRIES} resumed generators: epoch 0: {plain[0]} repeat an id, {plain[1]} go back;", end=" ")
print(f"epoch 2021-01-01: {own[0]} repeat an id, {own[1]} go back")
if plain != (0, 0) or not own[0] or own[0] + own[1] < TRIES / 2:
    raise SystemExit("This has changed.")
PY
