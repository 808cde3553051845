"""The command ``unfussy``, as people type it."""

import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from unfussy import (
    EasyInferenceMixin,
    ImageLike,
    auto_device,
    batched,
    easy,
    inference,
)
from unfussy.cli import main
from unfussy.cli.app import app
from unfussy.cli.inputs import read_input
from unfussy.models.vposer import VPoser

POSES = np.random.default_rng(0).normal(0, 0.3, size=(7, 21, 3))


class Doubler(nn.Linear):
    """A user's own class, found by ``tests.cli.test_run:Doubler``."""

    def __init__(self, width=3):
        super().__init__(width, 2)

    def embed(self, x, scale=1.0):
        return {"z": self(x) * scale, "parts": [x, x]}

    @inference
    def constant(self, x):
        return "no array"

    def _hidden(self, x):
        return x


class Detector:
    """No module, but it holds one."""

    def __init__(self):
        self.inference_module = nn.Linear(3, 2)

    @easy
    def detect(self, x):
        return self.inference_module(x)

    def plain(self, x):
        return x


class Gallery(EasyInferenceMixin, nn.Module, easy="sizes"):
    def sizes(self, pictures: list[ImageLike]):
        return torch.tensor([[*picture.size] for picture in pictures])


class Fragile(nn.Module):
    """Breaks once it has computed a few items, as if it were killed."""

    n_left, sizes = 99, ()

    @batched(size=4)
    @auto_device
    def rows(self, x, scale=2.0):
        if Fragile.n_left < len(x):
            raise KeyboardInterrupt
        Fragile.n_left -= len(x)
        Fragile.sizes = (*Fragile.sizes, len(x))
        return scale * x

    @batched(size=4)
    @auto_device
    def several(self, x):
        return {"z": self.rows(x), "norm": x.norm(dim=-1)}

    @batched(size=4, item=1)
    @auto_device
    def mean(self, x):
        return x.mean(-1)

    @batched(size=4, item=2)
    @auto_device
    def peak(self, frames):
        return frames.amax((1, 2))[:, None]

    @easy
    def center(self, x):
        return x - x.mean(0)

    @batched(size=4, over="x")
    @auto_device
    def project(self, matrix, x=None):
        return matrix @ torch.ones(3, dtype=matrix.dtype)

    def whole(self, x):
        return x - x.mean(0)

    @batched(size=2)
    def widths(self, pictures: list):
        Fragile.sizes = (*Fragile.sizes, len(pictures))
        return torch.tensor([[picture.width] for picture in pictures])


@pytest.fixture(autouse=True)
def fragile():
    yield Fragile
    Fragile.n_left, Fragile.sizes = 99, ()


@pytest.fixture
def run():
    def invoke(*arguments):
        return CliRunner().invoke(app, [*map(str, arguments)])

    return invoke


@pytest.fixture
def poses(tmp_path):
    path = tmp_path / "poses.npy"
    np.save(path, POSES)
    return path


def test_encode_and_decode_with_seeded_weights(run, poses, tmp_path):
    out, back = tmp_path / "latents.npy", tmp_path / "back.npz"

    encoded = run("run", "vposer", "encode", poses, "--out", out, "--batch-size", 3)
    decoded = run("run", "vposer", "decode", out, "--out", back)

    assert encoded.exit_code == 0, encoded.output
    assert encoded.stdout == f"{out}: (7, 32) float32\n"
    assert "No checkpoint: random weights from seed 0" in encoded.stderr
    assert decoded.exit_code == 0, decoded.output
    model = VPoser.from_config(seed=0)
    np.testing.assert_allclose(
        np.load(out), model.easy_encode(POSES, return_numpy=True), atol=1e-5
    )
    assert np.load(back)["pose_body"].shape == (7, 21, 3)
    assert [*tmp_path.glob(".*.part")] == []


