#!/usr/bin/env bash
# edn_format 0.8.0: sets lose elements, and maps entries, which EDN tells apart and Python does not.
#
# EDN's section on equality: booleans and characters equal only values of their own type, and numbers only those "of the same
# magnitude, type, and precision" (https://github.com/edn-format/edn). loads() makes Python's frozenset and dict of them,
# for which 0, 0.0 and False are one, and reads a character as the string of it. So of a history as Jepsen writes them, whose
# final read of a set holds 0 and false, one is gone without an error, and an element that was acknowledged looks lost; of a
# map the last value stands under the first key. Vectors and lists keep all.
#
# Seen: #{0 false} has 1 element of 2, #{0 0.0} 1 of 2, #{\a "a"} 1 of 2; {0 :zero false :no} comes back as {0 :no};
# [0 false 0.0] comes back whole. Fails if that changes. Takes some seconds.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check edn_format==0.8.0
"$work/venv/bin/python" - <<'PY'
import edn_format

found = {text: len(edn_format.loads(text)) for text in ("#{0 false}", "#{0 0.0}", r'#{\a "a"}')}
for text, number in found.items():
    print(f"{text}: {number} of 2 elements")
back = {text: edn_format.dumps(edn_format.loads(text)) for text in ("{0 :zero false :no}", "[0 false 0.0]")}
for text, written in back.items():
    print(f"{text}: comes back as {written}")
if set(found.values()) != {1} or list(back.values()) != ["{0 :no}", "[0 false 0.0]"]:
    raise SystemExit("This has changed.")
PY
