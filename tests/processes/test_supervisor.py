"""The supervisor's patience, with children that are no armicro at all."""

import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Literal, cast, get_args

import pytest
from msgspec.structs import replace

from armicro.processes import child as childhood
from armicro.processes import supervisor as supervising
from armicro.processes.child import Process, Usage, usage_of
from armicro.processes.job import Job
from armicro.processes.life import ANALYSIS
from armicro.processes.supervisor import PROCESSES, ChildError, Supervisor
from armicro.rig import Network, Rig
from armicro.wire.ring import Ring
from armicro.wire.topic import Beat, ProcessName
from tests.patience import PATIENCE_S, wait_until

NO_RING = cast(Ring, None)


class Bench:
    """A supervisor of one child, watched turn by turn on a clock of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1000.0
        job = Job("test", "live", Rig(), str(folder / "out"), part="inference")
        self.supervisor = Supervisor(job)
        self.child = self.supervisor._children["infer"]

    def start(self, program: str) -> None:
        process = subprocess.Popen([sys.executable, "-c", program])
        self.child.has_started(process, self.now)

    def hear(self, state: Literal["starting", "running"]) -> None:
        assert self.child.process is not None
        beat = Beat("infer", self.child.process.pid, 0, state)
        self.supervisor._hear(beat)
        # As in each turn.
        self.child.look(self.now)

    def watch(self) -> None:
        self.supervisor._watch(self.child, self.folder, NO_RING)


def row(name: str) -> Process:
    (found,) = (kind for kind in PROCESSES if kind.name == name)
    return found


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    clock = type(
        "Clock", (), {"monotonic": lambda: bench.now, "monotonic_ns": lambda: 1}
    )
    monkeypatch.setattr(supervising, "time", clock)
    yield bench
    if bench.child.process is not None:
        bench.child.process.kill()
        bench.child.process.wait()


def test_child_that_compiles_its_networks_is_not_taken_for_hung(bench: Bench) -> None:
    bench.start("import time; time.sleep(600)")
    bench.hear("starting")
    bench.now += 100.0
    bench.watch()
    assert bench.supervisor.events == []


def test_child_that_ran_and_fell_silent_is_killed(bench: Bench) -> None:
    asleep = bench.folder / "asleep"
    bench.start(f"import time; open({str(asleep)!r}, 'w').close(); time.sleep(600)")
    bench.hear("running")
    child = bench.child.process
    assert child is not None
    wait_until(
        lambda: asleep.exists() and not usage_of(child.pid).is_runnable, child=child
    )
    bench.now += bench.child.kind.silent_s + 1.0
    bench.watch()
    assert child.wait(PATIENCE_S) == -9


def test_silent_child_that_still_works_is_slow_and_not_hung(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.start("import time; time.sleep(600)")
    assert bench.child.process is not None
    spent = iter([10.0, 40.0, 40.0, 40.0])
    monkeypatch.setattr(childhood, "usage_of", lambda pid: Usage(next(spent)))
    bench.hear("running")
    for silent_s, state in ((31.0, None), (200.0, None), (241.0, -9)):
        bench.now = bench.child.heard + silent_s
        bench.watch()
        assert bench.child.process.poll() == state


@pytest.mark.parametrize(
    ("silent_s", "spent_s", "state"),
    [
        (1.0, 1.0, ""),
        (4.0, 3.0, "slow"),
        (4.0, 0.0, ""),
        (4.0, 0.1, ""),
        (4.0, None, ""),
        (200.0, 30.0, "slow"),
    ],
)
def test_only_one_that_is_seen_to_work_is_called_slow(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    silent_s: float,
    spent_s: float | None,
    state: str,
) -> None:
    bench.start("import time; time.sleep(600)")
    # Not runnable, as it may be here while it still loads.
    monkeypatch.setattr(childhood, "usage_of", lambda pid: Usage(10.0))
    bench.hear("running")
    later = None if spent_s is None else 10.0 + spent_s
    monkeypatch.setattr(childhood, "usage_of", lambda pid: Usage(later))
    bench.now = bench.child.heard + silent_s
    bench.watch()
    bench.supervisor._told = "loading"
    bench.supervisor._tell_display(bench.folder)
    assert (bench.folder / ANALYSIS).read_text() == state


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_processor_time_of_a_child_is_read() -> None:
    busy = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "n = 0\nwhile n < 3e6: n += 1\nprint(flush=True)\ninput()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert busy.stdout is not None
    assert usage_of(busy.pid).worked_s is not None
    busy.stdout.readline()
    assert (usage_of(busy.pid).worked_s or 0.0) > 0.05
    busy.communicate(b"\n")
    assert usage_of(busy.pid) == Usage()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize(
    ("program", "runnable"), [("while 1: pass", True), ("input()", False)]
)
def test_child_that_finds_no_core_is_not_hung(program: str, runnable: bool) -> None:
    started = f"print(flush=True)\n{program}"
    child = subprocess.Popen(
        [sys.executable, "-c", started], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()
    wait_until(lambda: usage_of(child.pid).is_runnable == runnable)
    child.kill()
    child.communicate()
    assert not usage_of(child.pid).is_runnable


@pytest.mark.parametrize("life_s", [1.0, 50.0])
def test_child_that_dies_again_and_again_ends_the_session(
    bench: Bench, life_s: float
) -> None:
    def live_and_die() -> None:
        bench.start("raise SystemExit(70)")
        bench.hear("running")
        assert bench.child.process is not None
        bench.child.process.wait(PATIENCE_S)
        bench.now += life_s
        bench.watch()

    for _ in range(5):
        live_and_die()
    with pytest.raises(ChildError, match=r"6 times in a row.*is kept.*run again"):
        live_and_die()


ENDING = """
import signal, sys, time
def end(number, frame):
    time.sleep({seconds})
    open({ended!r}, "w").close()
    raise SystemExit(0)