def test_a_checkpoint_gives_the_weights(run, poses, tmp_path):
    model = VPoser.from_config(num_neurons=64, latentD=8, seed=3)
    weights = model.save_pretrained(tmp_path / "model.safetensors")
    out = tmp_path / "latents.pt"

    done = run("run", "vposer", "encode", poses, "--out", out, "--checkpoint", weights)

    assert done.exit_code == 0, done.output
    assert "No checkpoint" not in done.stderr
    torch.testing.assert_close(
        torch.load(out), model.easy_encode(POSES), atol=1e-5, rtol=0
    )


def test_settings_and_arguments_are_passed_on(run, poses, tmp_path):
    out = tmp_path / "latents.npz"

    done = run(
        *("run", "vposer", "encode", poses, "--out", out, "--seed", 5),
        *("--config", "num_neurons=64", "--config", "latentD=8"),
        *("--argument", "return_stats=True", "--precision", "fp32", "--device", "cpu"),
    )

    assert done.exit_code == 0, done.output
    with np.load(out) as arrays:
        assert {name: arrays[name].shape for name in arrays} == {
            "0": (7, 8),
            "1.0": (7, 8),
            "1.1": (7, 8),
        }


def test_explain_only_says_what_would_be_done(run, poses):
    done = run("run", "vposer", "encode", poses, "--explain", "--batch-size", 3)

    assert done.exit_code == 0, done.output
    assert "float64" in done.stdout
    assert "7 items of x in 3 chunks of at most 3" in done.stdout


def test_a_bar_is_shown_where_it_is_asked_for(run, poses, tmp_path):
    done = run(
        *("run", "vposer", "encode", poses, "--out", tmp_path / "z.npy"),
        *("--progress", "--batch-size", 2),
    )

    assert "100%" in done.stderr


def test_a_class_of_the_users_own_is_run(run, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.ones((5, 3)))
    torch.save(Doubler().state_dict(), tmp_path / "weights.pt")
    out = tmp_path / "z.npz"

    done = run(
        *("run", f"{__name__}:Doubler", "embed", tmp_path / "x.npz", "--out", out),
        *("--checkpoint", tmp_path / "weights.pt", "--argument", "scale=2.0"),
        *("--config", "width=3", "--batch-size", 2),
    )

    assert done.exit_code == 0, done.output
    with np.load(out) as arrays:
        assert sorted(arrays) == ["parts.0", "parts.1", "z"]
    assert (tmp_path / "z.npz").stat().st_size


def test_random_weights_are_those_of_the_seed_and_touch_no_generator(run, tmp_path):
    np.save(tmp_path / "x.npy", np.ones((5, 3)))
    before = torch.get_rng_state()

    for name in ("a.pt", "b.pt"):
        run(
            *("run", f"{__name__}:Doubler", "embed", tmp_path / "x.npy"),
            *("--out", tmp_path / name),
        )

    first, second = (torch.load(tmp_path / name) for name in ("a.pt", "b.pt"))
    assert torch.equal(first["z"], second["z"])
    assert torch.equal(torch.get_rng_state(), before)


def test_an_object_that_holds_a_module_is_run(run, tmp_path):
    torch.save(torch.ones(5, 3), tmp_path / "x.pt")

    done = run(
        *("run", f"{__name__}:Detector", "detect", tmp_path / "x.pt"),
        *("--out", tmp_path / "z.npy"),
    )

    assert done.exit_code == 0, done.output
    assert np.load(tmp_path / "z.npy").shape == (5, 2)


