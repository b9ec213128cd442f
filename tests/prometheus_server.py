"""A Prometheus of a test's own, and its tools."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import urllib3
import yaml

from ops.stack.plan import free_pair

_EVERY: Final = 1  # seconds between two scrapes


def tool(name: str) -> str:
    """Return the path of Prometheus or one of its tools. Skip where there is none, fail where it must be."""
    if (found := shutil.which(name)) is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI needs {name}")
        pytest.skip(f"there is no {name} (apt install prometheus)")
    return found


class Prometheus:
    """A server that scrapes the processes of a deployment."""

    def __init__(self, urls: Mapping[str, str], token: str, folder: Path) -> None:
        """Start it: jobs by name, with where each is, and a token that lets it read metrics."""
        program = tool("prometheus")
        jobs = [
            {
                "job_name": name,
                "authorization": {"credentials": token},
                "static_configs": [{"targets": [url.removeprefix("http://")]}],
            }
            for name, url in urls.items()
        ]
        config = {"global": {"scrape_interval": f"{_EVERY}s"}, "scrape_configs": jobs}
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._url = f"127.0.0.1:{free_pair()}"
        self._pool = urllib3.PoolManager(retries=False, timeout=10)
        command = [program, "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*command, f"--web.listen-address={self._url}"], cwd=folder, stdout=log, stderr=log
            )

    def ask(self, query: str) -> list[dict[str, Any]]:
        """Return the series that answer it, by their labels and values."""
        answer = self._pool.request("GET", f"http://{self._url}/api/v1/query", fields={"query": query})
        told = json.loads(answer.data)
        assert told["status"] == "success", (query, told)
        result: list[dict[str, Any]] = told["data"]["result"]
        return result

    def has_seen(self, series: str, times: int) -> bool:
        """Whether each job that has these series was scraped so often since."""
        try:
            found = self.ask(f"min(count_over_time({series}[5m]))")
        except (urllib3.exceptions.HTTPError, json.JSONDecodeError):  # it is not ready yet
            return False
        return bool(found) and float(found[0]["value"][1]) >= times

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(30)
        self._pool.clear()
