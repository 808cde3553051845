"""A plain loop against batches and against what `optimize` finds: equal work only."""

import json
import time
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from tests import candidates
from tests.candidates import SWITCH, Awake, Slow, Switch, Waiting, ticking
from tests.modules import FEATURES, Plain
from unfussy import batched, easy, inference, unfuss
from unfussy._optimizing import optimize, register_candidate, registry
from unfussy._optimizing.saved import fingerprint_of
from unfussy._optimizing.target import find_target
from unfussy.bench import (
    BenchmarkFamily,
    check_results,
    child,
    contestants,
    families,
    measuring,
    register_family,
    run_comprehensive_benchmark,
    save_results,
    table_of,
)
from unfussy.bench.contestants import Contestant
from unfussy.bench.memory import here
from unfussy.bench.results import variants_of
from unfussy.bench.rounds import Times, run_rounds
from unfussy.bench.workload import make_workload
from unfussy.errors import InputTypeError, InputValueError
from unfussy.models.vposer import VPoser

__all__ = ["ticking"]

X = torch.linspace(-1, 1, 4 * FEATURES).reshape(4, FEATURES)
SMALL = {"channels": (8, 8, 8, 8), "layers": (1, 1, 1, 1), "class_num": None}
CONFIGS = {
    "DeepGaitV2": SMALL,
    "GaitBase": SMALL,
    "SkeletonGaitPP": {**SMALL, "squeeze": 2},
    "XGait": {**SMALL, "reduction": 2},
    "VPoser": {"num_neurons": 16},
    "VPoserV1": {"num_neurons": 16},
    "AdaFace": {"architecture": "ir_18"},
}


@pytest.fixture(autouse=True)
def _apart(monkeypatch):
    """Go by the clock of the candidates, and forget what a test registers."""
    monkeypatch.setattr(measuring, "perf_counter", candidates.CLOCK)
    monkeypatch.setattr(registry, "_REGISTERED", {})
    monkeypatch.setattr(families, "_NAMES", dict(families._NAMES))


@pytest.fixture
def tries(monkeypatch):
    """Have the tuner try these candidates, and no others."""

    def tries(*kinds):
        for kind in kinds:
            register_candidate(kind)
        tuner = partial(optimize, candidates=kinds)
        monkeypatch.setattr(contestants, "optimize", tuner)

    return tries


def bench(given, example=X, **settings):
    settings = {"rounds": 3, "memory": "none", **settings}
    return run_comprehensive_benchmark(given, example=example, **settings)


class Encoder(Slow):
    """Slow, in all the ways that a method can be decorated."""

    @batched
    @inference
    def embed(self, x):
        return self(x)

    @easy
    def encode(self, x):
        assert x.shape[1:] == (FEATURES,)
        return {"z": self(x), "parts": [x, 2 * x]}

    @easy
    def embed_list(self, poses):
        return self(torch.stack(poses))

    def plain(self, x, y):
        return self(x) + y


class Centred(Plain):
    """What an item gets depends on its neighbours."""

    def forward(self, x):
        return self.net(x - x.mean(0))


class Single(Plain):
    """It takes one item at a time, and no more."""

    def forward(self, x):
        assert len(x) == 1, "one at a time\nplease"
        return self.net(x)


class Buffer(Plain):
    """Needs 32 MB for each item, for a moment."""

    def forward(self, x):
        return self.net(x) + torch.ones(len(x), 2**23).mean()


# --- what is measured ----------------------------------------------------------------


def test_the_figures_are_those_of_the_time_that_each_variant_takes(tries):
    tries(Awake)

    results = bench(Slow(pause=0.0019))

    found = results["variants"]
    assert found["standard"]["seconds"]["value"] == pytest.approx(4 * 0.002)
    assert found["batched"]["speedup"]["value"] == pytest.approx(4)
    assert found["batched"]["throughput_increase_percent"] == pytest.approx(300)
    assert found["batched"]["items_per_second"] == pytest.approx(4 / 0.002)
    assert found["optimized"]["speedup"]["value"] == pytest.approx(80)
    assert found["optimized"]["seconds_per_item"] == pytest.approx(1e-4 / 4)
    assert found["optimized"]["changes"] == ["awake"]


