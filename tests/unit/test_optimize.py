"""What is kept and why not, what can be optimised, and what is applied and undone."""

import gc
import json
import threading
import weakref
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from tests.candidates import (
    SWITCH,
    Awake,
    Broken,
    Different,
    Fixed,
    Halfway,
    Ignored,
    Known,
    Relayout,
    Sleepy,
    Slow,
    Switch,
    Waiting,
    state_of,
    ticking,
)
from tests.modules import FEATURES
from unfussy import (
    EasyInferenceMixin,
    autocast_policy,
    batched,
    configure,
    inference,
    unfuss,
)
from unfussy._optimizing import (
    Candidate,
    OptimizationReport,
    load_choice,
    optimize,
    register_candidate,
    registry,
    search,
    timing,
)
from unfussy._optimizing.deviation import deviation_of
from unfussy._optimizing.schema import CHOICE_SCHEMA, SCHEMA
from unfussy.errors import InputTypeError, InputValueError, PlanError

__all__ = ["ticking"]

X = torch.linspace(-1, 1, 4 * FEATURES).reshape(4, FEATURES)


@pytest.fixture(autouse=True)
def _known(monkeypatch):
    """Forget what a test registers."""
    monkeypatch.setattr(registry, "_REGISTERED", {})


class Embedder(EasyInferenceMixin, Slow, easy=("encode",)):
    """One module, and every way to call it."""

    def encode(self, x):
        return self(x)

    @inference
    def embed(self, x):
        return self(x)

    @batched(size=2)
    @inference
    def in_parts(self, x):
        return self(x)

    def plainly(self, x):
        return self(x)


@inference
def embed_with(model, x):
    return model(x)


def verdicts(report):
    return {row.name: row.verdict for row in report.candidates}


def row_of(report, name):
    return next(row for row in report.candidates if row.name == name)


# --- verdicts ----------------------------------------------------------------------


def test_what_is_faster_and_equal_is_kept_and_nothing_else():
    tried = (Different, Sleepy, Broken, Halfway, Ignored, Awake)

    report = optimize(Slow(), X, candidates=tried)

    assert verdicts(report) == {
        "different": "rejected",
        "sleepy": "rejected",
        "broken": "failed",
        "halfway": "failed",
        "ignored": "skipped",
        "awake": "kept",
    }
    assert report.speedup.low == pytest.approx(21)
    assert report.plain.value == pytest.approx(0.0021)
    assert report.best.value == pytest.approx(0.0001)
    assert report.deviation == 0


def test_each_verdict_has_its_reason():
    tried = (Different, Sleepy, Broken, Ignored, Awake)

    report = optimize(Slow(), X, candidates=tried)

    reasons = [row.reason for row in report.candidates]
    assert reasons == [
        "results differ by 1.0e-03, more than 1e-05",
        "slower",
        "RuntimeError: no kernel for this",
        "it has no such layer",
        "does not sleep",
    ]


def test_a_model_with_nothing_to_gain_is_left_alone():
    model = Slow()

    report = optimize(model, X, candidates=(Sleepy,))

    assert report.kept == ()
    assert report.speedup is None
    assert "nothing to gain: leave it as it is" in str(report)
    assert report.apply() is model


def test_a_larger_tolerance_admits_more():
    report = optimize(Slow(), X, candidates=(Different,), tolerance=1e-2)

    assert report.kept[0].deviation == pytest.approx(1e-3, rel=1e-3)


def test_what_is_right_for_one_batch_size_only_is_found_out():
    report = optimize(Slow(), X, candidates=(Fixed,))

    assert "instead of float32 (2, 3)" in row_of(report, "fixed").reason


def test_a_batch_of_one_is_tried_as_two():
    report = optimize(Slow(), X[:1], candidates=(Fixed,))

    assert "instead of float32 (2, 3)" in row_of(report, "fixed").reason


