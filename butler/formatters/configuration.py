"""How is a configuration read back without running the code that it is made of?

lsst.pex.config writes a configuration as Python: imports, one assertion that names the class, and
one assignment per field. In a trusted repository it is executed, as LSST does. Elsewhere the text
is *interpreted*: assignments of literals, `retarget` and entries of config dictionaries, and
nothing else; classes are taken only from installed modules and only if they are configurations
(or, for `retarget`, have one). So every file that `write` makes can be read without trust; a file
with other code in it cannot.
"""

from __future__ import annotations

import ast
import math
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from butler.errors import PluginError, UntrustedFormat
from butler.formatters.base import Formatter, encoded, provenance_text
from butler.plugins import load_reference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lsst.pex.config import Config

    from butler.formatters.source import Source

__all__ = ["ConfigFormatter"]

_NUMBERS = {"nan": math.nan, "inf": math.inf}


class ConfigFormatter(Formatter):
    """An lsst.pex.config Config as its Python text; see the module's docstring for what is safe."""

    name = "config"
    extension: ClassVar[str] = ".py"
    python_types: ClassVar[tuple[str, ...]] = ("lsst.pex.config.Config",)
    keeps_provenance: ClassVar[bool] = True

    def dump(self, obj: Config, stream: BinaryIO, provenance: Mapping[str, str]) -> None:
        """Write the configuration; see `Formatter.dump`."""
        if "<locals>" in type(obj).__qualname__ or type(obj).__module__ == "__main__":
            raise self.refuse(
                f"its class {type(obj).__qualname__} cannot be imported again",
                "define the class at the top level of an installed module",
            )
        head = "".join(f"# {key}: {encoded(value)}\n" for key, value in provenance.items())
        text: str = obj.saveToString()
        stream.write((head + text).encode())

    def load(
        self,
        source: Source,
        component: str | None,  # noqa: ARG002
        parameters: Mapping[str, Any],  # noqa: ARG002
        *,
        trusted: bool,
    ) -> Any:
        """Read the configuration; see `Formatter.load`."""
        path, text = source.name, source.read_bytes().decode()
        try:
            statements = ast.parse(text, filename=path).body
            config = _class_of(statements)()
        except (SyntaxError, PluginError) as error:
            raise self.damaged(path, error) from error
        if trusted:
            _execute(config, text, path)
        else:
            try:
                _Interpreter(config, path).run(statements)
            except AttributeError as error:  # a field that the class does not have
                raise self.damaged(path, error) from error
        return config

    def find_provenance(self, source: Source) -> dict[str, str]:
        """Read the comments at the beginning."""
        with source.text() as stream:
            return provenance_text(stream)


def _execute(config: Config, text: str, path: str) -> None:
    try:
        config.loadFromString(text, filename=path, extraLocals=dict(_NUMBERS))
    except Exception as error:  # whatever the text's own code raises
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _class_of(statements: list[ast.stmt]) -> type[Config]:
    """Find the class in ``assert type(config) is package.module.Class, ...``."""
    for statement in statements:
        if (
            isinstance(statement, ast.Assert)
            and isinstance(statement.test, ast.Compare)
            and ast.unparse(statement.test.left) == "type(config)"
            and isinstance(statement.test.ops[0], ast.Is)
        ):
            return _config_class(ast.unparse(statement.test.comparators[0]))
    raise ValueError("it does not say which configuration it is (`assert type(config) is ...`)")


def _config_class(dotted: str) -> type[Config]:
    from lsst.pex.config import Config

    found = _imported(dotted)
    if not (isinstance(found, type) and issubclass(found, Config)):
        raise TypeError(f"{dotted} is not a configuration class")
    return found


def _imported(dotted: str) -> object:
    """Import ``package.module.Class`` or ``package.module.Outer.Inner``."""
    parts = dotted.split(".")
    for split in range(len(parts) - 1, 0, -1):
        try:
            return load_reference(f"{'.'.join(parts[:split])}:{'.'.join(parts[split:])}")
        except PluginError as error:
            missing = error
    raise missing if len(parts) > 1 else ValueError(f"{dotted} is no dotted name")


