from __future__ import annotations

import numpy as np
import pytest
from nets import Net, normal

from tinynet import kernels, ops, reference
from tinynet.errors import InputError, LimitError, UsageError
from tinynet.graph import Node
from tinynet.model import KEPT_CONTEXTS, Model, default_threads, random_inputs

X, Y = (1, 4, 5, 3), (4, 5, 1)


@pytest.fixture
def net():
    """in0 [1,4,5,3] -> conv (output 0), conv + in1 -> softmax (output 1), argmax (output 2)."""
    net = Net()
    x, y = net.input(normal(1, *X)), net.input(normal(2, *Y))
    conv = net.add("conv2d", x, net.constant(normal(3, 6, 3, 3, 3)), net.constant(normal(4, 6)), pads=(1, 1, 1, 1))
    total = net.add("add", conv, y)
    net.graph.outputs = [conv, net.add("softmax", total), net.add("argmax", total, axis=3)]
    net.graph.meta.name = "small"
    return net


@pytest.fixture
def model(net):
    return Model(net.graph, threads=1)


@pytest.fixture
def single():
    net = Net()
    net.graph.outputs = [net.add("relu", net.input(normal(1, 3, 4)))]
    return net


def same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)


# ---- inputs

def test_describes_itself(model):
    assert [tuple(i) for i in model.inputs] == [("in0", X, "float32"), ("in1", Y, "float32")]
    assert [tuple(i) for i in model.outputs] == [("conv2d0", (1, 4, 5, 6), "float32"), ("softmax2", (1, 4, 5, 6), "float32"),
                                                 ("argmax3", (1, 4, 5, 1), "int64")]
    assert repr(model).startswith("<tinynet.Model small: in0 [1, 4, 5, 3], in1 [4, 5, 1] -> conv2d0 [1, 4, 5, 6], ")
    assert model.meta.name == "small" and model.threads == 1


@pytest.mark.parametrize("form", [dict, lambda d: list(d.values()), lambda d: tuple(d.values()),
                                  lambda d: dict(reversed(d.items()))])
def test_forms_of_inputs(net, model, form):
    same(model.run(form(net.feed)), reference.run(net.graph, net.feed))


def test_one_array_for_one_input(single):
    x = normal(5, 3, 4)
    assert np.array_equal(Model(single.graph).run(x)["relu0"], np.maximum(x, 0))


@pytest.mark.parametrize("change, text", [
    (lambda f: {"in0": f["in0"]},
     r"input 'in1' is missing; the model has 'in0' float32 \[1, 4, 5, 3\], 'in1' float32 \[4, 5, 1\]"),
    (lambda f: f | {"image": f["in0"]}, "no input is called 'image'; the model has 'in0'"),
    (lambda f: [f["in0"]], "expected 2 inputs .*, found a list of 1"),
    (lambda f: f["in0"], "expected 2 inputs .*, found one array: give a dict or a list"),
    (lambda f: f | {"in0": f["in0"][0]}, r"input 'in0': expected shape \[1, 4, 5, 3\], found \[4, 5, 3\]"),
    (lambda f: f | {"in0": f["in0"][:, ::-1, :, :2]}, r"input 'in0': expected shape \[1, 4, 5, 3\], found \[1, 4, 5, 2\]"),
    (lambda f: f | {"in1": f["in1"].astype(np.float64)},
     r"input 'in1': expected dtype float32, found float64: .*astype\('float32'\)"),
    (lambda f: f | {"in1": f["in1"].astype(">f4")}, "input 'in1': expected dtype float32, found >f4"),
    (lambda f: f | {"in1": f["in1"].tolist()}, r"input 'in1': expected a numpy array float32 \[4, 5, 1\], found list"),
    (lambda f: f | {"in0": None}, "input 'in0': expected a numpy array .*, found NoneType"),
    (lambda f: {}, "input 'in0' is missing"),
])
def test_wrong_inputs(net, model, change, text):
    with pytest.raises(InputError, match=text) as caught:
        model.run(change(net.feed))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("lay", [
    np.asfortranarray,
    lambda a: np.repeat(a, 2, axis=2)[:, :, ::2],
    lambda a: a[:, ::-1].copy()[:, ::-1],
    lambda a: np.moveaxis(np.moveaxis(a, 3, 0).copy(), 0, 3),
    lambda a: np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(np.float32).reshape(a.shape),      # odd address, read-only
], ids=["fortran", "every second", "reversed", "channels first", "unaligned"])
def test_inputs_may_lie_in_any_way(net, model, lay):
    feed = net.feed | {"in0": lay(net.feed["in0"])}
    assert np.array_equal(feed["in0"], net.feed["in0"])
    same(model.run(feed), reference.run(net.graph, net.feed))
    assert np.array_equal(feed["in0"], net.feed["in0"])


