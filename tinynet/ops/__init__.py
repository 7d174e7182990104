"""Layer kinds, one file per kind or close family.  README.md beside this file is the table of their meaning."""

from tinynet.ops.base import DataError, Op, ShapeError, Spec, kinds, make, register  # noqa: F401