class _Interpreter:
    """Carries out the statements that a saved configuration consists of, and no others."""

    def __init__(self, config: Config, path: str) -> None:
        from lsst.pex.config import Config
        from lsst.pex.config.configChoiceField import ConfigInstanceDict
        from lsst.pex.config.configDictField import ConfigDict
        from lsst.pex.config.configurableField import ConfigurableInstance

        self.config = config
        self.path = path
        self.places = (Config, ConfigInstanceDict, ConfigDict, ConfigurableInstance)

    def run(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            match statement:
                case ast.Import() | ast.Assert():
                    continue
                case ast.Assign(targets=[ast.Attribute(value=owner, attr=name)], value=value):
                    place = self.place(owner, statement)
                    setattr(place, self.field(name, statement), self.value(value))
                case ast.Assign(targets=[ast.Subscript(value=owner, slice=key)], value=value):
                    self.place(owner, statement)[self.literal(key)] = self.value(value)
                case ast.Expr(
                    value=ast.Call(
                        func=ast.Attribute(value=owner, attr="retarget"), args=[], keywords=keywords
                    )
                ):
                    self.retarget(self.place(owner, statement), keywords, statement)
                case _:
                    raise self.untrusted(statement)

    def place(self, node: ast.expr, statement: ast.stmt) -> Any:
        """Follow ``config.a.b['c']`` to a configuration or a dictionary of them."""
        match node:
            case ast.Name(id="config"):
                return self.config
            case ast.Attribute(value=owner, attr=name):
                found = getattr(self.place(owner, statement), self.field(name, statement))
            case ast.Subscript(value=owner, slice=key):
                found = self.place(owner, statement)[self.literal(key)]
            case _:
                raise self.untrusted(statement)
        if not isinstance(found, self.places):
            raise self.untrusted(statement)
        return found

    def field(self, name: str, statement: ast.stmt) -> str:
        if name.startswith("_"):
            raise self.untrusted(statement)
        return name

    def value(self, node: ast.expr) -> Any:
        match node:
            case ast.Call(func=ast.Attribute() as function, args=[], keywords=[]):
                return _config_class(ast.unparse(function))()
        return self.literal(node)

    def literal(self, node: ast.expr) -> Any:
        """Evaluate a literal; ``nan``, ``inf`` and ``float('nan')`` are numbers here too."""
        plain = _Numbers().visit(node)
        try:
            return ast.literal_eval(plain)
        except ValueError:
            raise self.untrusted(node) from None

    def retarget(self, field: Any, keywords: list[ast.keyword], statement: ast.stmt) -> None:
        given = {word.arg: ast.unparse(word.value) for word in keywords}
        if set(given) != {"target", "ConfigClass"}:
            raise self.untrusted(statement)
        target = _imported(given["target"])
        if not isinstance(target, type) or not hasattr(target, "ConfigClass"):
            raise self.untrusted(statement)
        field.retarget(target=target, ConfigClass=_config_class(given["ConfigClass"]))

    def untrusted(self, node: ast.AST) -> UntrustedFormat:
        return UntrustedFormat(
            f"{self.path}, line {getattr(node, 'lineno', '?')}: `{ast.unparse(node)[:60]}` is more "
            "than a configuration's values, and is not run. If you trust everyone who could write "
            "there, read it with Butler(root, trusted=True).",
            path=self.path,
        )


class _Numbers(ast.NodeTransformer):
    """Turns what pex_config writes for numbers that are not finite into constants."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(_NUMBERS[node.id]) if node.id in _NUMBERS else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        match node:
            case ast.Call(func=ast.Name(id="float"), args=[ast.Constant(value=str(text))]):
                return ast.Constant(float(text))
        return node
