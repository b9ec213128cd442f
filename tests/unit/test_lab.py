"""`lab` proves and measures the product, from a clone: it is no part of what is installed or runs in containers."""

import re
import subprocess
import sys
from configparser import ConfigParser
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from click.testing import CliRunner

from ops.cli import main

ROOT = Path(__file__).parents[2]


def packages() -> set[str]:
    """Return every package of the clone."""
    inits = [init for top in ROOT.glob("[a-z]*/__init__.py") for init in top.parent.rglob("__init__.py")]
    return {".".join(init.parent.relative_to(ROOT).parts) for init in inits}


def in_the_wheel() -> set[str]:
    """Return the packages that setuptools finds: by the patterns of setup.cfg, as `find:` compares them."""
    found = ConfigParser()
    found.read(ROOT / "setup.cfg")
    patterns = found["options.packages.find"]["exclude"].split()
    return {name for name in packages() if not any(fnmatchcase(name, pattern) for pattern in patterns)}


def top(names: set[str]) -> set[str]:
    """Return the top-level packages."""
    return {name.partition(".")[0] for name in names}


def test_the_wheel_has_nothing_of_the_lab() -> None:
    """Of what is in the clone, the lab and the tests stay behind, and nothing else does."""
    assert {"lab.drill.mutants.catalogue", "lab.bench", "lab.commands"} <= packages()
    assert top(packages() - in_the_wheel()) == {"lab", "tests"}
    assert top(in_the_wheel()).isdisjoint({"lab", "tests"})


def test_the_image_is_made_of_the_packages_in_the_wheel() -> None:
    """Nothing else gets into the build, even if the Dockerfile asked for it."""
    copied = re.findall(r"^COPY (\w+) \1$", (ROOT / "docker/Dockerfile").read_text(), re.MULTILINE)
    assert set(copied) == top(in_the_wheel())
    let_in = re.findall(r"^!(\w+)$", (ROOT / "docker/Dockerfile.dockerignore").read_text(), re.MULTILINE)
    assert {name for name in let_in if (ROOT / name).is_dir()} == top(in_the_wheel())


@pytest.mark.parametrize("name", ["drill", "bench"])
def test_orders_has_no_command_of_the_lab(name: str) -> None:
    """It is installed without the lab; neither its help nor the command itself says otherwise."""
    assert not re.search(rf"^ +{name}\b", CliRunner().invoke(main, ["--help"]).output, re.MULTILINE)
    assert CliRunner().invoke(main, [name, "--help"]).exit_code == 2


@pytest.mark.parametrize(
    ("words", "extra"), [("drill --list --real", "[rocketmq]"), ("drill --list", ""), ("bench --help", "")]
)
def test_the_scripts_run_the_lab_of_their_clone_from_anywhere(words: str, extra: str, tmp_path: Path) -> None:
    """It is not installed: another current directory than the clone must not matter. `--real` asks for its extra."""
    script = f'. "{ROOT}/scripts/_env.sh"; ensure() {{ echo "extra: $1"; }}; venv={sys.prefix}; lab {words}'
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, rest = done.stdout.split("\n", 1)
    assert first == f"extra: {extra}"
    assert "kill-order.deducted" in rest or "baseline" in rest
