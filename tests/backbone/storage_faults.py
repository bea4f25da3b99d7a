"""Programs that put, remove and fetch at an S3 endpoint, and die at a moment."""

from __future__ import annotations

import os
from typing import Any

from backbone.remote import Remote
from butler import Butler, transfer
from tests.backbone.storage_servers import KEYS
from tests.nursery import Moments

DATA_ID = {"instrument": "DemoCam", "detector": 1}


class MomentsOfRequests(Moments):
    """Those before and after each request to an endpoint too."""

    def __init__(self, last: int) -> None:
        super().__init__(last)
        ask = Remote._try  # noqa: SLF001

        def counted(remote: Remote, path: str, action: Any) -> Any:
            self._moment()
            answer = ask(remote, path, action)
            self._moment()
            return answer

        setattr(Remote, "_try", counted)  # noqa: B010 (it is generic)


def puts_and_removes(root: str, prefix: str, last: int) -> None:
    """Put three datasets, copy one, remove one."""
    os.environ |= KEYS
    moments = MomentsOfRequests(last)
    with Butler(root, run="u/test") as butler:
        refs = []
        for n in range(3):
            target = f"{prefix}-{n}"
            value = {"target": target, "text": "x" * 2000}
            where = "root" if n == 0 else "far"
            refs.append(butler.put(value, "summary", DATA_ID, target=target, endpoint=where))
        butler.replicate(refs, "far")
        butler.prune([refs[1]], purge=True)
    print(moments.count)  # noqa: T201


def transfers(root: str, other: str, last: int) -> None:
    """Take what another repository has at S3, in batches of three."""
    os.environ |= KEYS
    transfer.FAR_BATCH = 3
    moments = MomentsOfRequests(last)
    with Butler(root, writeable=True) as butler, Butler(other) as there:
        butler.transfer_from(there, there.registry.query_datasets("summary", "made"))
    print(moments.count)  # noqa: T201
