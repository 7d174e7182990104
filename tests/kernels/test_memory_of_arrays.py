"""Arrays where 32-bit ARM, unlike x86, cannot work on them: at odd addresses, and larger than its address space."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from nets import Net, normal

from tinynet.kernels import engine
from tinynet.model import Model


def odd(array: np.ndarray) -> np.ndarray:
    """A copy at an odd address."""
    copy = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    copy[...] = array
    assert not copy.flags.aligned
    return copy


@pytest.mark.parametrize("as_list", [False, True])
def test_kernels_see_aligned_arrays(as_list):
    net = Net()
    x, y = net.input(normal(1, 1, 3, 4, 5)), net.input(normal(2, 1, 3, 4, 5))
    z = net.add("mul", net.add("add", x, y), y)
    model = net.model(z)
    expected = model.run(net.feed)[z]
    feed = {name: odd(array) for name, array in net.feed.items()}
    with mock.patch.object(Model, "_native_steps", autospec=True, side_effect=Model._native_steps) as steps:
        assert model.run(list(feed.values()) if as_list else feed)[z].tobytes() == expected.tobytes()
        target = odd(np.zeros_like(expected))
        assert model.run(feed, out=[target])[z] is target
    assert target.tobytes() == expected.tobytes()
    for call in steps.call_args_list:
        assert all(space.flags.aligned for space in call.args[3] if isinstance(space, np.ndarray))


def test_more_than_there_are_addresses():
    with pytest.raises(MemoryError, match="cannot allocate an arena of"):
        engine.Arena(2 ** 62)