def test_another_size_that_the_method_does_not_take_is_not_tried():
    class Only(Slow):
        def forward(self, x):
            return super().forward(x.reshape(4, FEATURES))

    report = optimize(Only(), X, candidates=(Fixed,))

    assert report.kept[0].name == "fixed"


@dataclass(frozen=True)
class Nap(Known):
    """Sleeps for so long instead, in percent of the usual; only one at a time."""

    name: ClassVar[str] = "nap"
    summary: ClassVar[str] = "sleeps less"
    percent: int = 50

    @classmethod
    def variants(cls, trial, /):
        return [cls(100), cls(40), cls(10)]

    def apply(self, trial, /):
        before = trial.module.pause
        if before < 0.002:
            raise RuntimeError("two naps at once")
        trial.module.pause = 0.004 * self.percent / 100
        return partial(setattr, trial.module, "pause", before)


def test_of_several_variants_the_fastest_is_kept():
    report = optimize(Slow(0.004), X, candidates=(Nap,))

    labels = [(row.label, row.verdict) for row in report.candidates]
    assert labels[0] == ("nap(percent=100)", "rejected")
    assert labels[2] == ("nap(percent=10)", "kept")
    assert report.candidates[1].reason == "another variant is faster"


def test_what_is_no_gain_beside_the_others_is_dropped():
    report = optimize(Slow(0.004), X, candidates=(Nap(50), Awake))

    assert verdicts(report) == {"nap": "rejected", "awake": "kept"}
    assert report.candidates[0].reason == "no longer a gain beside the others"


def test_what_is_not_faster_in_the_end_is_not_kept(monkeypatch):
    answers = iter([True, False])
    gains = property(lambda _: next(answers))
    monkeypatch.setattr(timing.Comparison, "gains", gains)

    report = optimize(Slow(), X, candidates=(Relayout,))

    assert report.kept == ()
    assert "times as fast as plain" in report.candidates[0].reason


def test_in_the_end_what_was_kept_last_is_rejected_first(monkeypatch):
    answers = iter([True, True, True, False, True])
    gains = property(lambda _: next(answers))
    monkeypatch.setattr(timing.Comparison, "gains", gains)
    monkeypatch.setattr(search.Search, "_drop_what_is_not_needed", lambda self: None)

    report = optimize(Slow(), X, candidates=(Awake, Relayout, Switch))

    assert verdicts(report) == {
        "awake": "kept",
        "relayout": "kept",
        "switch": "rejected",
    }
    assert report.best.value == pytest.approx(0.0001)


def test_what_is_unclear_for_lack_of_time_is_rejected_all_at_once(monkeypatch):
    answers = iter([True, True, False])
    gains = property(lambda _: next(answers))
    monkeypatch.setattr(timing.Comparison, "gains", gains)
    monkeypatch.setattr(search.Search, "_drop_what_is_not_needed", lambda self: None)
    monkeypatch.setattr(search, "_LAST_SHARE", 0.0)

    report = optimize(Slow(0.01), X, candidates=(Relayout, Switch), budget=0.45)

    assert set(verdicts(report).values()) <= {"rejected", "not reached"}


def test_what_the_budget_does_not_reach_is_said():
    report = optimize(Slow(0.01), X, candidates=(Awake, Relayout), budget=0.01)

    assert set(verdicts(report).values()) == {"not reached"}
    assert "2 candidates were not reached" in report.notes[0]


class Bold(Awake):
    name, level = "bold", "aggressive"


class Coarse(Awake):
    name, low_precision = "coarse", True


@pytest.mark.parametrize("level", ["conservative", "balanced"])
def test_a_level_leaves_out_what_belongs_to_a_higher_one(monkeypatch, level):
    monkeypatch.setattr(registry, "_known", lambda: {"a": Bold, "b": Coarse})

    report = optimize(Slow(), X, level=level)

    assert verdicts(report) == {"bold": "skipped", "coarse": "skipped"}
    assert report.candidates[0].reason == "the aggressive level tries it"


