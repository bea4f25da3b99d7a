"""Do threads, processes, MPI and RabbitMQ keep one contract?"""

from __future__ import annotations

from typing import Any

import pytest

from tests.workflow.multinode.contract import KilledRanks, MultiNodeContract


class TestThreads(MultiNodeContract):
    backend = "threads"
    late_by = 1.0  # a thread cannot be killed

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls) -> dict[str, Any]:
        return {}


class TestProcesses(KilledRanks, MultiNodeContract):
    backend = "processes"

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls) -> dict[str, Any]:
        return {}


class TestMPI(KilledRanks, MultiNodeContract):
    backend = "mpi"

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls) -> dict[str, Any]:
        return {}


class TestRabbitMQ(KilledRanks, MultiNodeContract):
    backend = "rabbitmq"

    @pytest.fixture(scope="class")
    @classmethod
    def options(cls, rabbitmq: str) -> dict[str, Any]:
        return {"url": rabbitmq}
