"""Show what tinynet finds on this machine: processor, kernels, threads, versions, and whether a small network runs.

With MODEL.tnb also whether that model gives here the outputs that the converter recorded in the file: exit code 1 if not.
"""

from __future__ import annotations

import argparse
import os
import platform
from typing import Any

from tinynet.cli import output
from tinynet.errors import TinynetError, UsageError

PACKAGES = ("numpy", "onnx", "flatbuffers", "pillow", "numba", "onnxruntime")
# What kernels of today and of later could use, as Linux spells it on x86-64 and aarch64.
FEATURES = ("sse2 sse4_1 avx f16c fma avx2 avx512f avx512bw avx512vl avx512dq avx512_vnni avx512_bf16 avx512_fp16 avx_vnni "
            "amx_tile amx_int8 amx_bf16 asimd fphp asimdhp asimddp i8mm bf16 sve sve2").split()
COMPARISON_FAILED = 1


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", metavar="MODEL.tnb", help="also run the self-test that this file carries")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    report = examine()
    broken = report["kernels"]["error"] or report["threads"]["error"]
    if args.model is not None and not broken:
        report["model_check"] = model_check(args.model)
    if args.json:
        output.print_json("doctor", **report)
    else:
        _print(report)
    if broken:
        return UsageError.exit_code
    if not report["self_check"]["ok"]:
        return TinynetError.exit_code
    return COMPARISON_FAILED if report["model_check"] and report["model_check"]["ok"] is False else 0


def examine() -> dict[str, Any]:
    """The fields of the JSON object, without a model; README.md in this folder documents them."""
    return {
        "platform": {"system": platform.platform(), "machine": platform.machine(),
                     "python": platform.python_version(), "cpu": cpu_model(), "features": cpu_features()},
        "kernels": kernels_report(),
        "threads": threads_report(),
        "versions": versions(),
        "self_check": self_check(),
        "model_check": None,
    }


def cpu_model(path: str = "/proc/cpuinfo") -> str:
    """The processor's name as Linux gives it, else what Python knows."""
    return _cpuinfo(path, "model name", "Model", "Hardware", "cpu model") or platform.processor() or "unknown"


def cpu_features(path: str = "/proc/cpuinfo") -> list[str]:
    """Those of FEATURES that Linux lists; empty where it lists none."""
    flags = _cpuinfo(path, "flags", "Features").split()
    return [name for name in FEATURES if name in flags]


def _cpuinfo(path: str, *keys: str) -> str:
    """Value of the first of `keys` that the file has with a value, else an empty string."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            facts = [line.partition(":") for line in file]
    except OSError:
        return ""
    found = (value.strip() for wanted in keys for key, _, value in facts if key.strip() == wanted)
    return next(filter(None, found), "")


def kernels_report() -> dict[str, Any]:
    """Levels of instructions; `error` where the extension or the forced level does not work."""
    forced = os.environ.get("TINYNET_ISA", "")
    report: dict[str, Any] = {"forced": forced, "isa": None, "available": [], "features": [], "error": None}
    try:
        from tinynet import kernels

        features = kernels.cpu_features()
        report["features"] = sorted(name for name, present in features.items() if present)
        report["available"] = list(kernels.available())
        report["isa"] = kernels.isa()
    except Exception as error:
        report["error"] = str(error)
    return report


def threads_report() -> dict[str, Any]:
    """CPUs online, CPUs that this process may use, the container's quota in CPUs (None: no quota)."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    report: dict[str, Any] = {"online": os.cpu_count(), "affinity": affinity, "cgroup_quota": cgroup_quota(),
                              "variable": os.environ.get("TINYNET_NUM_THREADS", ""), "default": None, "error": None}
    try:
        from tinynet.model import default_threads

        report["default"] = default_threads()
    except Exception as error:
        report["error"] = str(error)
    return report


def cgroup_quota(root: str = "/sys/fs/cgroup") -> float | None:
    """CPUs' worth of time that the container grants (cgroup v2, then v1), None without a limit."""
    try:
        quota, period = _words(f"{root}/cpu.max")[:2]
    except (OSError, ValueError):
        try:
            quota, period = _words(f"{root}/cpu/cpu.cfs_quota_us")[0], _words(f"{root}/cpu/cpu.cfs_period_us")[0]
        except (OSError, IndexError):
            return None
    try:
        return int(quota) / int(period) if int(quota) > 0 else None
    except (ValueError, ZeroDivisionError):
        return None


def _words(path: str) -> list[str]:
    with open(path, encoding="ascii") as file:
        return file.read().split()


