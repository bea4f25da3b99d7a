"""When is a program killed, and was everything as it must be after?"""

from __future__ import annotations

import random
import signal
import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from backbone.audit import check
from backbone.endpoints import ROOT
from tests.kills import verbs
from tests.kills.verbs import VERBS, Verb, job_of
from tests.kills.world import FAR, value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kills.world import World
    from tests.nursery import Nursery

LIBRARIES = (
    "tests.kills.verbs",
    "butler.objects.comparing",
    "butler.formatters.structured",
    "butler.moving.removal",
    "backbone.sending",
    "s3fs",
)
"""What the nursery imports, so that no child has to."""
LEFT = {"orphan", "unfinished", "trash"}
"""What a process that is killed may leave for a check."""
GOLDEN = (5**0.5 - 1) / 2
"""Its multiples, without their whole part, fall into the largest gaps that those before left."""
KILLED = {-signal.SIGKILL, -signal.SIGALRM}


@dataclass(slots=True)
class Killed:
    """What came of one moment.

    Parameters
    ----------
    verb : str
        What was done.
    number : int
        Of the moment.
    how : str
        At which moment, or after how long.
    killed : bool
        Whether it was; else it had ended before.
    left : dict of str to int
        What the check found, and removed.
    faults : list of str
        What must not be, and was.
    """

    verb: str
    number: int
    how: str
    killed: bool = False
    left: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def kill(
    nursery: Nursery, world: World, name: str, moments: int, seed: int, done: int = 0
) -> Iterator[Killed]:
    """Kill one verb at so many moments, and tell what came of each.

    Half of them are drawn from what a run does to database and files, half from the time that it
    takes; however many there are, they are spread over all of it.

    Parameters
    ----------
    done : int
        Moments that were tried before, which are passed over.
    """
    verb = VERBS[name]
    offset = random.Random(f"{seed} {name}").random()
    n_moments, seconds = 0, 0.0
    if done < moments:
        where = FAR if world.at_server else ROOT
        verb.prepare(world, verb.run, where)
        status, said = verbs.start(nursery, world, name, job_of(world, verb, where))
        assert status == 0, said
        counted, took = said[-1].split()
        n_moments, seconds = int(counted), float(took)
        world.clear(verb.run)
    for number in range(done, moments):
        dice = random.Random(f"{seed} {name} {number}")
        share = (GOLDEN * (number // 2) + offset) % 1.0
        moment, after = (1 + int(share * n_moments), 0.0) if number % 2 else (0, share * seconds)
        where = FAR if world.at_server and dice.random() < 0.8 else dice.choice((ROOT, FAR))
        how = f"at {moment} of {n_moments}" if moment else f"after {1000 * after:.1f} ms"
        one = Killed(name, number, f"{how}, {where}")
        try:
            with verbs.small_steps():
                _one(nursery, world, verb, one, dice, where, moment, after)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is told)
            one.faults.append("".join(traceback.format_exception(error)))
        yield one


def _one(
    nursery: Nursery,
    world: World,
    verb: Verb,
    one: Killed,
    dice: random.Random,
    where: str,
    moment: int,
    after: float,
) -> None:
    """Kill it once, and judge."""
    verb.prepare(world, verb.run, where)
    before = {ref.id for ref in world.members(verb.run)}
    job = job_of(world, verb, where)
    # a timer that is set to nothing never rings
    seconds = 0.0 if moment else max(after, 1e-6)
    status, said = verbs.start(nursery, world, one.verb, job, moment, seconds)
    one.killed = status in KILLED
    told = {int(line) for line in said if line.isdigit()}
    if not one.killed and status:
        one.faults.append(f"it ended with {status}: {said}")
    again_at_once = dice.random() < 0.5
    if again_at_once:
        verb.do(world.butler, job)
    _repaired(world, one)
    present = world.members(verb.run)
    numbers = {int(ref.data_id["healpix"]) for ref in present}
    expected = (verb.ends,) if again_at_once else verb.counts
    if len(present) not in expected:
        one.faults.append(f"{len(present)} datasets are there")
    if not told <= numbers:
        one.faults.append(f"{told - numbers} were told to be stored, and are not")
    if before and not {ref.id for ref in present} <= before:
        one.faults.append("datasets have another identity")
    _readable(world, verb, one)
    if not again_at_once:
        verb.do(world.butler, job)
        world.butler.empty_trash()
        if found := _found(world):
            one.faults.append(f"after it was repeated: {found}")
    present = world.members(verb.run)
    if len(present) != verb.ends:
        one.faults.append(f"{len(present)} datasets are there at the end")
    _readable(world, verb, one)
    _as_recorded(world, one)
    if one.verb == "transfer":
        makers = world.butler.registry.provenance.makers(*(ref.id for ref in present))
        if len(makers) != len(present):
            one.faults.append(f"only {len(makers)} have their history")
    world.clear(verb.run)
    if left := world.stored():
        one.faults.append(f"files stay when all is removed: {left}")


def _repaired(world: World, one: Killed) -> None:
    """Let a check repair, and see that it finds nothing but what was left over, and all of it."""
    butler = world.butler
    report = check(butler.registry.database, butler.root, grace=0, repair=True, checksums=True)
    one.left = dict(Counter(f.problem for f in report.findings))
    wrong = [f for f in report.findings if f.problem not in LEFT or not f.repaired]
    one.faults += [f"the check found {f}" for f in wrong]
    if found := _found(world):
        one.faults.append(f"after the repair: {found}")
    _as_recorded(world, one)


def _found(world: World) -> list[Any]:
    butler = world.butler
    return check(butler.registry.database, butler.root, grace=0, checksums=True).findings


def _as_recorded(world: World, one: Killed) -> None:
    stored, recorded = world.stored(), world.recorded()
    if stored != recorded:
        one.faults.append(
            f"without a row: {stored - recorded}; without a file: {recorded - stored}"
        )


def _readable(world: World, verb: Verb, one: Killed) -> None:
    for ref in world.members(verb.run):
        found = world.butler.get(ref)
        if found != value(int(ref.data_id["healpix"]), verb.content):
            one.faults.append(f"{ref} holds {found}")