def test_pictures_and_folders_of_them_are_read(run, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, size in enumerate([(4, 3), (6, 5)]):
        Image.new("RGB", size).save(folder / f"{i}.png")
    (folder / "notes.txt").write_text("no picture")
    out = tmp_path / "sizes.npy"

    done = run("run", f"{__name__}:Gallery", "sizes", folder, "--out", out)

    assert done.exit_code == 0, done.output
    assert np.load(out).tolist() == [[4, 3], [6, 5]]
    single = run(
        "run", f"{__name__}:Doubler", "constant", folder / "0.png", "--out", out
    )
    assert "the result holds no array" in single.stderr


# --- by parts ----------------------------------------------------------------------

ROWS = np.arange(30.0, dtype=np.float32).reshape(10, 3)
MANY_ROWS = np.arange(900.0).reshape(300, 3)
FRAGILE = f"{__name__}:Fragile"


@pytest.fixture
def rows(tmp_path):
    np.save(tmp_path / "x.npy", ROWS)
    return tmp_path / "x.npy"


def test_a_run_that_was_ended_goes_on(run, rows, fragile, tmp_path):
    out = tmp_path / "z.npy"
    fragile.n_left = 9  # one to see what comes, and two chunks
    ended = run("run", FRAGILE, "rows", rows, "--out", out)
    assert ended.exit_code != 0
    assert "8 of 10 items are done; the same command goes on there" in ended.stderr
    assert not out.exists()
    fragile.n_left, fragile.sizes = 99, ()

    done = run("run", FRAGILE, "rows", rows, "--out", out)

    assert done.exit_code == 0, done.output
    assert "goes on at item 8 of 10" in done.stderr
    assert done.stdout == f"{out}: (10, 3) float32\n"
    assert fragile.sizes == (2,)
    np.testing.assert_array_equal(np.load(out), 2 * ROWS)


def test_what_is_there_is_not_computed_again_unless_asked(run, rows, fragile, tmp_path):
    out = tmp_path / "z.npy"
    run("run", FRAGILE, "rows", rows, "--out", out)
    fragile.sizes = ()

    again = run("run", FRAGILE, "rows", rows, "--out", out)
    assert fragile.sizes == ()
    anew = run("run", FRAGILE, "rows", rows, "--out", out, "--restart")

    assert (again.exit_code, anew.exit_code) == (0, 0)
    assert "is there already; --restart computes it anew" in again.stderr
    assert again.stdout == anew.stdout == f"{out}: (10, 3) float32\n"
    assert sum(fragile.sizes) == 11


def test_the_file_of_another_job_is_left_alone(run, rows, fragile, tmp_path):
    out = tmp_path / "z.npy"
    run("run", FRAGILE, "rows", rows, "--out", out)

    other = run("run", FRAGILE, "rows", rows, "--out", out, "--argument", "scale=3")

    assert other.exit_code == 1
    assert "other arguments (none, and now scale=3)" in other.stderr
    assert "replace it with --restart" in other.stderr
    np.testing.assert_array_equal(np.load(out), 2 * ROWS)


def test_several_arrays_go_to_a_folder_by_parts(run, rows, fragile, tmp_path):
    out = tmp_path / "z"

    done = run("run", FRAGILE, "several", rows, "--out", f"{out}/")

    assert done.stdout == f"{out}: norm (10,) float32, z (10, 3) float32\n"
    np.testing.assert_array_equal(np.load(out / "z.npy"), 2 * ROWS)


def test_a_batch_size_cuts_what_is_not_cut_by_itself(run, rows, fragile, tmp_path):
    whole = run("run", FRAGILE, "whole", rows, "--out", tmp_path / "a.npy")
    cut = run(
        *("run", FRAGILE, "whole", rows, "--out", tmp_path / "b.npy"),
        *("--batch-size", 5),
    )

    assert (whole.exit_code, cut.exit_code) == (0, 0)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), ROWS - ROWS.mean(0))
    np.testing.assert_array_equal(
        np.load(tmp_path / "b.npy")[5:], ROWS[5:] - ROWS[5:].mean(0)
    )


@pytest.mark.parametrize(
    ("method", "values", "expected"),
    [
        ("mean", ROWS[0], 1.0),
        ("peak", ROWS, [29.0]),
        ("center", MANY_ROWS, MANY_ROWS - MANY_ROWS.mean(0)),
        ("project", np.eye(3), np.ones(3)),
    ],
    ids=["item", "frames", "easy", "other argument"],
)
def test_what_is_no_batch_is_not_cut(run, tmp_path, method, values, expected):
    np.save(tmp_path / "x.npy", values)

    done = run("run", FRAGILE, method, tmp_path / "x.npy", "--out", tmp_path / "z.npy")

    assert done.exit_code == 0, done.output
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), expected)