def test_the_highest_level_tries_everything(monkeypatch):
    monkeypatch.setattr(registry, "_known", lambda: {"a": Coarse})

    report = optimize(Slow(), X, level="aggressive")

    assert (report.kept[0].name, report.tolerance) == ("coarse", 2e-2)


def test_low_precision_is_tried_where_the_plan_asks_for_it(monkeypatch):
    class Low(Slow):
        @autocast_policy("bf16")
        def embed(self, x):
            return self(x)

    monkeypatch.setattr(registry, "_known", lambda: {"a": Coarse, "b": Different})
    report = optimize(Low().embed, X + 0.1)

    assert verdicts(report)["coarse"] == "kept"
    assert "the plain method computes in low precision" in report.notes[0]
    assert 1e-4 < report.deviation < 2e-2  # of bfloat16 itself


def test_a_module_of_low_precision_is_held_against_float32():
    model = nn.Linear(64, 64).bfloat16()
    x = torch.randn(4, 64).bfloat16()

    report = optimize(model, x, candidates=())

    assert "the plain method computes in low precision" in report.notes[0]
    assert model.weight.dtype == torch.bfloat16


def test_candidates_that_are_asked_for_are_tried_at_any_level():
    report = optimize(Slow(), X, level="conservative", candidates=(Bold,))

    assert verdicts(report) == {"bold": "kept"}


def test_progress_counts_the_kinds_of_candidates():
    counts = []

    optimize(Slow(), X, candidates=(Awake, Broken, Nap), progress=counts.append)

    assert counts == [1, 1, 1]


# --- settings of the process -------------------------------------------------------


def test_a_setting_of_the_process_is_in_force_only_while_it_is_timed():
    model = Waiting()
    report = optimize(model, X, candidates=(Switch, Relayout))
    assert not SWITCH["on"]

    report.apply()
    assert SWITCH["on"]
    report.undo()

    assert not SWITCH["on"]
    assert verdicts(report)["switch"] == "kept"


def test_it_is_in_force_too_where_results_are_checked():
    class Odd(Switch):
        name = "odd"

    class Revealing(Waiting):
        def forward(self, x):
            return super().forward(x) + SWITCH["on"]

    report = optimize(Revealing(), X, candidates=(Odd,))

    assert verdicts(report) == {"odd": "rejected"}
    assert not SWITCH["on"]


# --- what can be optimised ---------------------------------------------------------


TARGETS = {
    "module": lambda model: model,
    "call": lambda model: model.__call__,
    "forward": lambda model: model.forward,
    "undecorated": lambda model: model.plainly,
    "decorated": lambda model: model.embed,
    "batched": lambda model: model.in_parts,
    "easy": lambda model: model.easy_encode,
    "configured": lambda model: configure(model.embed, batch_size=3),
    "configured easy": lambda model: configure(model.easy_encode, batch_size=3),
    "configured plain": lambda model: configure(model.plainly, batch_size=3),
    "proxy": unfuss,
    "method of a proxy": lambda model: unfuss(model).plainly,
    "proxy that plans another method": lambda m: unfuss(m, methods="plainly"),
}


class Wrapped(Awake):
    """Needs a function of its own, besides what it does to the module."""

    name = "wrapped"

    def apply(self, trial, /):
        undo = super().apply(trial)
        wrappers = list(trial.wrappers)
        trial.wrappers.append(lambda function: lambda *args: function(*args))
        return lambda: (trial.wrappers.__setitem__(slice(None), wrappers), undo())


@pytest.mark.parametrize("candidate", [Awake, Wrapped])
@pytest.mark.parametrize("target", TARGETS)
def test_every_kind_of_method_is_made_faster(target, candidate):
    model = Embedder().eval()
    given = TARGETS[target](model)
    plain, before = given(X), state_of(model)

    report = optimize(given, X, candidates=(candidate,))
    fast = report.apply()

    assert report.kept
    assert model.pause == 0
    torch.testing.assert_close(fast(X), plain)
    report.undo()
    assert state_of(model) == before


