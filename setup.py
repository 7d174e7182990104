"""Build of the one extension module.  Everything else is in pyproject.toml."""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

HERE = Path(__file__).parent
os.chdir(HERE)

if sys.platform == "win32":
    sys.exit("tinynet needs a POSIX system with gcc or clang; Windows was not tried: use WSL")

MICRO = sorted(str(p.relative_to(HERE)) for p in (HERE / "kernels" / "micro").rglob("*.c"))
DEPENDS = sorted(str(p.relative_to(HERE)) for pattern in ("*.pxi", "*.h", "micro/*.h", "micro/int8/*.h")
                 for p in (HERE / "kernels").glob(pattern))

# -fno-math-errno and -fno-trapping-math change no value; they let sqrtf and comparisons become plain instructions.
# Nothing unwinds through the engine: the tables for that would be 3 % of it.
FLAGS = ["-O2", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden", "-fno-asynchronous-unwind-tables", "-g0",
         "-pthread"]
# What Cython writes: the compiler decides what to inline, and integers are converted by functions of Python.  A run spends no
# time there, and it was a seventh of the code that is not inner loops.
FLAGS += ["-DCYTHON_INLINE=__attribute__((unused))", "-DCYTHON_USE_PYLONG_INTERNALS=0"]
if os.environ.get("TINYNET_WERROR"):
    # What developers and tests build: warnings are errors, and there are levels that only tests need.
    FLAGS += ["-DTN_TEST_LEVELS", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter",
              "-Wno-discarded-qualifiers"]  # the last two: what Cython writes

ENGINE = Extension(
    "tinynet.kernels.engine",
    sources=["kernels/engine.pyx", *MICRO],
    depends=DEPENDS,
    include_dirs=["kernels"],
    extra_compile_args=FLAGS,
    extra_link_args=["-pthread", "-Wl,-s"] if sys.platform == "linux" else ["-pthread"],
)

setup(ext_modules=cythonize([ENGINE], build_dir="build", compiler_directives={"language_level": 3, "binding": False}))
