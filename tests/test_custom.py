"""Custom layers: numpy and Numba forms, the file, the importer, and what goes wrong."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

import tinynet
from tinynet import custom, format, ops, reference
from tinynet.errors import FormatError, LayerError, UnsupportedOpError, UsageError
from tinynet.graph import Graph, Meta, Node, Tensor
from tinynet.model import Model
from tinynet.ops import Spec

KINDS = ("test.snake", "test.split", "test.fails", "test.rows", "test.scale")


@pytest.fixture(autouse=True)
def clean():
    yield
    for kind in KINDS:
        custom.unregister(kind)
    custom.ONNX_OPERATORS.clear()


def snake(x, alpha=1.0):
    return x + np.sin(alpha * x) ** 2 / np.float32(alpha)


def register_snake(**options):
    return tinynet.register("test.snake", attributes={"alpha": 1.0}, onnx=("com.acme", "Snake"), **options)(snake)


def snake_kernel():
    numba = pytest.importorskip("numba")

    @numba.cfunc(custom.KERNEL_SIGNATURE)
    def kernel(tensors, shapes, attributes):
        count = 1
        for d in range(shapes[0]):
            count *= shapes[1 + d]
        x = numba.carray(tensors[0], count, np.float32)
        y = numba.carray(tensors[1], count, np.float32)
        alpha = np.float32(attributes[0])
        for i in range(count):
            y[i] = x[i] + np.sin(alpha * x[i]) ** 2 / alpha
        return 0

    return kernel


def graph_of(kind, inputs, outputs, **attrs):
    """One node; inputs and outputs are (shape, dtype)."""
    graph = Graph(meta=Meta(name="net"))
    graph.inputs = [graph.add(Tensor(f"x{i}", *spec)).name for i, spec in enumerate(inputs)]
    graph.outputs = [graph.add(Tensor(f"y{i}", *spec)).name for i, spec in enumerate(outputs)]
    graph.nodes = [Node(kind, "layer", graph.inputs, graph.outputs, attrs)]
    return graph


def acme_model(alpha=2.0, middle="Snake", opset=13):
    """Conv -> a foreign operator -> Conv, channels first with all extents different."""
    onnx = pytest.importorskip("onnx")
    helper, rng = onnx.helper, np.random.default_rng(0)
    weights = {"w": rng.standard_normal((4, 3, 3, 3), np.float32), "v": rng.standard_normal((2, 4, 1, 1), np.float32)}
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
             helper.make_node(middle, ["a"], ["b"], name="acme", domain="com.acme", alpha=alpha),
             helper.make_node("Conv", ["b", "v"], ["y"])]
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info("x", 1, [1, 3, 7, 5])],
                              [helper.make_tensor_value_info("y", 1, [1, 2, 7, 5])],
                              [onnx.numpy_helper.from_array(a, n) for n, a in weights.items()])
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.acme", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8), weights


def expected_of(weights, x, alpha=2.0):
    """The same network without the foreign operator, in numpy."""
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    a = np.einsum("nchwij,ocij->nohw", windows, weights["w"])
    b = a + np.sin(alpha * a) ** 2 / alpha
    return np.einsum("nchw,oc->nohw", b, weights["v"][:, :, 0, 0])


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("elementwise", [False, True])
def test_an_onnx_model_with_a_foreign_operator(native, elementwise):
    from tinynet.converters import convert_bytes

    register_snake(kernel=snake_kernel() if native else None, elementwise=elementwise)
    model, weights = acme_model()
    data, report = convert_bytes(model)
    assert bool([n for n in report.notes if "run in numpy" in n]) != native
    x = np.random.default_rng(1).standard_normal((1, 3, 7, 5)).astype(np.float32)
    with tinynet.load(data) as loaded:
        np.testing.assert_allclose(loaded.run(x)["y"], expected_of(weights, x), rtol=1e-4, atol=1e-4)
        assert {s.node.op: s.kernel for s in loaded.plan.steps}["test.snake"] == ("custom" if native else "python")
        shape = next(n.inputs for n in loaded.graph.nodes if n.op == "test.snake")
        # The axes are the source's, unless it does not matter.
        assert loaded.graph.tensors[shape[0]].shape == ((1, 7, 5, 4) if elementwise else (1, 4, 7, 5))


def test_a_file_whose_layer_nobody_registered(tmp_path):
    from tinynet.converters import convert_bytes

    register_snake()
    data, _ = convert_bytes(acme_model()[0])
    custom.unregister("test.snake")
    with pytest.raises(UnsupportedOpError, match=r"net: node 'acme' .*'test.snake' is a custom layer that nobody registered: "
                                                 r"import .*--plugin FILE.py"):
        tinynet.load(data)
    with pytest.raises(UnsupportedOpError, match=r"Snake \(com.acme, 1 node: acme\).*tinynet.register adds one"):
        convert_bytes(acme_model()[0])
    register_snake()
    tinynet.load(data).close()


def test_a_converter_of_its_own():
    from tinynet.converters import convert_bytes, register_onnx
    from tinynet.converters.onnx_builder import Refuse

    register_snake()

    @register_onnx("com.acme", "Twice")
    def twice(b, x, *, alpha=1.0):
        if alpha < 0:
            raise Refuse("alpha is negative")
        return b.emit("test.snake", b.emit("neg", x, part="turn"), alpha=alpha)

    data, _ = convert_bytes(acme_model(middle="Twice")[0])
    with tinynet.load(data) as model:
        kinds = [n.op for n in model.graph.nodes]
        assert kinds.count("test.snake") == 1
    with pytest.raises(UnsupportedOpError, match="alpha is negative"):
        convert_bytes(acme_model(-1.0, "Twice")[0])


@pytest.mark.parametrize("values,match", [({"alpha": "a"}, "expects float"), ({"beta": 1.0}, "no attribute 'beta'")])
def test_attributes_that_do_not_fit_are_refused(values, match):
    from tinynet.converters import convert_bytes

    onnx = pytest.importorskip("onnx")
    register_snake()
    model, _ = acme_model()
    model.graph.node[1].ClearField("attribute")
    model.graph.node[1].attribute.extend(onnx.helper.make_attribute(n, v) for n, v in values.items())
    with pytest.raises(UnsupportedOpError, match=match):
        convert_bytes(model)


def test_an_operator_of_a_foreign_domain_is_never_taken_for_onnx_own():
    """com.acme.Add of constants is not folded as Add."""
    onnx = pytest.importorskip("onnx")
    from tinynet.converters.onnx import import_onnx

    tinynet.register("test.scale", onnx=("com.acme", "Add"))(lambda a, b: 10 * a + b)
    helper = onnx.helper
    nodes = [helper.make_node("Add", ["c", "c"], ["d"], domain="com.acme"), helper.make_node("Mul", ["x", "d"], ["y"])]
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info("x", 1, [2])], [onnx.ValueInfoProto(name="y")],
                              [onnx.numpy_helper.from_array(np.float32([1, 2]), "c")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    found = reference.run(import_onnx(model), {"x": np.ones(2, np.float32)})["y"]
    np.testing.assert_array_equal(found, [11, 22])


def test_several_inputs_and_outputs_of_several_types():
    @tinynet.register("test.split", attributes={"sizes": (1, 2), "flag": False},
                      infer=lambda x, i, sizes, flag: [(sizes[0], *x.shape[1:]), Spec(i.shape, "int64")])
    def split(x, i, sizes, flag):
        return x[:sizes[0]], i.astype(np.int64) + flag

    graph = graph_of("test.split", [((5, 3), "float32"), ((4,), "uint8")], [((2, 3), "float32"), ((4,), "int64")],
                     sizes=(2, 3), flag=True)
    x, i = np.arange(15, dtype=np.float32).reshape(5, 3), np.arange(4, dtype=np.uint8)
    from tinynet.converters.writer import write

    with tinynet.load(write(graph)) as model:
        found = model.run({"x0": x, "x1": i})
    np.testing.assert_array_equal(found["y0"], x[:2])
    np.testing.assert_array_equal(found["y1"], [1, 2, 3, 4])


def rows_kernel():
    """y[i] = sum of row i of x, times attributes[1 + i % n] where attributes[0] = n; status 7 if a row sum is negative."""
    numba = pytest.importorskip("numba")

    @numba.cfunc(custom.KERNEL_SIGNATURE)
    def kernel(tensors, shapes, attributes):
        if shapes[0] != 2 or shapes[8] != 1 or shapes[9] != shapes[1]:
            return 9
        rows, columns, factors = shapes[1], shapes[2], int(attributes[0])
        x = numba.carray(tensors[0], (rows, columns), np.float32)
        y = numba.carray(tensors[1], rows, np.float32)
        for i in range(rows):
            total = np.float32(0)
            for j in range(columns):
                total += x[i, j]
            if total < 0:
                return 7
            y[i] = total * attributes[1 + i % factors] + attributes[1 + factors]
        return 0

    return kernel


@pytest.mark.parametrize("rows,columns,threads", [(3, 5, 1), (64, 33, 2), (1, 0, 1)])
def test_kernels_get_shapes_and_attributes(rows, columns, threads):
    tinynet.register("test.rows", attributes={"factors": (1.0,), "shift": 0}, infer=lambda x, **_: x.shape[:1],
                     kernel=rows_kernel())(lambda x, factors, shift: None)
    graph = graph_of("test.rows", [((rows, columns), "float32")], [((rows,), "float32")], factors=(2.0, 3.0, 0.5), shift=4)
    x = np.random.default_rng(0).random((rows, columns), np.float32)
    with Model(graph, threads=threads) as model:
        found = model.run(x)["y0"]
        np.testing.assert_allclose(found, x.sum(1) * np.resize([2, 3, 0.5], rows) + 4, rtol=1e-5)
        assert model.profile(x)[0].kernel == "custom"


def test_a_status_becomes_an_exception_and_the_model_still_runs():
    tinynet.register("test.rows", attributes={"factors": (1.0,), "shift": 0}, infer=lambda x, **_: x.shape[:1],
                     kernel=rows_kernel())(lambda x, factors, shift: None)
    graph = graph_of("test.rows", [((3, 2), "float32")], [((3,), "float32")])
    graph.tensors["z"] = Tensor("z", (3, 2))
    graph.nodes.insert(0, Node("test.scale", "first", ["x0"], ["z"]))     # a numpy step before: numbers of steps differ
    graph.nodes[1].inputs = ["z"]
    tinynet.register("test.scale")(lambda x: x * np.float32(1))
    with Model(graph) as model:
        with pytest.raises(LayerError, match=r"^net: node 'layer' \(test.rows\): its kernel returned status 7$") as caught:
            model.run(np.full((3, 2), -1, np.float32))
        assert caught.value.exit_code == 6
        with pytest.raises(LayerError, match="status 7"):
            model.profile(np.full((3, 2), -1, np.float32))
        np.testing.assert_array_equal(model.run(np.ones((3, 2), np.float32))["y0"], [2, 2, 2])


def test_kernels_run_without_the_gil():
    """Another thread of Python gets on while a kernel works."""
    numba = pytest.importorskip("numba")

    @numba.cfunc(custom.KERNEL_SIGNATURE)
    def kernel(tensors, shapes, attributes):
        number = numba.carray(tensors[0], 1, np.int64)[0]
        for i in range(500_000_000):
            number = number * 6364136223846793005 + i
        numba.carray(tensors[1], 1, np.int64)[0] = number
        return 0

    tinynet.register("test.rows", kernel=kernel)(lambda x: x)
    ticks, stop = [], threading.Event()

    def tick():
        while not stop.wait(0.001):
            ticks.append(time.perf_counter())

    with Model(graph_of("test.rows", [((1,), "int64")], [((1,), "int64")])) as model:
        thread = threading.Thread(target=tick)
        thread.start()
        begin = time.perf_counter()
        model.run(np.ones(1, np.int64))
        end = time.perf_counter()
        stop.set()
        thread.join()
    middle = [t for t in ticks if begin + 0.25 * (end - begin) < t < begin + 0.75 * (end - begin)]
    assert middle        # with the lock held there could be none


def test_a_function_that_fails_or_lies():
    graph = graph_of("test.fails", [((2,), "float32")], [((2,), "float32")])
    tinynet.register("test.fails")(lambda x: 1 / 0)
    with pytest.raises(LayerError, match=r"net: node 'layer': custom layer 'test.fails': ZeroDivisionError") as caught:
        Model(graph).run(np.ones(2, np.float32))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    lies = ((lambda x: x[:1], r"float32 \[1\]"), (lambda x: x.astype(np.float64), "float64"), (lambda x: (x, x), ","))
    for wrong, found in lies:
        tinynet.register("test.fails")(wrong)
        with pytest.raises(LayerError, match=rf"expected float32 \[2\] by its shape rule, the function gives .*{found}"):
            Model(graph).run(np.ones(2, np.float32))


def test_a_shape_rule_that_refuses():
    def rule(x):
        if len(x.shape) != 2:
            raise ops.ShapeError("expected rank 2")
        return x.shape[5]

    tinynet.register("test.fails", infer=rule)(snake)
    for shape, match in (((2,), "expected rank 2"), ((2, 2), "IndexError")):
        with pytest.raises(FormatError, match=f"net: node 'layer' .*{match}"):
            Model(graph_of("test.fails", [(shape, "float32")], [(shape, "float32")]))


@pytest.mark.parametrize("arguments,match", [
    ({"kind": "snake"}, "a name such as 'acme.snake'"), ({"kind": "a..b"}, "a name"), ({"kind": 3}, "a name"),
    ({"attributes": {"a": None}}, "attribute 'a' = None"), ({"attributes": {"infer": 1}}, "a name that no method has"),
    ({"attributes": {"a": ()}}, r"attribute 'a' = \(\)"), ({"kernel": len}, "the kernel must be"),
    ({"kernel": -1}, "the kernel must be"), ({"kernel": 4096, "attributes": {"a": "text"}}, "no attribute may be a text")])
def test_registrations_that_do_not_fit(arguments, match):
    with pytest.raises(UsageError, match=match):
        tinynet.register(**{"kind": "test.fails", **arguments})(snake)


def test_a_kernel_of_another_signature():
    numba = pytest.importorskip("numba")
    with pytest.raises(UsageError, match="must have the signature"):
        tinynet.register("test.fails", kernel=numba.cfunc("float64(float64)")(lambda x: x))(snake)


def test_every_input_of_a_kernel_counts():
    numba = pytest.importorskip("numba")
    kernel = numba.cfunc(custom.KERNEL_SIGNATURE)(lambda tensors, shapes, attributes: 0)
    tinynet.register("test.fails", infer=lambda *x: x[0], kernel=kernel)(snake)
    many = [((2,), "float32")] * custom.MOST_TENSORS
    with pytest.raises(tinynet.TinynetError, match="at most 7 tensors"):
        Model(graph_of("test.fails", many, many[:1]))
    Model(graph_of("test.fails", many[1:], many[:1])).run([np.ones(2, np.float32)] * 6)


def test_damaged_names_of_custom_layers(tmp_path):
    """A file cannot reach anything but what was registered."""
    from tinynet.converters.writer import write

    data = write(graph_of("os.system", [((2,), "float32")], [((2,), "float32")]))
    assert format.read(data, "x").nodes[0].op == "os.system"
    with pytest.raises(UnsupportedOpError, match="nobody registered"):
        tinynet.load(data)


def test_plugins_on_the_command_line(tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    from tinynet.__main__ import main

    source, target, plugin = (tmp_path / name for name in ("net.onnx", "net.tnb", "plugin.py"))
    onnx.save(acme_model()[0], source)
    plugin.write_text("import numpy as np\nimport tinynet\n\n\n"
                      "@tinynet.register('test.snake', attributes={'alpha': 1.0}, onnx=('com.acme', 'Snake'))\n"
                      "def snake(x, alpha):\n    return x + np.sin(alpha * x) ** 2 / np.float32(alpha)\n")
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0\n")

    def run(*words):
        code = main([str(word) for word in words])
        return code, capsys.readouterr().err

    assert run("convert", source, "-o", target)[0] == 4
    assert run("convert", source, "-o", target, "--plugin", plugin)[0] == 0
    custom.unregister("test.snake")
    code, err = run("bench", target, "--runs", 1)
    assert code == 4 and "--plugin FILE.py" in err
    for words in (("bench", target, "--runs", 1), ("plan", target), ("run", target, tmp_path / "x.npy")):
        np.save(tmp_path / "x.npy", np.zeros((1, 3, 7, 5), np.float32))
        custom.unregister("test.snake")
        assert run(*words, "--plugin", plugin)[0] == 0
    code, err = run("plan", target, "--plugin", broken)
    assert code == 2 and "failed: ZeroDivisionError" in err and err.count("\n") == 1
    assert run("plan", target, "--plugin", tmp_path / "none.py")[0] == 3
