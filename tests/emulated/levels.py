"""Are the arguments the levels that this CPU has, the last one the one that is chosen, and others refused?"""

from __future__ import annotations

import os
import sys

from tinynet import kernels
from tinynet.errors import UsageError

expected = tuple(sys.argv[1:])
if kernels.available() != expected or kernels.isa() != expected[-1]:
    sys.exit(f"expected {', '.join(expected)}; found {', '.join(kernels.available())}, of which {kernels.isa()} is chosen")
for name in set(kernels.KNOWN) - set(expected):
    os.environ[kernels.ISA_VARIABLE] = name
    try:
        sys.exit(f"{kernels.isa()} runs on a CPU that does not have it")
    except UsageError:
        pass