def test_broadcast_and_read_only_inputs(single):
    x = np.broadcast_to(np.float32(-2), (3, 4))
    assert np.array_equal(Model(single.graph).run(x)["relu0"], np.zeros((3, 4)))


# ---- results

def test_results_belong_to_the_caller(net, model):
    first = model.run(net.feed)
    kept = {n: a.copy() for n, a in first.items()}
    second = model.run({n: -a for n, a in net.feed.items()})
    for name, array in first.items():
        assert np.array_equal(array, kept[name])
        assert not np.may_share_memory(array, second[name]) and array.flags.writeable
        array[...] = 0
    same(model.run(net.feed), kept)


@pytest.mark.parametrize("form", [dict, lambda d: list(d.values()), lambda d: tuple(d.values())])
def test_forms_of_out(net, model, form):
    out = {i.name: np.full(i.shape, 9, i.dtype) for i in model.outputs}
    found = model.run(net.feed, out=form(out))
    assert all(found[name] is array for name, array in out.items())
    same(found, reference.run(net.graph, net.feed))


def test_one_array_for_one_output(single):
    out = np.empty((3, 4), np.float32)
    assert Model(single.graph).run(normal(5, 3, 4), out=out)["relu0"] is out
    assert np.array_equal(out, np.maximum(normal(5, 3, 4), 0))


@pytest.mark.parametrize("change, text", [
    (lambda o: {}, "output 'conv2d0' is missing"),
    (lambda o: o | {"z": 1}, "no output is called 'z'"),
    (lambda o: list(o.values())[:2], "expected 3 outputs .*, found a list of 2"),
    (lambda o: o | {"argmax3": o["argmax3"].astype(np.int32)}, "output 'argmax3': expected dtype int64, found int32"),
    (lambda o: o | {"conv2d0": o["conv2d0"][0]}, "output 'conv2d0': expected shape"),
    (lambda o: o | {"conv2d0": np.asfortranarray(o["conv2d0"])},
     "output 'conv2d0': expected a C-contiguous, writeable array"),
    (lambda o: o | {"conv2d0": np.broadcast_to(np.float32(0), (1, 4, 5, 6))}, "expected a C-contiguous, writeable array"),
    (lambda o: o | {"conv2d0": np.frombuffer(bytes(480), np.float32).reshape(1, 4, 5, 6)},
     "expected a C-contiguous, writeable array"),
])
def test_wrong_out(net, model, change, text):
    with pytest.raises(InputError, match=text):
        model.run(net.feed, out=change({i.name: np.zeros(i.shape, i.dtype) for i in model.outputs}))


def test_out_is_the_input(single):
    model, x = Model(single.graph), normal(5, 3, 4)
    expected = np.maximum(x, 0)
    assert np.array_equal(model.run(x, out=x)["relu0"], expected) and np.array_equal(x, expected)


@pytest.mark.parametrize("before", [0, 1])
def test_out_overlaps_the_input(before):
    """Written straight into `out`, the convolution would read what it has just written.  before: runs, which leave memory for
    the next one to start at once with."""
    net = Net()
    y = net.add("conv2d", net.input(normal(1, 1, 6, 6, 4)), net.constant(normal(2, 4, 3, 3, 4)), net.constant(normal(3, 4)))
    memory = np.zeros(6 * 6 * 4, np.float32)
    x, out = memory.reshape(1, 6, 6, 4), memory[20:84].reshape(1, 4, 4, 4)
    x[...] = net.feed["in0"]
    expected, model = net.reference(y), net.model(y)
    for _ in range(before):
        model.run(net.feed)
    same(model.run(x, out=out), expected)


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("form", [list, dict])
def test_outs_overlap_each_other_with_the_input(form, before):
    net = Net()
    x = net.input(normal(1, 8))
    one, two = net.add("relu", x), net.add("neg", x)
    memory = np.zeros(16, np.float32)
    memory[:8] = net.feed[x]
    model = net.model(one, two)
    for _ in range(before):
        model.run(net.feed)
    out = {one: memory[8:], two: memory[:8]}
    found = model.run(memory[:8], out=out if form is dict else list(out.values()))
    assert np.array_equal(found[one], np.maximum(net.feed[x], 0)) and np.array_equal(found[two], -net.feed[x])