signal.signal(signal.SIGTERM, end)
open({begun!r}, "w").close()
while True:
    time.sleep(1)
"""


def test_a_child_that_is_slow_to_end_takes_no_time_from_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising, "END_S", 8.0)
    supervisor = Supervisor(Job("test", "replay", Rig(), str(tmp_path / "out")))
    children = supervisor._children
    assert list(children) == ["infer", "capture"]
    for name, seconds in (("infer", 600), ("capture", 1)):
        begun, ended = (tmp_path / f"{name}.{what}" for what in ("begun", "ended"))
        program = ENDING.format(seconds=seconds, begun=str(begun), ended=str(ended))
        process = subprocess.Popen([sys.executable, "-c", program])
        children[cast(ProcessName, name)].has_started(process, 0.0)
        wait_until(begun.exists, child=process)
    supervisor._end()
    assert [c.process and c.process.returncode for c in children.values()] == [-9, 0]
    assert (tmp_path / "capture.ended").exists()


def test_child_that_dies_once_an_hour_is_started_again(bench: Bench) -> None:
    for _ in range(10):
        bench.start("raise SystemExit(70)")
        bench.hear("running")
        assert bench.child.process is not None
        bench.child.process.wait(PATIENCE_S)
        bench.now += 3600.0
        bench.watch()
    assert len(bench.supervisor.events) == 10


def test_what_a_child_leaves_behind_goes_with_the_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = bench.folder / "child"
    child.write_text('#!/bin/sh\nmktemp -d > "$(dirname "$0")/made"\n')
    child.chmod(0o700)
    run = bench.folder / "run"
    run.mkdir()
    monkeypatch.setattr(sys, "executable", str(child))
    ring = cast(Ring, SimpleNamespace(pass_fds=()))
    bench.supervisor._start(bench.child, run, ring)
    assert bench.child.process is not None
    assert bench.child.process.wait(PATIENCE_S) == 0
    assert Path((bench.folder / "made").read_text().strip()).parent == run


def test_the_display_is_told_what_keeps_the_analysis_from_its_work(
    bench: Bench,
) -> None:
    def told() -> str:
        bench.supervisor._tell_display(bench.folder)
        path = bench.folder / ANALYSIS
        return path.read_text() if path.exists() else ""

    assert told() == "loading"
    bench.start("raise SystemExit(70)")
    bench.hear("starting")
    assert told() == "loading"
    bench.hear("running")
    assert told() == ""
    # Slow is not dead: however long it says nothing, it is not called started again.
    bench.now += bench.child.kind.silent_s - 1.0
    assert told() in ("", "slow")
    assert bench.child.process is not None
    bench.child.process.wait(PATIENCE_S)
    bench.watch()
    assert told() == "restarting"
    bench.start("import time; time.sleep(600)")
    bench.hear("starting")
    assert told() == "restarting"
    bench.hear("running")
    assert told() == ""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_child_that_eats_memory_is_started_again_and_one_that_needs_it_is_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def eat(megabytes: int) -> None:
        bench.start(f"import time\nheld = b'x' * ({megabytes} << 20)\ntime.sleep(600)")
        child = bench.child.process
        assert child is not None
        most = megabytes << 20
        wait_until(lambda: (usage_of(child.pid).held_bytes or 0) > most, child=child)
        bench.hear("running")
        bench.watch()

    kind, job = bench.child.kind, bench.supervisor._job
    assert bench.child.most_bytes == supervising.most_bytes(kind, job)
    bench.child.most_bytes = 120_000_000
    eat(50)
    assert bench.child.process is not None
    assert bench.child.process.poll() is None
    bench.child.process.kill()
    bench.child.process.wait()
    eat(200)
    assert bench.child.process.wait(PATIENCE_S) == -9
    bench.watch()
    (event,) = bench.supervisor.events
    assert event.text.startswith("infer held 2")
    assert event.text.endswith("MB of memory, allowed are 120 MB, and is started again")


def test_what_a_child_may_hold_follows_its_fields_and_networks(
    tiny_set: Path,
) -> None:
    small = Job("", "live", Rig(network=Network(set=str(tiny_set))), "", field_bytes=9)
    large = replace(small, field_bytes=9 + 1_000_000)
    shipped = replace(small, rig=Rig())
    nowhere = replace(small, rig=Rig(network=Network(set="none of that name")))
    most = supervising.most_bytes
    grown = supervising.MEMORY_FACTOR * supervising.RING_SLOTS * 1_000_000
    for kind in PROCESSES:
        assert most(kind, large) - most(kind, small) == grown
    infer, display = row("infer"), row("display")
    assert most(infer, shipped) > most(infer, small) > most(infer, nowhere)
    assert most(display, shipped) == most(display, small)


def test_a_keeper_that_is_given_up_is_not_called_started_again(
    bench: Bench,
) -> None:
    bench.child.kind = row("keeper")
    for _ in range(6):
        bench.start("raise SystemExit(70)")
        assert bench.child.process is not None
        bench.child.process.wait(PATIENCE_S)
        bench.watch()
    last = bench.supervisor.events[-1].text
    assert last == "keeper ended with status 70 and is left: no whole map is kept"


JOBS: list[tuple[dict[str, object], str]] = [
    ({}, "infer keeper display capture"),
    ({"display": "none"}, "infer keeper capture"),
    ({"mode": "replay"}, "infer display capture"),
    ({"part": "microscope"}, "display capture"),
    ({"part": "inference"}, "infer"),
]


@pytest.mark.parametrize(("asked", "ends"), JOBS)
def test_one_table_says_who_runs_and_in_which_order_they_end(
    asked: dict[str, object], ends: str
) -> None:
    job = replace(Job("", "live", Rig(), "", display="window"), **asked)
    assert " ".join(Supervisor(job)._children) == ends


def test_every_process_of_the_table_is_a_module_with_its_loop() -> None:
    assert {kind.name for kind in PROCESSES} == set(get_args(ProcessName))
    for kind in PROCESSES:
        module = importlib.import_module(f"armicro.processes.{kind.name}")
        assert list(inspect.signature(module.run).parameters) == ["job", "life"]