def test_arrays_in_files_are_not_read_before_they_are_used(rows):
    assert isinstance(read_input(rows), np.memmap)


@pytest.mark.parametrize("shape", [(21, 3), (63,)])
def test_one_single_pose_is_not_cut(run, tmp_path, shape):
    np.save(tmp_path / "x.npy", POSES[0].reshape(shape))

    done = run(
        *("run", "vposer", "encode", tmp_path / "x.npy", "--batch-size", 3),
        *("--out", tmp_path / "z.npy"),
    )

    assert done.stdout.endswith("z.npy: (32,) float32\n"), done.output


def test_an_empty_batch_has_no_rows(run, tmp_path):
    np.save(tmp_path / "x.npy", ROWS[:0])

    done = run("run", FRAGILE, "rows", tmp_path / "x.npy", "--out", tmp_path / "z.npy")

    assert done.stdout.endswith("z.npy: (0, 3) float32\n"), done.output


def test_pictures_of_a_folder_are_opened_one_at_a_time(
    run, fragile, tmp_path, monkeypatch
):
    folder, seen = tmp_path / "photos", []
    folder.mkdir()
    for i in range(12):
        Image.new("L", (i + 1, 3)).save(folder / f"{i:02}.png")
    opening = Image.open

    def watched(file):
        seen.append((file.name, len(fragile.sizes)))
        return opening(file)

    monkeypatch.setattr(Image, "open", watched)
    out = tmp_path / "z.npy"

    done = run("run", FRAGILE, "widths", folder, "--out", out)

    assert done.exit_code == 0, done.output
    assert np.load(out).ravel().tolist() == [*range(1, 13)]
    assert len(seen) == 13  # one twice, to see what comes of it
    assert seen[-1] > ("11.png", 3)  # when others were computed already
    Image.new("L", (9, 3)).save(folder / "00.png")
    changed = run("run", FRAGILE, "widths", folder, "--out", out)
    assert "other source (12 items, pictures" in changed.stderr