def test_improvements_are_those_of_the_optimised_variant(tries):
    tries(Awake)

    results = bench(Slow(pause=0.0019))

    assert results["improvements"] == {
        "variant": "optimized",
        "speedup_factor": pytest.approx(80),
        "throughput_increase_percent": pytest.approx(7900),
        "memory_reduction_percent": None,
        "numerical_consistency": results["variants"]["optimized"]["deviation"],
    }


def test_improvements_are_those_of_batches_where_nothing_is_to_gain(tries):
    tries()

    results = bench(Slow())

    assert results["improvements"]["variant"] == "batched"
    assert results["improvements"]["speedup_factor"] == pytest.approx(4)
    reason = results["variants"]["optimized"]["left_out"]
    assert reason == "optimize() at the level 'balanced' found nothing to gain"


def test_results_follow_the_schema_also_after_a_file(tries):
    tries(Awake)

    results = bench(Slow(), memory="PeakMeter")

    check_results(json.loads(json.dumps(results, allow_nan=False)))


def test_results_that_lack_something_do_not_follow_the_schema(tries):
    tries()
    results = bench(Slow())
    del results["variants"]["batched"]["speedup"]

    with pytest.raises(InputValueError, match="'batched'.*lacks 'speedup'"):
        check_results(results)


@pytest.mark.parametrize(
    ("method", "example"),
    [
        ("embed", X),
        ("encode", X.double().numpy()),
        ("embed_list", list(X)),
        ("plain", (X, X)),
        ("forward", X),
    ],
)
def test_every_kind_of_method_does_the_same_work_in_all_variants(
    tries, method, example
):
    tries(Awake)
    model = Encoder(pause=0.0019)

    results = bench(getattr(model, method), example)

    found = results["variants"]
    assert results["num_sequences"] == 4
    assert [found[name]["left_out"] for name in found] == [None] * 3
    assert found["batched"]["deviation"] < 1e-6
    assert found["batched"]["speedup"]["value"] == pytest.approx(4)
    assert found["optimized"]["speedup"]["value"] == pytest.approx(80)


def test_a_proxy_is_measured_as_the_module_behind_it(tries):
    tries(Awake)

    results = bench(unfuss(Slow(pause=0.0019)))

    assert results["benchmark"] == "Slow()"
    assert results["improvements"]["speedup_factor"] == pytest.approx(80)


def test_doubles_stay_doubles(tries):
    tries()

    results = bench(Slow().double(), X.double())

    assert results["variants"]["batched"]["deviation"] < 1e-14


# --- equal work only -----------------------------------------------------------------


def test_a_variant_with_other_results_is_left_out(tries):
    tries()

    results = bench(Centred())

    reason = results["variants"]["batched"]["left_out"]
    assert "its results are not those of the plain loop, deviation" in reason
    assert results["improvements"]["variant"] == "standard"
    assert results["improvements"]["speedup_factor"] == 1


def test_a_variant_that_fails_is_left_out_with_the_first_line_of_its_error(tries):
    tries()

    found = bench(Single())["variants"]

    failed = "it failed with AssertionError: one at a time"
    assert found["batched"]["left_out"] == failed
    assert found["optimized"]["left_out"] == failed


def test_each_round_has_every_variant_once():
    done = []
    ways = [Contestant(name, partial(done.append, name)) for name in "abc"]

    times = run_rounds(ways, rounds=7, seconds=1, clock=time.perf_counter)

    assert times.rounds == 7
    rounds = [done[i : i + 3] for i in range(0, 21, 3)]
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert len({tuple(each) for each in rounds}) > 1


def test_rounds_end_with_the_time_but_three_are_made():
    clock = candidates.Clock()
    ways = [Contestant("a", lambda: clock.sleep(1))]

    assert run_rounds(ways, rounds=None, seconds=0, clock=clock).rounds == 3
    assert run_rounds(ways, rounds=None, seconds=7, clock=clock).rounds == 7


def test_a_disturbance_of_whole_rounds_changes_no_ratio():
    times = Times(3, {"standard": [2, 20, 2], "batched": [1, 10, 1]})

    assert times.speedup("batched", "standard").value == pytest.approx(2)
    assert times.speedup("batched", "standard").high == pytest.approx(2)


def test_settings_of_the_process_are_in_force_for_the_optimised_variant_alone(tries):
    tries(Switch)

    found = bench(Waiting())["variants"]

    assert found["standard"]["seconds"]["value"] == pytest.approx(4 * 2e-3)
    assert found["batched"]["seconds"]["value"] == pytest.approx(2e-3)
    assert found["optimized"]["seconds"]["value"] == pytest.approx(1e-4)
    assert not SWITCH["on"]