@pytest.mark.parametrize("candidate", [Awake, Wrapped])
def test_a_function_that_takes_a_module_is_made_faster(candidate):
    model = Embedder().eval()

    report = optimize(embed_with, (model, X), candidates=(candidate,))
    fast = report.apply()

    assert report.target == "embed_with()"
    torch.testing.assert_close(fast(model, X), model(X))


def test_the_method_itself_is_fast_from_then_on():
    model = Embedder().eval()
    report = optimize(model.embed, X, candidates=(Wrapped,))

    fast = report.apply()

    assert model.embed is fast
    assert "embed" in vars(model)
    assert fast.__name__ == "embed"
    report.undo()
    assert "embed" not in vars(model)


def test_a_proxy_is_fast_from_then_on():
    model = Slow(0.004).eval()
    proxy = unfuss(model)
    before = proxy.__call__.__func__
    report = optimize(proxy, X, candidates=(Wrapped,))

    assert report.apply() is proxy
    assert proxy.__call__.__func__ is not before
    report.undo()
    assert proxy.__call__.__func__ is before


def test_an_easy_method_keeps_its_options():
    model = Embedder()
    report = optimize(model.easy_encode, X, candidates=(Wrapped,))

    report.apply()

    assert model.easy_encode(X.numpy(), return_numpy=True, batch_size=3).shape == (4, 3)


class Settled(Awake):
    name = "settled"

    def apply(self, trial, /):
        undo, trial.settings["batch_size"] = super().apply(trial), 3
        return lambda: (trial.settings.pop("batch_size"), undo())


def test_settings_of_candidates_win_over_those_of_the_method():
    model, sizes = Embedder(), []
    report = optimize(model.in_parts, X, candidates=(Settled,))

    report.apply()
    model.net.register_forward_hook(lambda m, args, z: sizes.append(len(args[0])))
    model.in_parts(X)

    assert sizes == [3, 1]


def test_hooks_of_a_module_run_in_trials_and_after():
    model, seen = Slow().eval(), []
    model.register_forward_hook(lambda module, args, result: result + len(args))
    plain = model(X)

    report = optimize(model, X, candidates=(Wrapped,))

    torch.testing.assert_close(report.apply()(X), plain)
    assert not seen


@pytest.mark.parametrize("given", [3, len, nn.Linear, "model", lambda x: x, [].append])
def test_anything_else_is_refused(given):
    with pytest.raises(PlanError, match=r"optimize\(\) takes a module, a method"):
        optimize(given, X)


def test_generators_are_refused():
    class Yielding(Slow):
        @inference
        def each(self, x):
            yield from self(x)

    with pytest.raises(PlanError, match="yields or awaits"):
        optimize(Yielding().each, X)


def test_an_example_that_can_be_used_once_is_refused():
    with pytest.raises(InputTypeError, match="pass a list instead of an iterator"):
        optimize(Slow(), ([X], iter([X])))


def test_an_error_of_the_example_is_the_methods_own():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        optimize(Slow(), torch.zeros(2, 2))


@pytest.mark.parametrize(
    ("name", "value"),
    [("level", "fast"), ("budget", 0), ("budget", float("nan")), ("tolerance", -1)],
)
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(InputValueError, match=name):
        optimize(Slow(), X, **{name: value})


# --- what cannot be copied, and what is not repeated --------------------------------


def test_what_cannot_be_copied_is_said():
    model = Slow()
    model.lock = threading.Lock()

    report = optimize(model, X, candidates=(Awake,))

    assert report.candidates == ()
    assert "nothing was tried: the module cannot be copied: TypeError" in str(report)
    assert report.apply() is model
    report.undo()


