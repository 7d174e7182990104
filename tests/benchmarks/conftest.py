from __future__ import annotations

import sys
from pathlib import Path

# `benchmarks` is not installed; it is found from the repository's root, after everything that is.
sys.path.append(str(Path(__file__).resolve().parents[2]))
