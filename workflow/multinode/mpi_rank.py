"""What does ``mpirun`` start on each rank? See `workflow.multinode.mpi.run`."""

from __future__ import annotations

import sys

from workflow.multinode.mpi import work

if __name__ == "__main__":
    work(sys.argv[1])