def test_the_module_is_left_as_it_was(tries):
    tries(Awake, Switch)
    model = Encoder().train()
    model.net.eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    names = set(vars(model))

    bench(model.embed)

    assert model.training
    assert not model.net.training
    assert set(vars(model)) == names
    assert model.pause == 0.002
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.is_grad_enabled()


# --- memory --------------------------------------------------------------------------


def test_memory_is_that_of_the_work():
    ones = Contestant("a", lambda: torch.ones(2**25).sum())

    peak = here(ones, torch.device("cpu"))

    assert 2**27 * 0.9 < peak < 2**27 * 1.3


def test_each_variant_has_the_peak_of_a_process_of_its_own(tries):
    tries()

    results = bench(Buffer(), memory="child process")

    found = results["variants"]
    assert results["memory_method"] == "child process"
    assert 2**25 * 0.9 < found["standard"]["peak_memory"] < 2**25 * 1.9
    assert 2**27 * 0.9 < found["batched"]["peak_memory"] < 2**27 * 1.5
    assert found["batched"]["memory_reduction_percent"] < -100


def test_a_process_of_its_own_applies_what_was_chosen(tmp_path):
    work = make_workload(Encoder().encode, X)
    fingerprint, _ = fingerprint_of(find_target(work.method, X)[0])
    halves = {"name": "batch_size", "parameters": {"size": 2}}
    choice = {"version": 1, "fingerprint": fingerprint, "candidates": [halves]}
    (tmp_path / "choice.json").write_text(json.dumps(choice))
    torch.save((work, 4), tmp_path / "work.pt")

    peak = child.measure("optimized", tmp_path, "cpu")

    assert peak >= 0


def test_what_cannot_go_to_another_process_is_measured_in_this_one(tries):
    tries()

    class Local(Plain):
        pass

    results = bench(Local(), memory="child process")

    assert results["memory_method"] == "PeakMeter"
    assert "cannot be taken to another process" in results["notes"][0]
    assert results["variants"]["standard"]["peak_memory"] is not None


def test_a_reduction_is_of_the_memory_of_the_plain_loop():
    times = Times(1, {"standard": [2.0], "batched": [1.0]})

    found = variants_of(
        times,
        1,
        deviations={"standard": 0.0, "batched": 0.0},
        peaks={"standard": 400, "batched": 300},
        reasons={"optimized": "no"},
        changes={},
    )

    assert found["batched"]["memory_reduction_percent"] == pytest.approx(25)
    assert found["standard"]["memory_reduction_percent"] == 0
    assert found["optimized"]["memory_reduction_percent"] is None


# --- families ------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
def test_each_family_is_measured_by_the_names_of_its_models(tries, name):
    tries()
    family, _ = families.find_family(name)

    results = run_comprehensive_benchmark(
        name, 2, config=CONFIGS[name], rounds=1, memory="none", device="cpu"
    )

    check_results(results)
    assert results["model_type"] == name
    assert results["num_sequences"] == 2
    assert results["items"] == family.items
    assert results["weights"] == "random weights from seed 0"
    assert results["variants"]["batched"]["deviation"] < 1e-5


def test_inputs_are_the_same_for_the_same_seed_and_others_for_another():
    draw = families.find_family("gait")[0].draw
    model = type("Model", (), {"kinds": ("silhouettes",)})

    first, again, other = (draw(model, 3, seed) for seed in (0, 0, 1))

    assert all(map(np.array_equal, first, again))
    assert not all(map(np.array_equal, first, other))


def test_a_checkpoint_is_what_is_measured(tries, tmp_path):
    tries()
    path = VPoser.from_config(num_neurons=16).save_pretrained(tmp_path)

    results = run_comprehensive_benchmark(
        "vposer", 2, checkpoint=path, rounds=1, memory="none"
    )

    assert results["weights"] == f"weights of {path}"


class Doubler(nn.Linear):
    """The model of a family of the user's own."""

    @classmethod
    def from_config(cls, width=FEATURES, *, seed=0):
        torch.manual_seed(seed)
        return cls(width, 2)

    @easy
    def double(self, x):
        return 2 * self(x)


def doubled(model, row):
    return 2 * model(row[None])


