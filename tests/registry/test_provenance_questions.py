from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from registry import Timespan, collections
from registry.errors import RegistryError, UnknownPackage
from registry.provenance.differences import Difference
from registry.provenance.software import Made
from registry.schema.files import endpoint, file, replica, site
from registry.timespan import parse_time
from tests.registry.provenance_graphs import BEGAN, Task, make, nodes

if TYPE_CHECKING:
    import sqlalchemy as sa

    from registry import DatasetRef, Registry


def store(connection: sa.Connection, ref: DatasetRef, state: str) -> None:
    """Register one file of a dataset at one endpoint."""
    if connection.execute(endpoint.select()).first() is None:
        connection.execute(site.insert().values(id=1, name="here", doc=""))
        connection.execute(
            endpoint.insert().values(
                id=1, site_id=1, name="disk", root="/data", owned=True, state="online"
            )
        )
    key = ref.data_id["healpix"]
    values = {"id": key, "dataset_id": ref.id, "component": "", "formatter": "f"}
    connection.execute(file.insert().values(**values, path=f"n/{key}.fits", size_bytes=1))
    connection.execute(
        replica.insert().values(file_id=key, endpoint_id=1, state=state, since=BEGAN)
    )


def test_taint_of_a_withdrawn_dataset(registry: Registry) -> None:
    raw, bias, flat, calexp, unrelated, coadd = nodes(registry, 6, "run")
    (other,) = nodes(registry, 1, "later")
    make(registry, Task("run", "bias"), [([raw], [bias], "done")])
    make(registry, Task("run", "flat"), [([bias], [flat], "done"), ([raw], [unrelated], "done")])
    (isr, waiting, failed, running, _) = make(
        registry,
        Task("run", "isr"),
        [
            ([bias, flat, unrelated], [calexp], "done"),
            ([flat], [], "ready"),
            ([bias], [], "failed"),
            ([flat], [], "running"),
            ([flat], [], "no_work"),
        ],
    )
    make(registry, Task("later", "coadd"), [([calexp], [coadd, other], "done")])
    registry.register_collection("calib", "CALIBRATION")
    spans = [
        Timespan(parse_time(f"2022-09-2{day}"), parse_time(f"2022-09-2{day + 1}")) for day in (0, 2)
    ]
    for span in spans:
        registry.certify("calib", [bias], span)
    registry.register_collection("best", "TAGGED")
    with registry.begin() as connection:
        collections.tag(connection, "best", [calexp, unrelated])
        store(connection, calexp, "available")
        store(connection, flat, "lost")
    taint = registry.provenance.taint(bias.id)
    by_id = {d.ref: d for d in taint.datasets}
    assert {ref: d.steps for ref, d in by_id.items()} == {
        bias: 0,
        flat: 1,
        calexp: 1,
        coadd: 2,
        other: 2,
    }
    assert [d.steps for d in taint.datasets] == [0, 1, 1, 2, 2]
    assert by_id[bias].certified == (("calib", spans[0]), ("calib", spans[1]))
    assert {ref for ref, d in by_id.items() if d.certified} == {bias}
    assert {ref: d.tagged for ref, d in by_id.items() if d.tagged} == {calexp: ("best",)}
    assert {ref for ref, d in by_id.items() if d.stored} == {calexp}
    assert by_id[bias].task_label is None
    assert (by_id[calexp].task_label, by_id[other].task_label) == ("isr", "coadd")
    assert taint.runs() == {"run": 3, "later": 1}
    assert {(w.quantum_id, w.state) for w in taint.waiting} == {
        (waiting, "ready"),
        (failed, "failed"),
        (running, "running"),
    }
    assert isr not in {w.quantum_id for w in taint.waiting}
    assert {(w.task_label, w.run) for w in taint.waiting} == {("isr", "run")}
    nothing = registry.provenance.taint(coadd.id)
    assert [d.ref for d in nothing.datasets] == [coadd]
    assert (nothing.runs(), nothing.waiting) == ({}, ())