def versions() -> dict[str, str | None]:
    from importlib import metadata

    from tinynet.cli import version

    found: dict[str, str | None] = {"tinynet": version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def self_check() -> dict[str, Any]:
    """Run a small convolution through the engine and through its numpy reference: {"ok", "text"}."""
    try:
        return _self_check()
    except ImportError as error:
        return {"ok": False, "text": f"tinynet is not installed completely: {error}"}
    except Exception as error:
        return {"ok": False, "text": f"{type(error).__name__}: {error}"}


def _self_check() -> dict[str, Any]:
    import numpy as np

    from tinynet import reference
    from tinynet.model import Model

    graph = tiny_graph()
    feed = {"x": np.random.default_rng(0).standard_normal((1, 9, 9, 8), dtype=np.float32)}
    expected = reference.run(graph, feed)["y"]
    with Model(graph) as model:
        found = model.run(feed)["y"]
    error = float(np.abs(found - expected).max() / np.ptp(expected))
    ok = error <= 1e-5
    return {"ok": ok, "text": f"a small convolution {'agrees with' if ok else 'DIFFERS from'} the numpy reference "
                              f"(relative difference {error:.1e})"}


def model_check(path: str) -> dict[str, Any]:
    """Run the self-test of a .tnb file: {"model", "ok", "relative_difference", "tolerance", "text"}.

    `ok` is None where the file carries no self-test.  Raises UsageError for an .onnx file, and all that `tinynet.load` does.
    """
    if path.endswith(".onnx"):
        # Its outputs would be recorded and compared on the same machine.
        raise UsageError(f"{path}: expected a .tnb file, which holds outputs of the machine that made it: "
                         "make it with tinynet convert")
    import tinynet
    from tinynet import selftest

    with tinynet.load(path) as model:
        difference = selftest.check(model)
    found: dict[str, Any] = {"model": path, "ok": None, "relative_difference": difference, "tolerance": selftest.TOLERANCE}
    if difference is None:
        return {**found, "text": "the file carries no self-test: convert the model again to have one"}
    ok = difference <= selftest.TOLERANCE
    return {**found, "ok": ok, "text": f"the outputs {'agree with' if ok else 'DIFFER from'} those that the converter "
                                       f"recorded (relative difference {difference:.1e}, tolerance {selftest.TOLERANCE:g})"}


def tiny_graph() -> Any:
    """x [1,9,9,8] -> 3x3 convolution to 24 channels, relu -> y [1,9,9,24]; weights as a converter packs them."""
    import numpy as np

    from tinynet import layouts
    from tinynet.graph import Graph, Node, Tensor

    rng = np.random.default_rng(1)
    weights = rng.standard_normal((24, 3, 3, 8), dtype=np.float32)
    layout = layouts.ohwi_panels(1)
    graph = Graph(inputs=["x"], outputs=["y"])
    graph.add(Tensor("x", (1, 9, 9, 8)))
    graph.add(Tensor("w", weights.shape, data=layouts.pack(weights, layout), layout=layout))
    graph.add(Tensor("b", (24,), data=rng.standard_normal(24, dtype=np.float32)))
    graph.add(Tensor("y", (1, 9, 9, 24)))
    graph.nodes.append(Node("conv2d", "check", ["x", "w", "b"], ["y"], {"pads": (1, 1, 1, 1), "activation": "relu"}))
    return graph


def _print(report: dict[str, Any]) -> None:
    where, kernels, threads = report["platform"], report["kernels"], report["threads"]
    quota = threads["cgroup_quota"]
    facts = [
        ("platform", f"{where['system']}, Python {where['python']}"),
        ("processor", f"{where['cpu']} ({where['machine']})"),
        ("features", " ".join(where["features"]) or "unknown"),
        ("levels", " ".join(kernels["available"]) or "none"),
        ("in use", (kernels["isa"] or "none") + (" (forced by TINYNET_ISA)" if kernels["forced"] else "")),
        ("threads", f"{threads['default'] or '?'} by default ({threads['online']} CPUs online, "
                    f"{threads['affinity'] or '?'} allowed, quota {f'{quota:g}' if quota else 'none'}, "
                    f"TINYNET_NUM_THREADS {threads['variable'] or 'not set'})"),
        ("packages", ", ".join(f"{name} {found or 'not installed'}" for name, found in report["versions"].items())),
    ]
    for key, value in facts:
        print(f"{output.paint(f'{key:<10}', 'bold')} {output.clean(value)}")
    for key in ("kernels", "threads"):
        if report[key]["error"]:
            print(f"{output.paint(f'{key:<10}', 'red')} {output.clean(report[key]['error'])}")
    for key, name in (("self_check", "self check"), ("model_check", "model")):
        if report[key]:
            print(f"{output.paint(f'{name:<10}', 'bold')} {_verdict(report[key]['ok'])}: {output.clean(report[key]['text'])}")


def _verdict(ok: bool | None) -> str:
    if ok is None:
        return output.paint("not tested", "yellow")
    return output.paint("ok", "green") if ok else output.paint("FAILED", "red")