def test_a_broken_picture_is_told_and_the_others_are_kept(run, fragile, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(5):
        Image.new("L", (i + 1, 3)).save(folder / f"{i}.png")
    (folder / "4.png").write_text("nothing")

    done = run("run", FRAGILE, "widths", folder, "--out", tmp_path / "z.npy")

    assert done.exit_code == 1
    assert re.search("Error: the picture .*4.png cannot be read", done.stderr)
    assert "4 of 5 items are done" in done.stderr


def test_one_call_may_give_a_folder_too(run, tmp_path):
    np.save(tmp_path / "x.npy", np.ones((5, 3)))
    out = tmp_path / "z"

    done = run("run", f"{__name__}:Doubler", "embed", tmp_path / "x.npy", "--out", out)

    assert done.stdout.startswith(f"{out}: z (5, 2) float32, parts.0 (5, 3) ")
    assert np.load(out / "parts.1.npy").shape == (5, 3)
    single = run("run", "vposer", "decode", tmp_path / "z" / "z.npy", "--out", out)
    assert single.exit_code == 1
    array = run(
        *("run", f"{__name__}:Detector", "detect", tmp_path / "x.npy"),
        *("--out", tmp_path / "y"),
    )
    assert "the result is one array, and" in array.stderr


def test_devices_are_listed(run):
    done = run("devices")

    assert done.exit_code == 0
    assert "best: " in done.stdout


def test_the_version_is_printed(run):
    assert run("--version").stdout == "0.1.0\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vposer", "encode", "{x}"], "say where the result goes: --out FILE"),
        (["vposer", "encode", "{x}", "--out", "z.txt"], "z.txt is of no known kind"),
        (["vposer", "encode", "{x}", "--out", "no/z.npy"], "there is no folder no"),
        (["vposer", "encode", "no.npy", "--out", "z.npy"], "there is no file no.npy"),
        (["vposer", "encode", "{t}", "--out", "z.npy"], "is of no known kind; there"),
        (["vposer", "encode", "{b}", "--out", "z.npy"], "bad.npy cannot be read"),
        (["vposer", "encode", "{e}", "--out", "z.npy"], "holds no pictures"),
        (
            ["vposer", "encode", "{p}", "--out", "z.npy"],
            "the picture .* cannot be read",
        ),
        (["vposer", "fly", "{x}", "--out", "z.npy"], "VPoser has no method 'fly'"),
        (
            ["poser", "encode", "{x}", "--out", "z.npy"],
            "'poser' is no model; there are",
        ),
        (["no.mod:X", "encode", "{x}", "--out", "z.npy"], "there is no module 'no'"),
        (
            ["torch.nn:X", "encode", "{x}", "--out", "z.npy"],
            "torch.nn has no class 'X'",
        ),
        (
            ["vposer", "encode", "{x}", "--out", "z.npy", "--config", "a"],
            "--config takes name=value, got 'a'",
        ),
        (
            ["vposer", "encode", "{x}", "--out", "z.npy", "--config", "depth=text"],
            "unexpected keyword argument 'depth'; it takes",
        ),
        (
            ["vposer", "encode", "{x}", "--out", "z.npy", "--device", "gpu"],
            "--device 'gpu' cannot be used",
        ),
        (
            ["vposer", "encode", "{x}", "--out", "z.npy", "--precision", "fp8"],
            "precision is one of",
        ),
        (["vposer", "decode", "{x}", "--out", "z.npy"], "decode"),
        (["{m}:Detector", "plain", "{x}", "--out", "z.npy"], "is not decorated"),
        (["{m}:Doubler", "_hidden", "{x}", "--out", "z.npy"], "no method '_hidden'"),
        (
            ["{m}:Doubler", "embed", "{n}", "--out", "z.npy"],
            "one array, and the result holds z, parts.0, parts.1; write z.npz",
        ),
        (
            ["{m}:Doubler", "constant", "{n}", "--out", "z.npy"],
            "the result holds no array for z.npy",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_told_in_a_line(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", POSES)
    np.save("n.npy", np.ones((5, 3)))
    for name in ("bad.npy", "text.txt", "bad.png"):
        (tmp_path / name).write_text("nothing")
    (tmp_path / "empty").mkdir()
    names = {"x": "x.npy", "n": "n.npy", "t": "text.txt", "b": "bad.npy"}
    names |= {"e": "empty", "p": "bad.png", "m": __name__}

    done = run("run", *(argument.format(**names) for argument in arguments))

    assert done.exit_code == 1, done.output
    assert "\nError: " in f"\n{done.stderr}"
    assert re.search(message, done.stderr)
    assert not (tmp_path / "z.npy").exists()


def test_weights_cannot_go_into_what_is_no_module(run, tmp_path):
    np.save(tmp_path / "x.npy", np.ones((5, 3)))
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "w.pt")

    done = run(
        *("run", "collections:Counter", "most_common", tmp_path / "x.npy"),
        *("--out", tmp_path / "z.npy", "--checkpoint", tmp_path / "w.pt"),
    )

    assert "is no module, so no weights can be loaded" in done.stderr


def test_pictures_need_pillow(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    (tmp_path / "a.png").write_bytes(b"")

    done = run("run", "vposer", "encode", tmp_path, "--out", tmp_path / "z.npy")

    assert "unfussy[images]" in done.stderr


def test_the_command_line_needs_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "typer", None)
    monkeypatch.delitem(sys.modules, "unfussy.cli.app", raising=False)

    with pytest.raises(SystemExit, match=r"pip install 'unfussy\[cli\]'"):
        main()


def test_other_missing_modules_are_not_hidden(monkeypatch):
    monkeypatch.setitem(sys.modules, "unfussy.cli.building", None)
    monkeypatch.delitem(sys.modules, "unfussy.cli.app", raising=False)

    with pytest.raises(ModuleNotFoundError, match="building"):
        main()


def test_the_entry_point_runs_the_app(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["unfussy", "--version"])

    with pytest.raises(SystemExit):
        main()

    assert capsys.readouterr().out == "0.1.0\n"
