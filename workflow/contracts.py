"""Do the configurations of a pipeline's tasks agree where the pipeline says that they must?

A contract is an expression over the configurations by label, as in ``isr.do_flat == detect.flat``.
It is written in Python and computed here, so that a pipeline file can call nothing.  Who reads
contracts from files is `workflow.pipeline_file`.
"""

from __future__ import annotations

import ast
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry.errors import did_you_mean
from workflow.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from workflow.connections import Connections
    from workflow.pipeline import PipelineTask

__all__ = ["Contract", "check_contracts"]

_BINARY: dict[type[ast.operator], Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARED: dict[type[ast.cmpop], Any] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_UNARY: dict[type[ast.unaryop], Any] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_FUNCTIONS = {f.__name__: f for f in (abs, all, any, len, max, min, round, set, sorted, sum)}


@dataclass(frozen=True)
class Contract:
    """What must be true of configurations.

    Parameters
    ----------
    expression : str
        Python over labels: ``a.x == b.y``, ``a.connections.image == 'calexp'``.
    message : str
        What to tell when it is not.
    file, line
        Where it stands.
    """

    expression: str
    message: str = ""
    file: str = ""
    line: int | None = None

    def __post_init__(self) -> None:
        try:
            ast.parse(self.expression.strip(), mode="eval")
        except SyntaxError as error:
            raise self.error(f"the contract is no expression: {error.msg}.") from error

    @property
    def labels(self) -> tuple[str, ...]:
        """The tasks that it names, sorted."""
        tree = ast.parse(self.expression.strip(), mode="eval")
        names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        return tuple(sorted(names - _FUNCTIONS.keys()))

    def error(self, problem: str) -> PipelineError:
        """Make an error that names its line."""
        return PipelineError(problem, file=self.file, line=self.line)


def check_contracts(contracts: Iterable[Contract], tasks: Mapping[str, PipelineTask]) -> None:
    """Check those contracts whose tasks are all there.

    Raises
    ------
    PipelineError
        If one is not fulfilled, with the values; or cannot be computed.
    """
    for contract in contracts:
        if not set(contract.labels) <= tasks.keys():
            continue
        computed = _Computed(tasks)
        try:
            fulfilled = computed.value(ast.parse(contract.expression.strip(), mode="eval").body)
        except _CannotError as error:
            raise contract.error(f"the contract '{contract.expression}': {error}") from error
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise contract.error(
                f"the contract '{contract.expression}' cannot be computed: {error}."
            ) from error
        if not fulfilled:
            seen = ", ".join(f"{path} is {value!r}" for path, value in computed.seen.items())
            told = contract.message.rstrip(".") or f"'{contract.expression}' is not true"
            raise contract.error(f"a contract is broken: {told} ({seen or 'it names no task'}).")


class _CannotError(Exception):
    """An expression holds what a contract may not."""


@dataclass(frozen=True)
class _Named:
    """A connection as the field's contracts see it."""

    name: str


class _Computed:
    """Computes an expression, and remembers the values that it used."""

    def __init__(self, tasks: Mapping[str, PipelineTask]) -> None:
        self._tasks = tasks
        self.seen: dict[str, Any] = {}

    def value(self, node: ast.expr) -> Any:
        """Compute one node."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            return [self.value(item) for item in node.elts]
        if isinstance(node, ast.BoolOp):
            values = (self.value(v) for v in node.values)
            return all(values) if isinstance(node.op, ast.And) else any(values)
        if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
            return _UNARY[type(node.op)](self.value(node.operand))
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            return _BINARY[type(node.op)](self.value(node.left), self.value(node.right))
        if isinstance(node, ast.IfExp):
            return self.value(node.body if self.value(node.test) else node.orelse)
        if isinstance(node, ast.Compare):
            left = self.value(node.left)
            for compared, other in zip(node.ops, node.comparators, strict=True):
                right = self.value(other)
                if not _COMPARED[type(compared)](left, right):
                    return False
                left = right
            return True
        if isinstance(node, ast.Subscript):
            return self._noted(node, self.value(node.value)[self.value(node.slice)])
        if isinstance(node, (ast.Name, ast.Attribute)):
            return self._named(node)
        if isinstance(node, ast.Call):
            return self._called(node)
        raise _CannotError(f"'{ast.unparse(node)}' is not possible in a contract.")

    def _called(self, node: ast.Call) -> Any:
        if isinstance(node.func, ast.Attribute) and node.func.attr == "ConnectionsClass":
            return self._connections(node.func.value)
        name = ast.unparse(node.func)
        if name not in _FUNCTIONS or node.keywords:
            raise _CannotError(
                f"'{ast.unparse(node)}' is not possible: the functions of contracts are "
                f"{', '.join(_FUNCTIONS)}."
            )
        return _FUNCTIONS[name](*map(self.value, node.args))

    def _connections(self, node: ast.expr) -> Connections:
        if not isinstance(node, ast.Name):
            raise _CannotError(f"'{ast.unparse(node)}' is no task.")
        return self._tasks[node.id].connections

    def _named(self, node: ast.Name | ast.Attribute) -> Any:
        if isinstance(node, ast.Name):
            return self._tasks[node.id].config
        above, name = node.value, node.attr
        if isinstance(above, ast.Attribute) and above.attr == "connections":
            return self._noted(node, _member(self._connections(above.value), name, above))
        if isinstance(above, ast.Call):
            return _Named(_member(self.value(above), name, above))
        holder = self.value(above)
        if isinstance(holder, _Named) and name == "name":
            return self._noted(node, holder.name)
        if name.startswith("_") or not hasattr(holder, name):
            known = list(holder) if hasattr(holder, "__iter__") else []
            raise _CannotError(
                f"'{ast.unparse(above)}' has no '{name}'.{did_you_mean(name, map(str, known))}"
            )
        return self._noted(node, getattr(holder, name))

    def _noted(self, node: ast.expr, value: Any) -> Any:
        if isinstance(value, (str, int, float, complex, type(None))):
            self.seen[ast.unparse(node)] = value
        return value


def _member(connections: Connections, name: str, node: ast.expr) -> str:
    """Give the dataset type of a connection, or what stands for a template."""
    names = {**connections.templates, **{k: c.dataset_type for k, c in connections.items()}}
    if name not in names:
        raise _CannotError(
            f"'{ast.unparse(node)}' has no connection '{name}'.{did_you_mean(name, names)}"
        )
    return names[name]