MINE = BenchmarkFamily(
    name="mine",
    models={"Doubler": "tests.unit.test_bench:Doubler"},
    items="rows",
    count=5,
    method="double",
    draw=lambda model, n, seed: torch.ones(n, model.in_features),
    standard=doubled,
)


def test_a_family_of_the_users_own_can_be_measured(tries):
    tries()
    register_family(MINE)

    results = run_comprehensive_benchmark("mine", rounds=1, memory="none", device="cpu")

    assert results["benchmark"] == "Doubler.double()"
    assert (results["num_sequences"], results["items"]) == (5, "rows")


def test_a_name_that_is_taken_is_refused():
    register_family(MINE)
    other = BenchmarkFamily("gait", MINE.models, "rows", 5, "double", None, doubled)
    thief = BenchmarkFamily("thief", MINE.models, "rows", 5, "double", None, doubled)

    register_family(MINE)
    with pytest.raises(InputValueError, match="'Doubler' is known already, of 'mine'"):
        register_family(thief)
    with pytest.raises(InputValueError, match="'Doubler' is known already, of 'mine'"):
        register_family(other)


# --- what is refused -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nobody",), "no family or model 'nobody'; there are gait, DeepGaitV2"),
        ((Slow(),), "takes its inputs too: example="),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, message):
    with pytest.raises(InputValueError, match=message):
        run_comprehensive_benchmark(*arguments)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"level": "mad"}, "level is one of 'conservative', .*, got 'mad'"),
        ({"memory": "all"}, "memory is one of 'child process', .*, got 'all'"),
        ({"rounds": 0}, "rounds is a whole number from 1, got 0"),
        ({"seconds": 0}, "seconds are above 0, got 0"),
        ({"num_sequences": 0}, "num_sequences is a whole number from 1, got 0"),
        ({"example": 3}, "whose first dimension, .*; got nothing to cut"),
        ({"example": (X, X[1:])}, "as many in each; got .3, 4."),
        ({"example": []}, "as many in each; got"),
    ],
)
def test_settings_without_a_meaning_are_refused(settings, message):
    with pytest.raises(InputValueError, match=message):
        bench(Slow(), **settings)


def test_a_family_refuses_a_model_that_is_not_its_own():
    with pytest.raises(InputValueError, match="gait has no model 'VPoser'; it has D"):
        run_comprehensive_benchmark("gait", model="VPoser")


def test_a_setting_that_a_model_does_not_take_is_refused():
    with pytest.raises(InputValueError, match="VPoser cannot be built with 'no': "):
        run_comprehensive_benchmark("vposer", config={"no": 1})


def test_what_is_no_module_is_refused():
    with pytest.raises(InputTypeError, match="a module or a method of one, got <built"):
        bench(len)


# --- files and tables ----------------------------------------------------------------


def test_results_are_saved_as_json_and_as_a_page(tries, tmp_path):
    tries(Awake)

    results = bench(Encoder().embed, save_results=tmp_path / "new")

    assert json.loads((tmp_path / "new/Encoder-embed-cpu.json").read_text()) == results
    page = (tmp_path / "new/Encoder-embed-cpu.html").read_text()
    assert "Benchmark: Encoder.embed()" in page
    assert "Optimized with awake." in page
    assert "random order" in page


def test_results_are_saved_in_the_folder_results_by_default(
    tries, tmp_path, monkeypatch
):
    tries()
    monkeypatch.chdir(tmp_path)

    bench(Slow(), save_results=True)

    assert (tmp_path / "results/Slow-cpu.json").is_file()


def test_a_page_without_another_variant_says_so(tries, tmp_path):
    tries()

    page = save_results(bench(Centred()), tmp_path).read_text()

    assert "No other variant than the plain loop could be measured." in page
    assert "Batched is left out: its results are not those" in page


def test_results_print_as_a_table(tries):
    tries(Awake)

    lines = table_of(bench(Slow(pause=0.0019))).splitlines()

    assert lines[0].startswith("Slow() on cpu (")
    assert lines[1] == "4 items, 3 rounds in turn, weights as given, level balanced"
    assert lines[3].split()[:3] == ["variant", "time", "speed-up"]
    assert lines[4].split()[:4] == ["standard", "8.00", "ms", "1.00"]
    assert lines[6].split()[:4] == ["optimized", "100.0", "µs", "80.00"]
    assert "+300.0 %" in lines[5]
    assert lines[8] == "optimized with awake"
