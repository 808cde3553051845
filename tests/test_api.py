"""The front door: what is public, that it is documented, and what importing costs."""

import inspect
import subprocess
import sys

import pytest

import unfussy
import unfussy.errors
import unfussy.testing

OPTIONAL = ["PIL", "hypothesis", "pytest", "rich", "safetensors", "tqdm", "typer"]


@pytest.mark.parametrize(
    "module", [unfussy, unfussy.errors, unfussy.testing], ids=lambda m: m.__name__
)
def test_public_names_are_sorted_and_there(module):
    names = module.__all__

    assert names == sorted(names, key=_ruff_order)
    assert all(hasattr(module, name) for name in names)


def _ruff_order(name):
    """Constants, then classes, then functions."""
    kind = 0 if name.isupper() else 1 if name[0].isupper() else 2
    return kind, name


def test_what_is_public_is_listed():
    public = {
        name
        for name, value in vars(unfussy).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }

    assert public | {"__version__"} == set(unfussy.__all__)


@pytest.mark.parametrize("name", unfussy.__all__)
def test_every_public_object_is_documented(name):
    value = getattr(unfussy, name)

    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value)


def run_python(code):
    return subprocess.run(  # noqa: S603
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("module", ["unfussy", "unfussy.testing"])
def test_importing_imports_nothing_optional(module):
    done = run_python(
        "import torch, sys; before = set(sys.modules)\n"
        f"import {module}\n"
        f"print(sorted((set(sys.modules) - before) & set({OPTIONAL})))"
    )

    assert done.stdout == "[]\n", done.stderr


def test_importing_touches_no_global_state():
    done = run_python(
        "import torch, random, numpy\n"
        "def state(): return (torch.get_rng_state().sum(), torch.is_grad_enabled(),\n"
        "    torch.get_default_dtype(), torch.get_num_threads(), random.getstate())\n"
        "before = state()\n"
        "import unfussy\n"
        "assert state() == before\n"
    )

    assert done.returncode == 0, done.stderr
