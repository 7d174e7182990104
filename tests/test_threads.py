"""Runs on several threads, in several threads, after fork: always the bits that one thread gives."""

from __future__ import annotations

import multiprocessing
import os
import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from nets import Net, dense_of, normal

from tinynet import kernels
from tinynet.kernels import engine
from tinynet.model import Model


def network():
    """One of every kernel, odd extents everywhere, small steps between large ones, scratch and views."""
    net = Net()
    x = net.input(normal(1, 2, 13, 11, 5))

    def conv(x, outs, kernel=3, **attrs):
        c = net.shape(x)[-1]
        return net.add("conv2d", x, net.constant(normal(2, outs, kernel, kernel, c) * np.float32(0.2)),
                       net.constant(normal(3, outs)), pads=(kernel // 2,) * 4, **attrs)

    a = conv(x, 37, activation="relu")
    w = net.constant(normal(4, 3, 3, 37))
    b = net.add("depthwise_conv2d", a, w, net.constant(normal(5, 37)), pads=(1, 1, 1, 1), activation="hard_swish")
    c = net.add("concat", a, conv(b, 19, 1), net.add("max_pool2d", b, kernel=(3, 3), pads=(1, 1, 1, 1)), axis=3)
    d = net.add("lrn", net.add("channel_shuffle", conv(c, 900, 1), groups=3), size=5, alpha=0.1)
    d = conv(d, 41, 1, activation="silu")
    e = net.add("add", net.add("resize", net.add("average_pool2d", d, kernel=(2, 2), strides=(2, 2)), size=(13, 11),
                               scales=(13 / 6, 11 / 5), mode="linear"), d)
    f = net.add("conv_transpose2d", e, net.constant(normal(6, 2, 2, 9, 41) * np.float32(0.2)), net.constant(normal(7, 9)),
                strides=(2, 2))
    g = net.add("batch_norm", net.add("pad", net.add("transpose", f, perm=(0, 3, 1, 2)), begin=(0, 0, 1, 2), end=(0, 1, 0, 1)),
                net.constant(normal(8, 25)), net.constant(normal(9, 25)))
    m = net.add("matmul", g, net.constant(normal(10, 25, 33)))
    pooled = net.add("reduce_mean", e, axes=(1, 2), keepdims=False)
    dense = net.add("dense", pooled, net.constant(normal(11, 10, 41)), net.constant(normal(12, 10)))
    p = net.add("softmax", dense)
    net.graph.outputs = [p, net.add("argmax", p, axis=1), net.add("tanh", m), net.add("softmax", m, axis=1)]
    return net


@pytest.fixture(scope="module")
def net():
    return network()


def feeds(net, count):
    return [{n: normal(100 + i, *a.shape) for n, a in net.feed.items()} for i in range(count)]


def bits(results):
    return {n: a.tobytes() for n, a in results.items()}


@pytest.mark.parametrize("level", kernels.available(integers=False))
def test_same_bits_whatever_the_number_of_threads(net, level):
    with kernels.use_isa(level):
        models = [net.model(threads=t) for t in (1, 2, 3, 7)]
        unsplit = net.model(threads=3, split=False)
    assert not models[0].plan.python_steps
    (feed,) = feeds(net, 1)
    expected = bits(models[0].run(feed))
    for _ in range(3):
        for model in [*models, unsplit]:
            assert bits(model.run(feed)) == expected, model.threads


def run_in_threads(work):
    errors = []

    def guarded(item):
        try:
            item()
        except BaseException as error:      # an assertion in a thread must fail the test
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(item,)) for item in work]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
        assert not t.is_alive(), "a run hangs"
    if errors:
        raise errors[0]


@pytest.mark.parametrize("threads", [1, 2])
def test_one_model_in_two_python_threads(net, threads):
    model = net.model(threads=threads)
    inputs = feeds(net, 4)
    expected = [bits(model.run(f)) for f in inputs]

    def runs(which):
        for i in range(60):
            at = (2 * i + which) % 4
            assert bits(model.run(inputs[at])) == expected[at]

    run_in_threads([lambda: runs(0), lambda: runs(1), lambda: runs(2)])


