"""
Every check of the project, each a session; plain `nox` runs all that are usual.

The usual sessions share one environment, which the session `environment` installs:
a copy of torch for each would take longer than the checks. Sessions that want
other packages have an environment of their own. All are kept for the next time,
and whatever is installed, build backends included, obeys ``constraints.txt``.
"""

from __future__ import annotations

import os
import re
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import nox

nox.needs_version = ">=2026.10"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = [
    *("lint", "types", "docs", "examples", "properties"),
    *("containers", "faces", "app", "tests"),
]

ROOT = Path(__file__).parent
BIN = ROOT / ".nox" / "environment" / ("Scripts" if os.name == "nt" else "bin")

os.environ["PATH"] = f"{BIN}{os.pathsep}{os.environ['PATH']}"
os.environ["PIP_CONSTRAINT"] = "constraints.txt"
os.environ["PIP_BUILD_CONSTRAINT"] = "constraints.txt"


@nox.session(default=False)
def environment(session: nox.Session) -> None:
    """Install the package and the tools that the usual sessions share."""
    session.install("-e", ".[all]", "--group", "dev")


WITH_ONNX_OR_TRAINED = [
    *("adaface_network", "face_search", "gait_export", "mtcnn"),
]

# The blocks of a page of the docs share their names, so a file stays on one core.
ON_ALL_CORES = ["-n", "auto", "--dist", "loadfile"]
ONE_THREAD = {"OMP_NUM_THREADS": "1"}

usual = nox.session(python=False, requires=["environment"])


@usual
def lint(session: nox.Session) -> None:
    """Check the style, the formatting and that imports point downwards."""
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")


@usual
def types(session: nox.Session) -> None:
    """Check the types with mypy and with basedpyright."""
    session.run("mypy")
    session.run("basedpyright", "--pythonpath", str(BIN / "python"))


@usual
def docs(session: nox.Session) -> None:
    """Build the documentation into ``docs/_build/html``; warnings are errors."""
    strict = ["--nitpicky", "--fail-on-warning", "--keep-going", "--fresh-env"]
    session.run("sphinx-build", *strict, "--quiet", "docs", "docs/_build/html")


@usual
def examples(session: nox.Session) -> None:
    """Run every example, each in an empty folder."""
    for script in sorted(ROOT.glob("examples/*.py")):
        with TemporaryDirectory() as folder, session.chdir(folder):
            session.run("python", "-W", "error", str(script))


@usual
def properties(session: nox.Session) -> None:
    """Search for counterexamples longer than `tests` does."""
    search = ["-m", "property", "--hypothesis-profile=long", *ON_ALL_CORES]
    session.run("pytest", "tests", *search, *session.posargs, env=ONE_THREAD)


@usual
def tests(session: nox.Session) -> None:
    """Run tests, doctests and the code in the docs; measure coverage."""
    if session.posargs:
        session.run("pytest", *session.posargs)
        return
    # The toy device stays registered, so its tests are a process of their own.
    toy = {"UNFUSSY_TOY_DEVICE": "1"}
    alone = ["--cov", "--cov-report=", "--cov-fail-under=0"]
    session.run("pytest", "tests/toy", *alone, env=toy)
    session.run("pytest", "--cov", "--cov-append", *ON_ALL_CORES, env=ONE_THREAD)


@nox.session(default=False, python="3.11")
def minimums(session: nox.Session) -> None:
    """Run the tests with the oldest versions admitted; for torch, name one."""
    versions = pinned() | oldest()
    # The tests themselves need a newer pytest than `unfussy.testing` does, and old
    # releases of torch come with gigabytes of CUDA: those only when asked for.
    versions["pytest"] = pinned()["pytest"]
    versions["torch"] = session.posargs[0] if session.posargs else pinned()["torch"]
    constraint = constrained_to(session, versions)
    session.install("-e", ".[all]", "--group", "tests", env=constraint)
    # Beside newer packages, old ones warn of what they will lose.
    session.run("pytest", "tests", "-W", "default::DeprecationWarning")


def constrained_to(session: nox.Session, versions: dict[str, str]) -> dict[str, str]:
    """Return the environment in which pip installs *versions*."""
    file = Path(session.create_tmp(), "versions.txt")
    file.write_text("\n".join(map("==".join, versions.items())))
    return {"PIP_CONSTRAINT": str(file)}


def pinned() -> dict[str, str]:
    """Return the versions in ``constraints.txt``."""
    text = Path("constraints.txt").read_text()
    return dict(re.findall(r"(?m)^([\w-]+)==(\S+)", text))


def oldest() -> dict[str, str]:
    """Return the oldest versions that ``pyproject.toml`` admits."""
    project = nox.project.load_toml("pyproject.toml")["project"]
    extras = project["optional-dependencies"].values()
    admitted = chain(project["dependencies"], *extras)
    return dict(re.findall(r"([\w-]+)>=([\w.]+)", "\n".join(admitted)))


@nox.session
def containers(session: nox.Session) -> None:
    """Test containers of packages that are too heavy for every day."""
    session.install("-e", ".[all]", "--group", "tests", "--group", "containers")
    session.run("pytest", "tests/containers", *session.posargs)


@nox.session
def faces(session: nox.Session) -> None:
    """Test faces with trained weights on a photograph, and exports to ONNX."""
    session.install("-e", ".[all]", "--group", "tests", "--group", "faces")
    # It asks for releases of torch and Pillow that are years old.
    session.install("--no-deps", "facenet-pytorch")
    files = [f"tests/models/test_{name}.py" for name in WITH_ONNX_OR_TRAINED]
    session.run("pytest", *files, *session.posargs)


@nox.session
def app(session: nox.Session) -> None:
    """Test the page of the generator in a real browser, where Chromium is installed."""
    # Gradio does not admit the newest releases of these.
    versions = pinned() | {"pillow": "12.3.0", "tomlkit": "0.14.0"}
    constraint = constrained_to(session, versions)
    session.install("-e", ".[all,app]", "--group", "app", env=constraint)
    session.run("pytest", "tests/app", "docs/how-to/generator-app.md", "-rs")


@nox.session(default=False)
def benchmarks(session: nox.Session) -> None:
    """Compare with peers, in all of ``tests/benchmarks`` or in what is named."""
    session.install("-e", ".[all]", "--group", "benchmarks")
    files = sorted(ROOT.glob("tests/benchmarks/bench_*.py"))
    names = [file.stem.removeprefix("bench_") for file in files]
    for name in session.posargs or names:
        session.run("python", "-m", f"tests.benchmarks.bench_{name}")