def test_outputs_that_are_inputs_constants_used_again_or_named_twice():
    net = Net()
    x = net.input(normal(1, 2, 3))
    y = net.add("neg", x)
    z, flat, c = net.add("abs", y), net.add("reshape", y, shape=(6,)), net.constant(normal(2, 4))
    model = net.model(x, y, z, flat, c)
    found = model.run(net.feed)
    same(found, net.reference(x, y, z, flat, c))
    assert not np.may_share_memory(found[x], net.feed[x]) and not np.may_share_memory(found[y], found[flat])
    assert np.array_equal(net.model(y, y).run(net.feed)[y], -net.feed[x])


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_two_outs_that_overlap(shift):
    """Both hold their results as far as they do not overlap; the later one everywhere."""
    net = Net()
    x = net.input(normal(1, 8))
    one, two = net.add("relu", x), net.add("neg", x)
    model, memory = net.model(one, two), np.zeros(10, np.float32)
    model.run(net.feed)
    found = model.run(net.feed, out={one: memory[1:9], two: memory[1 + shift:9 + shift]})
    assert np.array_equal(found[two], -net.feed[x])
    apart = slice(0, 1) if shift > 0 else slice(7, 8) if shift < 0 else slice(0, 0)
    assert np.array_equal(found[one][apart], np.maximum(net.feed[x], 0)[apart])


def test_a_closed_model_does_not_run_again(single):
    model = Model(single.graph)
    model.run(normal(5, 3, 4))
    model.close()
    with pytest.raises(UsageError, match="closed"):
        model.run(normal(5, 3, 4))


def test_model_without_layers_or_outputs():
    net = Net()
    x = net.input(normal(1, 2, 3))
    assert np.array_equal(net.model(x).run(net.feed)[x], net.feed[x])
    net.graph.outputs = []
    assert net.model().run(net.feed) == {}


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "int8", "bool", "float16", "float64"])
def test_other_dtypes(dtype):
    net = Net()
    x = net.input(np.arange(6).reshape(2, 3).astype(dtype))
    y = net.add("transpose", x, perm=(1, 0))
    z = net.add("cast", net.add("concat", y, y, axis=1), to="float32")
    same(net.model(y, z).run(net.feed), net.reference(y, z))


@pytest.mark.parametrize("index", [3, -4, 2 ** 62, -2 ** 63])
@pytest.mark.parametrize("threads", [1, 2])
def test_an_index_that_does_not_exist_stops_the_run(index, threads):
    net = Net()
    indices = net.input(np.array([0, index, 1]))
    y = net.add("gather", net.input(normal(1, 3)), indices)
    model = net.model(y, threads=threads)
    with pytest.raises(InputError, match=r"^model: node 'gather0' \(gather\): expected indices between -3 and 2, "):
        model.run(net.feed)
    with pytest.raises(InputError, match="expected indices between -3 and 2"):
        model.profile(net.feed, repeat=1)
    net.feed[indices] = np.array([0, -3, 1])
    assert np.array_equal(model.run(net.feed)[y], net.feed["in1"][[0, 0, 1]])


def test_an_element_that_does_not_exist_stops_the_run():
    net = Net()
    y = net.add("gather_elements", net.input(normal(1, 3)), net.input(np.array([3])))
    with pytest.raises(InputError, match=r"node 'gather_elements0' \(gather_elements\): expected indices between .*, found 3"):
        net.model(y).run(net.feed)
    with pytest.raises(InputError, match="node 'gather_elements0'"):
        net.reference(y)


