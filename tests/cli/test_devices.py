"""The command ``unfussy devices``."""

import json

from typer.testing import CliRunner

from unfussy import get_device_info
from unfussy.cli.app import app


def run(*arguments):
    return CliRunner().invoke(app, ["devices", *arguments])


def test_devices_are_printed_as_a_table():
    done = run()

    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0].split()[:2] == ["device", "model"]
    assert max(map(len, lines)) <= 100
    assert f"best: {get_device_info().best} (" in done.stdout


def test_devices_are_printed_as_json_where_that_is_asked_for():
    done = run("--json")

    facts = json.loads(done.stdout)
    assert facts["selected_device"] == str(get_device_info().best)
    assert facts.keys() == get_device_info().to_dict().keys()


def test_a_device_that_is_not_there_is_a_readable_error(monkeypatch):
    monkeypatch.setenv("UNFUSSY_DEVICE", "meta")

    done = run()

    assert done.exit_code == 1
    assert done.stderr.startswith("Error: UNFUSSY_DEVICE='meta' is not on this machine")