@pytest.mark.parametrize("part", ["", "net"])
def test_a_forward_that_holds_the_original_is_not_copied(part):
    model = Slow()
    inner = model.get_submodule(part)
    before = inner.forward
    inner.forward = lambda x: before(x)

    report = optimize(model, X, candidates=(Awake,))

    assert "was replaced" in report.notes[0]


def test_random_results_are_compared_with_the_generators_seeded():
    class Random(Slow):
        def forward(self, x):
            return super().forward(x) + torch.rand(1)

    report = optimize(Random(), X, candidates=(Awake, Different))

    assert verdicts(report) == {"awake": "kept", "different": "rejected"}


def test_results_that_nobody_can_repeat_are_compared_with_nothing():
    count = iter(range(10_000))

    class Unsteady(Slow):
        def forward(self, x):
            return super().forward(x) + next(count)

    report = optimize(Unsteady(), X, candidates=(Awake,))

    assert report.kept == ()
    assert "differ from call to call" in report.notes[0]


def test_of_a_method_that_counts_its_calls_the_first_ones_are_compared():
    class Counting(Slow):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x) + self.calls

    model = Counting()

    report = optimize(model, X, candidates=(Awake, Different))

    assert verdicts(report) == {"awake": "kept", "different": "rejected"}
    assert model.calls == 0


def test_what_a_method_writes_into_stays_as_it_was():
    class Writing(Slow):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x):
            self.seen += 1
            return super().forward(x.mul_(2))

    model, x = Writing(), X.clone()

    report = optimize(model, x, candidates=(Awake, Different))

    assert verdicts(report) == {"awake": "kept", "different": "rejected"}
    assert model.seen == 0
    assert torch.equal(x, X)


def test_tensors_that_nobody_writes_to_are_shared():
    found = []

    class Looking(Ignored):
        def obstacle(self, trial, /):
            found.append(trial)

    model = nn.Sequential(Slow(), nn.BatchNorm1d(FEATURES))
    optimize(model, X, candidates=(Looking,))

    assert found[0].module is not model
    assert not found[0].module.training
    assert model.training
    assert [id(x) for x in found[0].module.parameters()] == [
        id(x) for x in model.parameters()
    ]
    assert all(x is y for x, y in zip(found[0].module.buffers(), model.buffers()))


# --- applied and undone ------------------------------------------------------------


def test_applied_twice_is_applied_once():
    model = Slow()
    report = optimize(model, X, candidates=(Awake,))

    assert report.apply() is report.apply()
    report.undo()

    assert model.pause > 0


def test_a_module_in_training_mode_is_in_eval_mode_while_it_is_changed():
    seen = []

    class Seeing(Awake):
        name = "seeing"

        def apply(self, trial, /):
            seen.append((trial.module.training, torch.is_grad_enabled()))
            return super().apply(trial)

    model = Slow().train()
    optimize(model, X, candidates=(Seeing,)).apply()

    assert set(seen) == {(False, False)}
    assert model.training


def test_what_is_not_applied_is_undone_in_vain():
    model = Slow()
    before = state_of(model)
    report = optimize(model, X, candidates=(Awake,))

    report.undo()

    assert state_of(model) == before


def test_it_can_be_applied_again_once_it_is_undone():
    model = Slow()
    report = optimize(model, X, candidates=(Wrapped,))

    report.apply()
    report.undo()
    report.apply()

    assert model.pause == 0
    assert "forward" in vars(model)


def test_two_are_undone_in_reverse_only():
    model = Slow()
    first = optimize(model, X, candidates=(Awake,))
    first.apply()
    model.pause = 0.002
    second = optimize(model, X, candidates=(Wrapped,))
    second.apply()

    with pytest.raises(PlanError, match="undo what was applied later, first"):
        first.undo()
    second.undo()
    first.undo()

    assert "forward" not in vars(model)


def test_what_was_replaced_since_is_left_and_told():
    model = Embedder()
    report = optimize(model.embed, X, candidates=(Wrapped,))
    report.apply()
    model.embed = mine = model.plainly

    with pytest.raises(PlanError, match="embed was replaced after apply"):
        report.undo()

    assert model.embed is mine
    assert model.pause > 0