# Inputs of a kind, of which the last is fed -> what is wrong with its numbers.
OUTSIDE = {
    "rnn": ([(3, 2, 4), (6, 4), (6, 6), (1, 12), (1, 2, 6)], np.array([3, 7], np.int32), 4,
            {"activations": ("tanh",), "alphas": (0.0,), "betas": (0.0,)}, "lengths between 0 and 3"),
    "roi_align": ([(2, 4, 5, 3), (1, 4)], np.array([2]), 2, {}, "images from 0 to 1"),
    "max_unpool": ([(2, 4, 5, 3)], np.full((2, 4, 5, 3), 480), 1, {"inner": (8, 10), "size": (8, 10)}, "indices from 0 to 479"),
    "scatter_elements": ([(3, 2), (3, 2)], np.full((3, 2), -4), 1, {}, "indices between -3 and 2"),
    "reverse_sequence": ([(3, 2)], np.array([1, 4]), 1, {"batch_axis": 1, "time_axis": 0}, "lengths between 0 and 3"),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", OUTSIDE)
def test_numbers_that_point_outside_stop_the_run(kind, threads):
    shapes, numbers, at, attrs, match = OUTSIDE[kind]
    net = Net()
    names = [net.constant(normal(i, *shape)) for i, shape in enumerate(shapes)]
    names.insert(at, net.input(numbers))
    specs = ops.make(kind, attrs).infer(*(ops.Spec(net.shape(n), net.graph.tensors[n].dtype) for n in names))
    outs = [net._tensor(f"out{k}", s.shape, s.dtype) for k, s in enumerate(specs)]
    net.graph.nodes.append(Node(kind, kind, names, outs, attrs))
    model = net.model(outs[0], threads=threads)
    with pytest.raises(InputError, match=f"^model: node '{kind}' .{kind}.: expected {match}, found "):
        model.run(net.feed)
    net.feed = {name: np.zeros_like(array) for name, array in net.feed.items()}
    model.run(net.feed)


# ---- settings

@pytest.mark.parametrize("threads", [0, 65, -1, True, 1.0, "2", np.float32(1)])
def test_wrong_threads(single, threads):
    with pytest.raises(UsageError, match="threads: expected a number from 1 to 64, found "):
        Model(single.graph, threads=threads)


def test_threads_from_the_environment(single, monkeypatch):
    monkeypatch.setenv("TINYNET_NUM_THREADS", "3")
    assert Model(single.graph).threads == 3 and Model(single.graph, threads=2).threads == 2
    monkeypatch.setenv("TINYNET_NUM_THREADS", "")
    assert 1 <= Model(single.graph).threads == default_threads() <= 64


@pytest.mark.parametrize("text", ["0", "65", "-1", "two", "1.5", " 2", "\u0663", "9" * 5000])
def test_wrong_threads_in_the_environment(single, monkeypatch, text):
    monkeypatch.setenv("TINYNET_NUM_THREADS", text)
    with pytest.raises(UsageError, match="TINYNET_NUM_THREADS=.*: expected a number from 1 to 64"):
        Model(single.graph)


def test_level_from_the_environment(single, monkeypatch):
    for level in kernels.available():
        monkeypatch.setenv("TINYNET_ISA", level)
        assert Model(single.graph).plan.isa == level == kernels.isa()
    monkeypatch.setenv("TINYNET_ISA", "avx9")
    with pytest.raises(UsageError, match=r"TINYNET_ISA=avx9: there is no such level; available here: scalar"):
        Model(single.graph)
    (missing, *_) = set(kernels.KNOWN) - set(kernels.available())
    monkeypatch.setenv("TINYNET_ISA", missing)
    with pytest.raises(UsageError, match=f"TINYNET_ISA={missing}: this CPU or build lacks it; available here: scalar"):
        Model(single.graph)
    monkeypatch.setenv("TINYNET_ISA", "")
    assert kernels.isa() == kernels.available()[-1]


def test_forced_level_comes_before_the_environment(single, monkeypatch):
    monkeypatch.setenv("TINYNET_ISA", kernels.available()[-1])
    with kernels.use_isa("scalar"):
        inside = Model(single.graph)
    with pytest.raises(UsageError), kernels.use_isa("avx9"):
        pytest.fail("entered")
    assert inside.plan.isa == "scalar" and Model(single.graph).plan.isa == kernels.available()[-1]
    assert set(kernels.cpu_features()) >= set(kernels.available())


def test_limits_are_exact(net):
    m = Model(net.graph, threads=1)
    need, macs = m.memory.run_bytes, m.plan.macs
    assert macs == 4 * 5 * 6 * 27 + 4 * 5 * 6
    Model(net.graph, threads=1, max_ram=need, max_macs=macs)
    with pytest.raises(LimitError, match=f"small: one run needs {need} bytes of memory, max_ram allows {need - 1}"):
        Model(net.graph, threads=1, max_ram=need - 1)
    with pytest.raises(LimitError, match=f"small: one run needs {macs} MACs, max_macs allows {macs - 1}"):
        Model(net.graph, threads=1, max_macs=macs - 1)
    with pytest.raises(LimitError):
        Model(net.graph, max_ram=0)


def test_more_memory_than_there_is():
    net = Net()
    y = net.add("reduce_max", net.add("expand", net.input(normal(1, 1)), shape=(1 << 58,)), axes=(0,))
    model = net.model(y)
    with pytest.raises(LimitError, match="model: cannot allocate an arena of [0-9]+ bytes"):
        model.run(net.feed)


# ---- closing, looking

def test_closed(net):
    with Model(net.graph) as model:
        model.run(net.feed)
    model.close()
    for use in (model.run, model.profile, model.run_all):
        with pytest.raises(UsageError, match="this model is closed: load it again"):
            use(net.feed)


def test_profile(net, model):
    rows = model.profile(net.feed, repeat=3)
    assert [r.layer for r in rows] == [n.name for n in net.graph.nodes]
    assert [r.kernel for r in rows] == ["conv2d_f32", "binary_f32", "softmax_f32", "argmax_f32"]
    assert rows[0].shape == (1, 4, 5, 6) and rows[0].macs == 4 * 5 * 6 * 27 and rows[0].op == "conv2d"
    assert all(r.ms >= 0 for r in rows) and rows[0].ms > 0
    assert rows[0].gflops == pytest.approx(2 * rows[0].macs / (rows[0].ms / 1e3) / 1e9)
    assert rows[0].replaced(ms=0.0).gflops == 0
    assert len(Model(net.graph, threads=2).profile(repeat=2)) == 4


def test_profile_with_python_steps():
    net = Net()
    x = net.add("relu", net.input(normal(0, 4, 3)))
    y = net.add("neg", net.add("trilu", x))
    assert [r.kernel for r in net.model(y).profile(repeat=3)] == ["unary_f32", "python", "unary_f32"]


@pytest.mark.parametrize("array", [np.zeros((9, 9), np.float32), np.zeros((3, 4), np.float64), [1.0]])
def test_profile_checks_its_inputs(single, array):
    """A smaller array would be read past its end."""
    with pytest.raises(InputError, match="input 'in0': expected "):
        Model(single.graph).profile({"in0": array}, repeat=1)


def test_run_all_gives_every_tensor(net, model):
    kept = reference.run(net.graph, net.feed, keep=True)
    found = model.run_all(net.feed)
    same(found, {n.outputs[0]: kept[n.outputs[0]] for n in net.graph.nodes})
    assert net.graph.outputs == ["conv2d0", "softmax2", "argmax3"]


def test_prints(model):
    assert "conv2d_f32" in str(model.plan) and "lower bound" in str(model.memory)


def test_random_inputs_are_the_same_everywhere():
    net = Net()
    for dtype in ("float32", "int64", "uint8", "int8", "bool"):
        net.input(np.zeros((3,), dtype))
    model = net.model(net.add("neg", "in0"))
    one, two = random_inputs(model), random_inputs(model)
    assert all(np.array_equal(one[n], two[n]) and one[n].dtype == net.feed[n].dtype for n in net.feed)
    # Files carry results for such inputs: other numbers would make every self-test fail.
    assert one["in0"].tolist() == pytest.approx([1.117622, -1.387126, -0.4265716], rel=1e-5)
    assert not np.array_equal(random_inputs(model, 1)["in0"], one["in0"])


def test_contexts_kept_are_few(net, model):
    import threading

    threads = [threading.Thread(target=lambda: [model.run(net.feed) for _ in range(20)]) for _ in range(KEPT_CONTEXTS + 4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert 1 <= len(model._contexts) <= KEPT_CONTEXTS + 3
