from __future__ import annotations

import datetime as dt
import os
import platform
import subprocess
import sys

from backbone.liveness import is_gone

HERE = platform.node()


def test_a_process_at_work_is_there() -> None:
    now = dt.datetime.now(dt.UTC)
    assert not is_gone(HERE, os.getpid())
    assert not is_gone(HERE, os.getpid(), now)


def test_a_number_that_was_given_again_is_another_process() -> None:
    long_ago = dt.datetime.now(dt.UTC) - dt.timedelta(days=3650)
    assert is_gone(HERE, os.getpid(), long_ago)


def test_a_dead_process_is_gone_before_and_after_its_parent_has_asked() -> None:
    child = subprocess.Popen([sys.executable, "-S", "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and still in the table
    assert is_gone(HERE, child.pid)
    child.wait()
    assert is_gone(HERE, child.pid)


def test_of_another_machine_nothing_is_known() -> None:
    assert not is_gone(f"{HERE}-other", 1)
    assert is_gone(None, None)
