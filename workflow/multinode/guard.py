"""How does mpirun end with the process that started it, however that ends?

Run as a script between the two, with what mpirun is given as arguments: when its standard input is
closed, it ends mpirun, and that its ranks. (mpirun does not tell ranks that its input has ended.)
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading

_PATIENCE = 10.0
"""How long mpirun may take to end its ranks [s]."""


def main(command: list[str]) -> int:
    """Run a command, and end it when standard input closes; give its status."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    threading.Thread(target=_end_with_input, args=(process,), daemon=True).start()
    status = process.wait()
    return status if status >= 0 else 128 - status


def _end_with_input(process: subprocess.Popen[bytes]) -> None:
    while os.read(0, 1):
        pass
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