def test_a_module_that_has_changed_since_is_refused():
    class Once(Awake):
        name = "once"

        def obstacle(self, trial, /):
            return None if trial.module.pause else "it does not sleep"

    model = Slow()
    report = optimize(model, X, candidates=(Once,))
    model.pause = 0.0

    with pytest.raises(PlanError, match="it does not sleep; it has changed since"):
        report.apply()


def test_an_undo_that_fails_does_not_keep_others_from_theirs():
    class Stuck(Relayout):
        name = "stuck"

        def apply(self, trial, /):
            super().apply(trial)
            return partial(next, iter(()))

    model = Slow()
    report = optimize(model, X, candidates=(Awake,))
    report._application._candidates = [Awake(), Stuck()]
    report.apply()

    with pytest.raises(StopIteration):
        report.undo()

    assert model.pause > 0


def test_a_module_can_go_while_it_is_applied():
    model = Slow()
    report = optimize(model, X, candidates=(Awake,))
    report.apply()
    gone = weakref.ref(model)

    del model, report
    gc.collect()

    assert gone() is None


# --- the report --------------------------------------------------------------------


@pytest.fixture
def report(ticking):
    tried = (Different, Broken, Ignored, Nap(10), Awake)
    return optimize(Slow(0.004), X, candidates=tried)


def test_a_report_prints_as_a_table(report):
    lines = str(report).splitlines()

    assert lines[0].startswith("Slow() on cpu (")
    assert lines[1].startswith("balanced, ")
    assert "times as fast [" not in lines[0]
    assert lines[-5].startswith("different     ")
    assert lines[-1].split()[:2] == ["awake", "kept"]


def test_a_report_goes_to_json_and_back(report):
    text = report.to_json()

    assert OptimizationReport.from_json(text) == report
    assert OptimizationReport.from_json(text).to_json() == text


def test_a_report_is_what_its_schema_says(report):
    jsonschema = pytest.importorskip("jsonschema")

    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator.check_schema(CHOICE_SCHEMA)
    jsonschema.validate(json.loads(report.to_json()), SCHEMA)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": 3}, r"report\['target'\] is of type string, got 3"),
        ({"threads": True}, r"report\['threads'\] is of type integer, got True"),
        ({"level": "fast"}, r"report\['level'\] is one of"),
        ({"version": 2}, r"report\['version'\] is 1, got 2"),
        ({"extra": 1}, r"report\['extra'\] is unknown"),
        ({"plain": {"value": 1}}, r"report\['plain'\] lacks 'low'"),
        ({"notes": [1]}, r"report\['notes'\]\[0\] is of type string, got 1"),
    ],
)
def test_a_report_of_another_form_is_refused(report, change, message):
    values = json.loads(report.to_json()) | change

    with pytest.raises(InputValueError, match=message):
        OptimizationReport.from_json(json.dumps(values))


def test_what_is_no_json_is_refused():
    with pytest.raises(InputValueError, match="this is no report"):
        OptimizationReport.from_json("no")
    with pytest.raises(InputValueError, match="report is of type object"):
        OptimizationReport.from_json("[]")


def test_a_report_that_was_read_cannot_be_applied(report):
    read = OptimizationReport.from_json(report.to_json())

    with pytest.raises(PlanError, match="this report was read from a file"):
        read.apply()


def test_a_report_is_saved_by_its_suffix(report, tmp_path):
    text = report.save(tmp_path / "report.json").read_text()
    page = report.save(tmp_path / "report.html").read_text()

    assert OptimizationReport.from_json(text) == report
    assert "What makes Slow() faster" in page
    assert "no kernel for this" in page
    assert "<svg" in page or "unfussy[plots]" in page
    with pytest.raises(InputValueError, match=r"\.json or \.html"):
        report.save(tmp_path / "report.pdf")


