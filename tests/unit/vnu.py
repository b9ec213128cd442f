"""The Nu Html Checker, which is behind the W3C's validator (https://validator.github.io/validator/).

It comes as a jar in the npm package `vnu-jar` (MIT), which is fetched once, into var/. Nothing of the package is run
but the jar, and that in a JVM of its own.
"""

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Final, NoReturn

import pytest

VERSION: Final = "26.9.27"
SHA256: Final = "22f15dd39a33bed929d2a5c0cddf5946849a647eca9272bf4d5d00bc7e7a4d47"
_KEPT: Final = Path(__file__).parents[2] / "var"
_FETCHED_WITHIN: Final = 100.0  # seconds for 30 MB
_CHECKED_WITHIN: Final = 100.0  # seconds for some thirty pages, which take three


def errors(folder: Path) -> list[str]:
    """Return what is wrong with the HTML files in a folder, warnings apart: a line each.

    Skip the test where Java or the jar can't be had, but never in CI.
    """
    java = shutil.which("java") or _missing("Java is not installed: apt-get install default-jre-headless")
    command = [java, "-Xss8m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar", str(_jar())]
    ran = subprocess.run(
        [*command, "--stdout", "--format", "gnu", "--errors-only", "--no-langdetect", str(folder)],
        capture_output=True,
        text=True,
        timeout=_CHECKED_WITHIN,
        check=False,
    )
    assert ran.returncode in {0, 1}, ran.stderr
    assert ran.returncode == bool(ran.stdout), ran.stdout + ran.stderr
    return [line.replace(f"file:{folder}/", "") for line in ran.stdout.splitlines()]


def _jar() -> Path:
    kept = _KEPT / f"vnu-{VERSION}.jar"
    if not kept.is_file():
        _fetch(kept)
    assert hashlib.sha256(kept.read_bytes()).hexdigest() == SHA256, f"{kept} is not what was published; delete it"
    return kept


def _fetch(kept: Path) -> None:
    npm = shutil.which("npm") or _missing("npm, which fetches vnu-jar, is not installed: apt-get install npm")
    kept.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as work:
        packed = [npm, "pack", "--silent", f"vnu-jar@{VERSION}"]
        try:
            ran = subprocess.run(packed, cwd=work, capture_output=True, timeout=_FETCHED_WITHIN, check=True, text=True)
        except subprocess.SubprocessError as error:
            _missing(f"vnu-jar could not be fetched: {error}")
        with tarfile.open(Path(work, ran.stdout.split()[-1])) as archive:
            jar = archive.extractfile("package/build/dist/vnu.jar")
            assert jar is not None
            Path(work, "jar").write_bytes(jar.read())
        Path(work, "jar").replace(kept)


def _missing(why: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{why} (CI=true)")
    pytest.skip(why)
