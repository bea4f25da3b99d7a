"""Does every record carry what is bound where it is made?"""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from workflow import logs
from workflow.logs import context


@pytest.fixture(autouse=True)
def _on_every_record() -> None:
    context.on_every_record()


def keys_of(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [dict(context.of(record)) for record in caplog.records]


def test_keys_are_bound_for_a_stretch_and_within_each_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = logging.getLogger("somebody.else")
    log.warning("before")
    with logs.bound(instrument="Cam", exposure=3):
        log.warning("outer")
        with logs.bound(detector=1, exposure=4):
            log.warning("inner")
        with pytest.raises(KeyError), logs.bound(detector=2):
            raise KeyError
        log.warning("outer again")
    log.warning("after")
    outer = {"instrument": "Cam", "exposure": 3}
    assert keys_of(caplog) == [{}, outer, {**outer, "exposure": 4, "detector": 1}, outer, {}]


def test_each_asynchronous_task_and_thread_has_its_own(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("several")

    async def work(detector: int) -> None:
        with logs.bound(detector=detector):
            await asyncio.sleep(0)
            log.warning("%d", detector)

    async def both() -> None:
        await asyncio.gather(work(1), work(2))

    asyncio.run(both())
    assert keys_of(caplog) == [{"detector": 1}, {"detector": 2}]
    caplog.clear()
    barrier = threading.Barrier(2)

    def told(amplifier: int) -> None:
        with logs.bound(amplifier=amplifier):
            barrier.wait(30)
            log.warning("%d", amplifier)

    with ThreadPoolExecutor(2) as pool, logs.bound(detector=7):
        list(pool.map(logs.carried(told), (1, 2)))
        pool.submit(log.warning, "not carried").result()
    found = sorted(keys_of(caplog), key=lambda k: str(k.get("amplifier")))
    assert found == [{"detector": 7, "amplifier": 1}, {"detector": 7, "amplifier": 2}, {}]


def test_other_threads_have_the_keys_of_the_one_quantum(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("helper")
    keeper = object()

    def elsewhere() -> None:
        helper = threading.Thread(target=log.warning, args=("told",))
        helper.start()
        helper.join()

    with context.executing(keeper, {"quantum": 1}):
        elsewhere()
        with logs.bound(detector=3):
            assert logs.current().capture is keeper
        with context.executing(object(), {"quantum": 2}):
            elsewhere()  # of two, nobody knows which
    elsewhere()
    assert keys_of(caplog) == [{"quantum": 1}, {}, {}]


def test_a_message_with_the_name_of_a_key_is_no_clash(caplog: pytest.LogCaptureFixture) -> None:
    with logs.bound(context="mine", message="too", name="x"):
        logging.getLogger("a").warning("said", extra={"context": "theirs"})
    assert keys_of(caplog) == [{"context": "mine", "message": "too", "name": "x"}]
