"""Every workload of the bench runs, with small inputs. What they come out at is for `make bench` to say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.workloads import MODULES
from tests.servers.kafka import KafkaServer
from tests.servers.postgres import PostgresServer

ROOT = Path(__file__).parents[2]


@pytest.mark.kafka
@pytest.mark.postgres
@pytest.mark.timeout(900)  # for what hangs: it takes a minute where nothing else runs
def test_every_workload_runs_beside_its_baseline(kafka: KafkaServer, postgres: PostgresServer) -> None:
    servers = ["--kafka", kafka.bootstrap, "--postgres", str(postgres.folder)]
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--smoke", *servers],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = {line.split("|")[1].split()[0] for line in done.stdout.splitlines() if line.startswith("| W")}
    assert {name.rstrip("ab") for name in told} >= set(MODULES) | {"W7"}
