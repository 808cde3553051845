"""Serving the page: to whom, how long, and by command."""

import asyncio
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest
import torch
from typer.testing import CliRunner

from tests.app.browsing import visit
from unfussy.app import launch
from unfussy.cli.app import app as command
from unfussy.errors import InputValueError


def test_nothing_goes_out_to_the_network(browser, generator, monkeypatch):
    looked_up, look_up = set(), socket.getaddrinfo

    def listen(host, *args, **options):
        looked_up.add(host)
        return look_up(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", listen)
    with launch(generator) as serving, visit(browser, serving.url) as visitor:
        visitor.ask(5, count=2)
        visitor.sees(generator.generate(5)[1])

        assert looked_up <= {"127.0.0.1", b"127.0.0.1", "localhost"}
        own = (serving.url, "data:", "blob:")
        assert [url for url in visitor.asked if not url.startswith(own)] == []


def test_what_is_closed_is_served_no_more(generator):
    with launch(generator) as serving:
        place = serving.page.server_name, serving.page.server_port
        socket.create_connection(place).close()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place)


def test_the_event_loop_of_the_caller_stays(generator):
    def loop_is_the_same():
        with closing(asyncio.new_event_loop()) as loop:
            asyncio.set_event_loop(loop)
            launch(generator).close()
            return asyncio.get_event_loop_policy().get_event_loop() is loop

    with ThreadPoolExecutor(1) as thread:  # in this one, that of the browser runs
        assert thread.submit(loop_is_the_same).result()


def test_the_files_of_pictures_go_with_the_page(
    browser, generator, monkeypatch, tmp_path
):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))

    with launch(generator) as serving, visit(browser, serving.url) as visitor:
        visitor.ask(5, count=2)
        visitor.sees(generator.generate(5)[1])
        made = {file.name for file in tmp_path.glob("**/*.*")}

    assert made == {"seed_005.png", "seed_006.png", "seed_005_to_006.zip"}
    assert [file for file in tmp_path.glob("**/*") if file.is_file()] == []


def test_a_port_that_is_taken_is_refused(generator):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        with pytest.raises(InputValueError, match=f"127.0.0.1, port {port}.*is it tak"):
            launch(generator, port=port)


def test_an_address_that_is_not_here_is_refused(generator):
    with pytest.raises(InputValueError, match="cannot listen at 192.0.2.1"):
        launch(generator, host="192.0.2.1")


# --- the command -------------------------------------------------------------------


@pytest.fixture
def checkpoints(tmp_path, generator):
    torch.save(generator.model.state_dict(), tmp_path / "best.pt")
    generator.tokenizer.save(tmp_path / "tokenizer.json")
    return tmp_path


@contextmanager
def started(*args):
    """Run the command in a process of its own, which obeys Ctrl+C and does not stay."""
    # What a shell puts into the background ignores Ctrl+C, and so do its children.
    obeys = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{obeys}; from unfussy.cli import main; main()"
    pipe = subprocess.PIPE
    with subprocess.Popen(  # noqa: S603 - our own
        [sys.executable, "-c", code, *args], stdout=pipe, stderr=pipe, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_command_serves_until_it_is_interrupted(checkpoints, browser, generator):
    with started("app", "--checkpoint", checkpoints / "best.pt") as process:
        url = process.stdout.readline().strip()
        with visit(browser, url) as visitor:
            visitor.ask(11)
            visitor.sees(generator.generate(11)[1])
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)

    assert (process.returncode, told) == (0, "Ctrl+C ends it.\n")


@pytest.mark.parametrize(
    ("name", "told"), [("nowhere.pt", "nowhere.pt"), ("broken.pt", "broken.pt")]
)
def test_a_checkpoint_that_cannot_be_read_is_told_in_a_line(checkpoints, name, told):
    (checkpoints / "broken.pt").write_bytes(b"these are no weights")

    done = CliRunner().invoke(command, ["app", "--checkpoint", checkpoints / name])

    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert told in done.stderr
