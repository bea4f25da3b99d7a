"""Tasks that tell what they do, and programs that log until they are ended."""

from __future__ import annotations

import logging
import threading
from typing import Any

from lsst.pex.config import Config, Field

from workflow import logs
from workflow.connections import Input, Output
from workflow.task import Struct, SuperTask

PIXEL = ("instrument", "detector", "exposure")


class ChattyConfig(Config):
    bad = Field[int](doc="The exposure that cannot be processed.", default=0)


class ChattyTask(SuperTask):
    """Logs in several ways."""

    ConfigClass = ChattyConfig
    dimensions = PIXEL
    frame = Input("frame", "StructuredDataDict", PIXEL)
    out = Output("told", "StructuredDataDict", PIXEL)

    def run(self, frame: dict[str, Any]) -> Struct:
        self.log.info("level %.1f", frame["value"])
        self.log.debug("in detail")
        with logs.bound(amplifier=2):
            logging.getLogger("elsewhere").warning("saturated")
            helper = threading.Thread(target=self.log.info, args=("from a thread",))
            helper.start()
            helper.join()
        if frame["exposure"] == self.config.bad:
            raise ValueError("bad pixels everywhere")
        return Struct(out={"of": frame["value"]})


def log_until_killed(url: str) -> None:
    """Log numbers without end; say when the first are in the database."""
    from workflow.logs.buffer import Background
    from workflow.logs.sinks import DatabaseSink

    log = logging.getLogger("endless")
    handler = Background(DatabaseSink(url), capacity=100)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    said = False
    for n in range(100_000_000):
        log.info("%d", n)
        if handler.n_written and not said:
            said = True
            print("written", flush=True)  # noqa: T201


def log_to_file(path: str, who: int) -> None:
    """Log into a file that others write too."""
    from workflow.logs.buffer import Background
    from workflow.logs.sinks import FileSink

    log = logging.getLogger("shared")
    handler = Background(FileSink(path, "json", max_bytes=20_000, keep=100))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    for n in range(300):
        log.info("%d %d", who, n)
        if not n % 10:
            handler.flush()
    handler.close()
    print("done", flush=True)  # noqa: T201