def test_differences_of_two_histories(registry: Registry) -> None:
    raw, extra, bias1, bias2, calexp1, calexp2 = nodes(registry, 6, "run/0")
    software = {"numpy": "2.0", "astropy": "7.0", "only": "1"}
    shared = [Task("run/1", "bias", {"clip": "3.0"}, software)]
    make(registry, shared[0], [([raw], [bias1], "done")])
    make(registry, shared[0]._replace(run="run/2"), [([raw, extra], [bias2], "done")])
    first = Task("run/1", "isr", {"clip": "3.0", "order": "2", "name": None}, software)
    second = Task(
        "run/2",
        "isr",
        {"clip": "5.0", "order": "2", "name": "'x'", "added": "1"},
        {"numpy": "2.1", "astropy": "7.0"},
        python="3.12.0",
        class_name="a.Isr",
    )
    make(registry, first, [([raw, bias1], [calexp1], "done")])
    make(registry, second, [([raw, bias2], [calexp2], "done")])
    told = registry.provenance.differences(calexp1.id, calexp2.id)
    inputs = [d for d in told if d.kind == "input"]
    pairs = {(d.what, d.first is None, d.second is None) for d in inputs}
    assert pairs == {
        (repr(extra.data_id), True, False),
        (repr(bias1.data_id), False, True),
        (repr(bias2.data_id), True, False),
    }
    assert {d.first for d in inputs} == {None, f"run/0 {bias1.id}"}
    assert [d for d in told if d.kind != "input"] == [
        Difference("task", "isr", "class", "a.Task", "a.Isr"),
        Difference("configuration", "isr", "added", None, "1"),
        Difference("configuration", "isr", "clip", "3.0", "5.0"),
        Difference("configuration", "isr", "name", "None", "'x'"),
        Difference("software", "isr", "python", "3.11.7", "3.12.0"),
        Difference("package", "isr", "numpy", "2.0", "2.1"),
        Difference("package", "isr", "only", "1", None),
    ]
    swapped = registry.provenance.differences(calexp2.id, calexp1.id)
    assert {(d.kind, d.what, d.second, d.first) for d in swapped} == {
        (d.kind, d.what, d.first, d.second) for d in told
    }
    assert registry.provenance.differences(calexp1.id, calexp1.id) == []


def test_equal_differences_of_tasks_are_told_once(registry: Registry) -> None:
    refs = nodes(registry, 5, "run/0")
    for run, version, (one, two) in (
        ("run/1", "2.0", refs[1:3]),
        ("run/2", "2.1", refs[3:5]),
    ):
        make(registry, Task(run, "a", {}, {"numpy": version}), [([refs[0]], [one], "done")])
        make(registry, Task(run, "b", {}, {"numpy": version}), [([one], [two], "done")])
    told = registry.provenance.differences(refs[2].id, refs[4].id)
    assert [d for d in told if d.kind != "input"] == [
        Difference("package", "a, b", "numpy", "2.0", "2.1")
    ]


def test_datasets_of_one_identity_in_two_runs_are_told_side_by_side(registry: Registry) -> None:
    (raw,) = nodes(registry, 1, "raw")
    one, two = (nodes(registry, 3, run) for run in ("run/1", "run/2"))
    for run, refs in (("run/1", one), ("run/2", two)):
        make(registry, Task(run, "a"), [([raw], [refs[1]], "done"), ([refs[1]], [refs[2]], "done")])
    assert registry.provenance.differences(one[2].id, two[2].id) == [
        Difference(
            "input", "node", repr(one[1].data_id), f"run/1 {one[1].id}", f"run/2 {two[1].id}"
        )
    ]


def test_which_software_made_what(registry: Registry) -> None:
    refs = nodes(registry, 5, "run")
    old, new = {"Numpy_Extra": "1.9", "odd": "g12-dirty"}, {"numpy-extra": "1.10", "odd": "2"}
    make(
        registry,
        Task("run", "a", {}, old),
        [([], [refs[0], refs[1]], "done"), ([], [refs[2]], "done"), ([], [], "failed")],
    )
    make(registry, Task("run", "b", {}, new, python="3.12.1"), [([], [refs[3]], "done")])
    half, minute = dt.timedelta(seconds=30), dt.timedelta(minutes=1)
    by_old = Made("1.9", "run", "a", "node", 3, BEGAN + half, BEGAN + minute + half)
    by_new = Made("1.10", "run", "b", "node", 1, *[BEGAN + 3 * minute + half] * 2)
    asked = registry.provenance
    assert asked.made_with("numpy.extra") == [by_new, by_old]
    for specifier, expected in {
        "<1.10": [by_old],
        ">=1.10": [by_new],
        "==1.9": [by_old],
        ">2": [],
    }.items():
        assert asked.made_with(f"numpy-extra{specifier}") == expected, specifier
    assert [(m.version, m.n_datasets) for m in asked.made_with("python")] == [
        ("3.11.7", 3),
        ("3.12.1", 1),
    ]
    assert [m.version for m in asked.made_with("odd")] == ["2", "g12-dirty"]
    assert [m.version for m in asked.made_with("odd===g12-dirty")] == ["g12-dirty"]
    assert [m.version for m in asked.made_with("odd>1")] == ["2"]
    assert set(asked.datasets_made_with("numpy-extra<1.10")) == set(refs[:3])
    with pytest.raises(UnknownPackage, match=r"no package 'numpyextra'.*'Numpy_Extra'"):
        asked.made_with("numpyextra")
    with pytest.raises(RegistryError, match="is not a package with versions"):
        asked.made_with("numpy >> 2")