def test_a_page_of_nothing_to_gain_says_so(tmp_path):
    report = optimize(Slow(), X, candidates=())

    page = report.save(tmp_path / "report.html").read_text()

    assert "There is nothing to gain" in page


# --- saved choices -----------------------------------------------------------------


def test_a_choice_is_applied_to_a_model_like_the_first(report, tmp_path):
    register_candidate(Awake)
    register_candidate(Nap)
    path = report.save_choice(tmp_path / "choice.json")
    model = Slow(0.004)

    choice = load_choice(path, model, X)
    fast = choice.apply()

    assert fast is model
    assert model.pause == 0
    choice.undo()
    assert model.pause == 0.004


def test_parameters_of_candidates_are_saved(tmp_path):
    register_candidate(Nap)
    path = optimize(Slow(0.004), X, candidates=(Nap(10),)).save_choice(tmp_path / "c")
    model = Slow(0.004)

    load_choice(path, model).apply()

    assert model.pause == pytest.approx(0.0004)


class Other(Slow):
    pass


class Wider(Slow):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(FEATURES, FEATURES + 1)


Wider.__qualname__, Wider.__module__ = Slow.__qualname__, Slow.__module__


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (lambda: Other(), r"the model \(tests.candidates.Slow, here"),
        (lambda: Wider(), "the names, shapes or dtypes of its parameters"),
        (lambda: Slow().double(), "the names, shapes or dtypes of its parameters"),
        (lambda: Slow().forward, r"the method \(Slow\(\), here Slow.forward\(\)\)"),
    ],
    ids=["class", "sizes", "dtype", "method"],
)
def test_a_choice_for_something_else_is_refused(report, tmp_path, other, difference):
    path = report.save_choice(tmp_path / "choice.json")

    with pytest.raises(InputValueError, match=difference):
        load_choice(path, other())


def test_a_choice_of_another_version_is_refused(report, tmp_path):
    path = report.save_choice(tmp_path / "choice.json")
    choice = json.loads(path.read_text())
    choice["fingerprint"]["torch"] = "1.0"
    path.write_text(json.dumps(choice))

    with pytest.raises(InputValueError, match=r"torch \(1.0, here .*\); call optimize"):
        load_choice(path, Slow())


def test_a_choice_of_unknown_candidates_is_refused(report, tmp_path):
    path = report.save_choice(tmp_path / "choice.json")

    with pytest.raises(PlanError, match="there is no candidate 'awake'; there are"):
        load_choice(path, Slow())


def test_a_choice_of_other_parameters_is_refused(tmp_path):
    register_candidate(Nap)
    path = optimize(Slow(0.004), X, candidates=(Nap(10),)).save_choice(tmp_path / "c")
    path.write_text(path.read_text().replace("percent", "share"))

    with pytest.raises(PlanError, match="nap does not take {'share': 10}"):
        load_choice(path, Slow(0.004))


def test_a_file_that_holds_no_choice_is_refused(tmp_path):
    path = tmp_path / "choice.json"
    path.write_text("nothing")

    with pytest.raises(InputValueError, match="holds no choice"):
        load_choice(path, Slow())


# --- candidates of users -----------------------------------------------------------


def test_a_registered_candidate_is_tried_after_the_built_in_ones():
    register_candidate(Awake)

    assert list(registry._known())[-1] == "awake"
    assert registry.chosen(["awake", Relayout, Nap(3)]) == (Awake, Relayout, Nap(3))


class Unfinished(Candidate):
    name, summary = "unfinished", "lacks a method"

    def obstacle(self, trial, /):
        return None


class Unnamed(Known):
    name = None

    def apply(self, trial, /):
        raise AssertionError


class Eager(Awake):
    level = "very"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (3, "takes a class of Candidate"),
        (int, "takes a class of Candidate"),
        (Unfinished, "has to define apply"),
        (Unnamed, "Unnamed needs a name"),
        (Eager, "level is one of"),
    ],
)
def test_what_is_no_candidate_is_not_registered(kind, message):
    with pytest.raises(PlanError, match=message):
        register_candidate(kind)


