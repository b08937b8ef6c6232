"""A real run of Flower on this machine: a SuperLink, two SuperNodes, and an app sent to them."""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flower_nets as nets
import pytest

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples" / "flower_app"
PLANNED = HERE / "planned.py"
# Alpha and beta, step by step.
PLAN: list[tuple[float, float]] = runpy.run_path(str(PLANNED))["PLAN"]
# Every client of every round is a process that begins by importing its libraries.
ROUNDS, ROUNDS_OF_TORCH = 3, 2
PATIENCE_S = 500  # a busy machine starts a process in many seconds


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


def wait_for(what: str, condition: Callable[[], bool], logs: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            said = "\n".join(f"{log.name}\n{log.read_text()}" for log in logs.glob("*.log"))
            pytest.fail(f"no {what} after {PATIENCE_S} s\n{said}")
        time.sleep(0.1)


def answers(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def processes_of(home: Path) -> list[int]:
    """Whatever runs with this Flower home, by /proc; nothing where there is none."""
    mark = f"FLWR_HOME={home}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:  # gone, or not ours
            continue
    return found


def stop(started: list[subprocess.Popen[bytes]], home: Path) -> None:
    for process in started:
        process.terminate()
    for process in started:
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for process in processes_of(home):
        os.kill(process, signal.SIGKILL)


@pytest.fixture(scope="module")
def send(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Path]]:
    """Runs an app to its end; returns the folder that its server and clients have written to."""
    folder = tmp_path_factory.mktemp("flower")
    home = folder / "home"
    home.mkdir()
    link, *nodes = free_ports(3)
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "here"\n\n[superlink.here]\naddress = "127.0.0.1:{link}"\n'
        "insecure = true\n"
    )
    programs = Path(sys.executable).parent
    environment = {
        **os.environ,
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.05",
        "OMP_NUM_THREADS": "1",
        # Apps find the models that tests share.
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")]),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }
    started: list[subprocess.Popen[bytes]] = []

    def begin(name: str, *words: str) -> None:
        with (folder / f"{name}.log").open("wb") as log:
            started.append(
                subprocess.Popen(
                    [programs / words[0], "--insecure", *words[1:]],
                    env=environment,
                    cwd=folder,
                    stdout=log,
                    stderr=log,
                )
            )

    def run(app: Path, **config: Any) -> Path:
        out = folder / app.name
        out.mkdir()
        words = " ".join(
            f"{key}={json.dumps(value)}" for key, value in {"notes": str(out), **config}.items()
        )
        sent = subprocess.run(
            [programs / "flwr", "run", app, "here", "--run-config", words],
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert sent.returncode == 0, sent.stdout + sent.stderr
        wait_for("record of the run", (out / "server.json").exists, folder)
        return out

    try:
        begin(
            "superlink", "flower-superlink", "--disable-runtime-dependency-installation",
            "--port", str(link),
        )  # fmt: skip
        for client, port in enumerate(nodes):
            begin(
                f"supernode{client}", "flower-supernode", "--superlink", f"127.0.0.1:{link}",
                "--port", str(port), "--node-config", f"partition-id={client}",
            )  # fmt: skip
        wait_for("SuperLink", lambda: answers(link), folder)
        yield run
    finally:
        stop(started, home)
    wait_for("end of Flower's processes", lambda: not processes_of(home), folder)


@pytest.fixture(scope="module")
def notes(send: Callable[..., Path]) -> Path:
    """The folder that server and clients of the logistic app have written to."""
    return send(EXAMPLE, controller=f"{PLANNED}:Planned", rounds=ROUNDS)


def read(out: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    clients = [json.loads(file.read_text()) for file in sorted(out.glob("client-*.json"))]
    return json.loads((out / "server.json").read_text()), clients


@pytest.mark.slow
def test_clients_in_processes_of_their_own_use_the_rates_that_the_controller_orders(
    notes: Path,
) -> None:
    server, clients = read(notes)
    assert [(c["client"], c["round"]) for c in clients] == [
        (m, t) for m in (0, 1) for t in range(1, ROUNDS + 1)
    ]
    for c in clients:
        assert c["lr"] == pytest.approx(PLAN[c["round"] - 1][1], rel=1e-5)
        assert (c["steps"], c["batch_size"], c["local_rule"]) == (4, 32, "sgd")
    workers = [{c["process"] for c in clients if c["client"] == m} for m in (0, 1)]
    assert not workers[0] & workers[1]
    assert not (workers[0] | workers[1]) & {server["process"], os.getpid()}


@pytest.mark.slow
def test_the_model_of_a_real_run_improves(notes: Path) -> None:
    server, _ = read(notes)
    losses = [info["validation_loss"] for info in server["history"]]
    loss, accuracy = server["last"]
    assert [info["step"] for info in server["history"]] == list(range(ROUNDS + 1))
    assert losses[0] == pytest.approx(0.6931, abs=1e-4)
    assert loss < losses[3] < losses[2] < losses[1] == losses[0]
    assert accuracy > 0.75 > server["history"][0]["validation_accuracy"]
    assert [server["metrics"][t]["alpha"] for t in "123"] == pytest.approx(
        [alpha for alpha, _ in PLAN[1:]], rel=1e-5
    )


@pytest.mark.long
def test_models_of_pytorch_train_in_processes_of_their_own(send: Callable[..., Path]) -> None:
    """A CNN with BatchNorm, a transformer with tied embeddings and an LSTM, under FedAdam."""
    server = json.loads((send(HERE / "torch_app") / "server.json").read_text())
    assert server["rounds"] == list(range(1, ROUNDS_OF_TORCH + 1))
    assert server["last"] < server["losses"][0]
    before = nets.made(nets.Together).state_dict()
    assert server["kinds"] == {
        name: [str(array.dtype), list(array.shape)] for name, array in before.items()
    }
    constant = {f"transformer.{name}" for name in ("positions", "mask", "seen")}
    unchanged = set(before) - set(server["changed"])
    # The slope of a bias before a BatchNorm is zero but for rounding, which may not show.
    rounding = {"images.layers.0.bias", "images.layers.4.bias"}
    assert constant <= unchanged <= constant | rounding
    assert server["batches"] == 3 * ROUNDS_OF_TORCH and server["least variance"] > 0
