"""Ranks that work on one task together, on one machine or on many.

A tour:

- `launch` starts ranks on a back end and returns what each gave back; each rank is given a
  `Communicator`, whose verbs are named as in mpi4py (``send``, ``bcast``, ``gather``, ...; with
  capitals for arrays without pickle; ``map`` hands items to whoever is free);
- a `Geometry` (`Ring`, `Grid`, `FocalPlane`, `SkyPatches`) says which places touch, and
  ``comm.on(geometry)`` divides the places among the ranks for exchange between neighbours
  (`Neighbourhood`), with the same results on any number of ranks;
- the back ends are threads (for tests), processes of one machine, MPI and RabbitMQ
  (`workflow.multinode.mpi.world` and `workflow.multinode.rabbitmq.join` for ranks that were
  started by other means);
- `Placement` says where the multi-node tasks of a pipeline run (``skyspine run --nodes mpi:4``).
"""

from __future__ import annotations

from workflow.multinode.communicator import Communicator
from workflow.multinode.endpoint import ANY_SOURCE
from workflow.multinode.errors import (
    GeometryError,
    MultiNodeError,
    NoBackend,
    RankFailed,
    RankLate,
    RankLost,
    RanksDisagree,
    UntrustedMessage,
)
from workflow.multinode.geometry import FocalPlane, Geometry, Grid, Ring, SkyPatches
from workflow.multinode.launching import BACKENDS, Placement, launch
from workflow.multinode.neighbours import Neighbourhood
from workflow.multinode.operations import LAND, LOR, MAX, MIN, PROD, SUM

__all__ = [
    "ANY_SOURCE",
    "BACKENDS",
    "LAND",
    "LOR",
    "MAX",
    "MIN",
    "PROD",
    "SUM",
    "Communicator",
    "FocalPlane",
    "Geometry",
    "GeometryError",
    "Grid",
    "MultiNodeError",
    "Neighbourhood",
    "NoBackend",
    "Placement",
    "RankFailed",
    "RankLate",
    "RankLost",
    "RanksDisagree",
    "Ring",
    "SkyPatches",
    "UntrustedMessage",
    "launch",
]