def test_candidates_that_are_none_are_refused():
    with pytest.raises(PlanError, match="candidates are names, classes or candidates"):
        optimize(Slow(), X, candidates=(3,))
    with pytest.raises(PlanError, match="there is no candidate 'magic'; there are"):
        optimize(Slow(), X, candidates="magic")


def test_variants_that_raise_are_reported():
    class Picky(Nap):
        @classmethod
        def variants(cls, trial, /):
            raise ValueError("cannot count")

    report = optimize(Slow(), X, candidates=(Picky,))

    assert report.candidates[0].reason == "ValueError: cannot count"
    assert report.candidates[0].label == "nap"


def test_variants_that_all_cannot_be_tried_share_a_row():
    class Idle(Nap):
        def obstacle(self, trial, /):
            return "it cannot sleep"

    report = optimize(Slow(), X, candidates=(Idle,))

    assert [(x.label, x.reason) for x in report.candidates] == [
        ("nap", "it cannot sleep")
    ]


# --- how far results are apart -----------------------------------------------------

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("result", "reference", "value"),
    [
        (torch.tensor([3.0, 4.4]), torch.tensor([3.0, 4.0]), 0.08),
        (torch.tensor([NAN, INF, 1.1]), torch.tensor([NAN, INF, 1.0]), 0.1),
        (torch.tensor([1.1 + 0j]), torch.tensor([1.0 + 0j]), 0.1),
        (torch.eye(2).to_sparse() * 1.1, torch.eye(2).to_sparse(), 0.1),
        (np.array([3.0, 4.4]), np.array([3.0, 4.0]), 0.08),
        (np.array([1.1j]), np.array([1j]), 0.1),
        (np.float32(1.5), np.float32(1), 0.5),
        (1.1, 1.0, 0.1),
        ({"a": [1.0, 1.2]}, {"a": [1.0, 1.0]}, 0.2),
        (np.array(["a"]), np.array(["a"]), 0.0),
        (torch.zeros(0), torch.zeros(0), 0.0),
    ],
    ids=range(11),
)
def test_the_worst_relative_error_counts(result, reference, value):
    assert deviation_of(result, reference).value == pytest.approx(value, rel=1e-6)


class Odd:
    def __eq__(self, other):
        raise RuntimeError

    __hash__ = None


@pytest.mark.parametrize(
    ("result", "reference", "reason"),
    [
        (torch.tensor([NAN]), torch.tensor([1.0]), "infinite or NaN elsewhere"),
        (torch.tensor([-INF]), torch.tensor([INF]), "other infinite values"),
        (torch.tensor([NAN]), torch.tensor([INF]), "other infinite values"),
        (torch.tensor([1e-9]), torch.tensor([0.0]), "an error of 1.0e-09 where 0.0e"),
        (torch.tensor([1]), torch.tensor([2]), "result: other values"),
        (torch.ones(1), torch.ones(1).double(), "instead of float64"),
        (torch.ones(2), torch.ones(2, 1), "(2,) on cpu instead of"),
        (np.array([1]), np.array([2]), "result: other values"),
        (np.array([1]), np.array([1.0]), "int64 (1,) instead of float64 (1,)"),
        ([1.0], (1.0,), "result: list instead of tuple"),
        ({"a": 1}, {"b": 1}, "result: keys ['a'] instead of ['b']"),
        ({"a": [1, 2]}, {"a": [1, 3]}, "result['a'][1]: 2 instead of 3"),
        (True, 1, "result: bool instead of int"),
        (Odd(), Odd(), "instead of <tests"),
    ],
    ids=range(14),
)
def test_what_cannot_be_compared_says_where(result, reference, reason):
    found = deviation_of(result, reference)

    assert found.value == INF
    assert reason in str(found)
