"""How does a person say which data are meant?

The `where` language: ``exposure.observation_type = 'flat' AND exposure IN (5..20:2) AND NOT band
GLOB 'u*'``. `parse` turns text into an immutable `Expression`, `names` lists what it refers to, and
`compile_where` makes a condition of SQLAlchemy from it, with every value bound.  What is wrong with
a text is told by the errors of `registry.expressions.errors`, with the place.  The language is
described in ``docs/reference/expressions.md``; lark is imported when the first expression is
parsed, astropy when the first time is met.
"""

from registry.expressions.compiling import RegionResolver, Resolver, compile_where
from registry.expressions.errors import (
    ExpressionError,
    ExpressionSyntaxError,
    ExpressionTooLarge,
    InvalidLiteral,
    MissingBind,
    NoRegion,
    TypeMismatch,
    UnknownField,
    UnknownValue,
    UnrelatedDimension,
)
from registry.expressions.nodes import Expression
from registry.expressions.parsing import binds, names, parse, terms

__all__ = [
    "Expression",
    "ExpressionError",
    "ExpressionSyntaxError",
    "ExpressionTooLarge",
    "InvalidLiteral",
    "MissingBind",
    "NoRegion",
    "RegionResolver",
    "Resolver",
    "TypeMismatch",
    "UnknownField",
    "UnknownValue",
    "UnrelatedDimension",
    "binds",
    "compile_where",
    "names",
    "parse",
    "terms",
]