def test_models_of_different_widths_take_turns(net):
    """A worker that a job does not want must not disturb it."""
    models = [net.model(threads=t) for t in (3, 1, 2)]
    (feed,) = feeds(net, 1)
    expected = bits(models[1].run(feed))

    def runs(model):
        for _ in range(40):
            assert bits(model.run(feed)) == expected

    run_in_threads([lambda m=m: runs(m) for m in models])
    for i in range(60):
        assert bits(models[i % 3].run(feed)) == expected


def test_out_arrays_of_two_threads(net):
    model = net.model(threads=2)
    inputs = feeds(net, 2)
    expected = [bits(model.run(f)) for f in inputs]

    def runs(i):
        out = {o.name: np.empty(o.shape, o.dtype) for o in model.outputs}
        for _ in range(30):
            model.run(inputs[i], out=out)
            assert bits(out) == expected[i]

    run_in_threads([lambda: runs(0), lambda: runs(1)])


def _child(model, feed, pipe):
    pipe.send([bits(model.run(feed)) for _ in range(3)])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_after_fork(net, threads):
    """The parent's workers do not exist in the child, which starts its own."""
    model = net.model(threads=threads)
    (feed,) = feeds(net, 1)
    expected = bits(model.run(feed))
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(False)
    child = context.Process(target=_child, args=(model, feed, send))
    child.start()
    found = receive.recv() if receive.poll(60) else None
    child.join(10)
    if child.is_alive():
        child.kill()
    assert found == [expected] * 3
    assert bits(model.run(feed)) == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_fork_while_another_thread_runs(net):
    model = net.model(threads=2)
    (feed,) = feeds(net, 1)
    expected = bits(model.run(feed))
    stop = threading.Event()
    runner = threading.Thread(target=lambda: [model.run(feed) for _ in iter(stop.is_set, True)])
    runner.start()
    try:
        context = multiprocessing.get_context("fork")
        for _ in range(5):
            receive, send = context.Pipe(False)
            child = context.Process(target=_child, args=(model, feed, send))
            child.start()
            found = receive.recv() if receive.poll(60) else None
            child.join(10)
            if child.is_alive():
                child.kill()
            assert found == [expected] * 3
    finally:
        stop.set()
        runner.join()


def test_a_run_lets_python_go_on():
    """No GIL while the program runs: another thread gets on with its work."""
    net = Net()
    x = net.input(normal(1, 400, 400))
    for _ in range(4):
        x = net.add("matmul", x, net.constant(normal(2, 400, 400) * np.float32(0.05)))
    with kernels.use_isa("scalar"):
        model = net.model(x)
    ticks = []
    stop = threading.Event()
    counter = threading.Thread(target=lambda: [ticks.append(0) or stop.wait(0.001) for _ in iter(stop.is_set, True)])
    counter.start()
    before = len(ticks)
    model.run(net.feed)
    during = len(ticks) - before
    stop.set()
    counter.join()
    assert during >= 3


several_cpus = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2 if hasattr(os, "sched_getaffinity") else True,
                                  reason="needs two CPUs")


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_every_thread_takes_part_in_every_region_that_waits_for_all(threads):
    for _ in range(20):
        assert engine.empty_regions(threads, 50)[1] == (50 if threads > 1 else 0)


def test_idle_workers_sleep(net):
    model = net.model(threads=3)
    (feed,) = feeds(net, 1)
    model.run(feed)
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.05


def switches():
    """How often threads other than the main one went to sleep."""
    total = 0
    for task in Path("/proc/self/task").iterdir():
        if int(task.name) != os.getpid():
            total += int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", (task / "status").read_text(), re.M)[1])
    return total


@several_cpus
@pytest.mark.parametrize("splits, pause, woken", [(60, 0.003, False), (60, 0, True), (2000, 0.003, True)])
def test_workers_are_woken_for_large_networks_or_runs_in_a_row(splits, pause, woken):
    model = Model(dense_of(splits).graph, threads=2)
    assert model.plan.parallel
    x = model.graph.tensors[model.graph.inputs[0]]
    feed = normal(1, *x.shape)
    engine.empty_regions(2, 1)
    time.sleep(0.02)
    before = switches()
    for _ in range(20):
        model.run(feed)
        time.sleep(pause) if pause else None
    time.sleep(0.02)
    assert (switches() > before) == woken
