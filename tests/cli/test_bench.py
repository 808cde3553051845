"""The command ``unfussy bench``, as people type it."""

import json

import numpy as np
import pytest
import typer
from torch import nn
from typer.testing import CliRunner

from unfussy import inference
from unfussy.bench import check_results
from unfussy.cli.bench import bench

SMALL = ("--rounds=1", "--seconds=0.1", "--level=conservative", "--memory=none")
VPOSER = ("vposer", "--items=3", "--config=num_neurons=16", "--device=cpu", *SMALL)
MINE = "tests.cli.test_bench:Mine"

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
app.command()(bench)


class Mine(nn.Linear):
    """A user's own class, in plain torch."""

    def __init__(self, width=3):
        super().__init__(width, 2)

    def embed(self, x):
        return 2 * self(x)


class Numbers:
    """No module."""

    @inference
    def embed(self, x):
        return x


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, np.ones((4, 3)))
    return f"--input={path}"


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_a_family_is_measured_and_its_weights_are_told():
    done = run(*VPOSER)

    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith("VPoser.easy_encode() on cpu (")
    assert lines[1].startswith("3 poses, 1 round in turn, random weights from seed 0")
    assert [line.split()[0] for line in lines[4:6]] == ["standard", "batched"]
    assert "No checkpoint: random weights from seed 0." in done.stderr


def test_a_model_of_a_family_is_chosen_by_its_name():
    done = run(*VPOSER, "--model=VPoserV1", "--json")

    assert json.loads(done.stdout)["model_type"] == "VPoserV1"


def test_results_are_saved_to_a_folder(tmp_path):
    done = run(*VPOSER, f"--save={tmp_path}", "--json")

    saved = json.loads((tmp_path / "VPoser-easy_encode-cpu.json").read_text())
    assert saved == json.loads(done.stdout)
    check_results(saved)
    assert "VPoser-easy_encode-cpu.html" in done.stderr


@pytest.mark.parametrize("target", [f"{MINE}.embed", MINE])
def test_a_method_of_the_users_own_is_measured(rows, target):
    done = run(target, rows, "--device=cpu", "--seed=3", "--json", *SMALL)

    results = json.loads(done.stdout)
    check_results(results)
    assert results["num_sequences"] == 4
    assert results["weights"] == "random weights from seed 3"
    assert results["variants"]["batched"]["deviation"] < 1e-6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody"], "there is no family or model 'nobody'"),
        (["gait", "--model=VPoser"], "gait has no model 'VPoser'"),
        (["gait", "--input=x.npy"], "a family draws its inputs"),
        (["gait", "--device=no"], "--device 'no' cannot be used"),
        ([MINE], "takes its inputs too: --input FILE"),
        ([f"{MINE}.no", "--input=x.npy"], "Mine has no method 'no'"),
        ([MINE, "--items=3"], "--model and --sequences are for families"),
        (["tests.cli.test_bench:Numbers.embed"], "is no torch.nn.Module"),
        (["vposer", "--seconds=0"], "seconds are above 0"),
    ],
)
def test_what_cannot_be_measured_is_a_readable_error(arguments, message):
    done = run(*arguments)

    assert done.exit_code == 1
    assert done.stderr.startswith("Error: ")
    assert message in done.stderr
