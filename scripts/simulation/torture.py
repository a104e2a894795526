"""`scripts/torture`: real daemons on loopback, killed and cut off at random, then healed.

Each node's peers are reached through proxies that the script can cut, and that delay what they
carry. While it lasts, every node appends events through the Python interface, beside its daemon;
what was acknowledged is noted. Now and then a node's disk is full: its files may not grow. At the
end everything is started and joined again, and it is checked that all nodes hold the same logs,
that no acknowledged event is missing anywhere, and that after a closed epoch all statements are the
same bytes. With several witnesses their daemons close the epochs, and at the end all that was
acknowledged has to be final, with evidence against nobody. Ends with status 1 where one of these
does not hold.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import trio

from openledger_node.api import initialise, open_home
from openledger_node.credit import views
from openledger_node.node.witness_logs import all_evidence
from tests.kit.seats import begin_together

READY_S: Final = 20
HEAL_S: Final = 60
STEP_S: Final = 0.4


@dataclass
class Node:
    """One home, its daemon when it runs, and the events that it acknowledged."""

    number: int
    home: Path
    port: int
    node_id: str = ""
    process: subprocess.Popen[bytes] | None = None
    acknowledged: list[str] = field(default_factory=list)

    def start(self) -> None:
        log = (self.home.parent / f"{self.home.name}.log").open("ab")
        command = [sys.executable, "-m", "openledger_node", "--home", str(self.home), "node"]
        self.process = subprocess.Popen(
            [*command, "--listen", f"127.0.0.1:{self.port}"], stdout=log, stderr=log
        )
        log.close()

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self) -> int:
        """Ends it politely; its exit status."""
        if self.process is None:
            return 0
        self.process.terminate()
        status = self.process.wait(READY_S)
        self.process = None
        return status

    def append(self, text: str) -> None:
        with open_home(self.home, catch_up=False) as home:
            self.acknowledged.append(home.datanet_create(text).datanet_id)

    def fill_disk(self) -> None:
        """From now on the files of the running daemon may not grow."""
        self._limit_files((self.home / "ledger" / "data.mdb").stat().st_size)

    def free_disk(self) -> None:
        self._limit_files(None)

    def _limit_files(self, size_bytes: int | None) -> None:
        if self.process is None or sys.platform != "linux":
            return
        import resource

        kind = resource.RLIMIT_FSIZE
        _, most = resource.prlimit(self.process.pid, kind)
        limit = most if size_bytes is None else size_bytes
        resource.prlimit(self.process.pid, kind, (limit, most))


class Cable:
    """A proxy in front of one node as another one sees it. Cut, it drops what it carries; what it
    carries it delays by `delay_s` on average.
    """

    def __init__(self, target: int, rng: random.Random, delay_s: float = 0.0) -> None:
        self.target = target
        self._rng = rng
        self._delay_s = delay_s
        self.is_cut = False
        self.port = 0
        self._scopes: set[trio.CancelScope] = set()

    def cut(self) -> None:
        self.is_cut = True
        for scope in self._scopes:
            scope.cancel()

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._carry, listeners)

    async def _carry(self, near: trio.SocketStream) -> None:
        scope = trio.CancelScope()
        self._scopes.add(scope)
        try:
            with scope:
                if self.is_cut:
                    return
                far = await trio.open_tcp_stream("127.0.0.1", self.target)
                async with far, trio.open_nursery() as nursery:
                    nursery.start_soon(self._pipe, near, far, nursery.cancel_scope)
                    nursery.start_soon(self._pipe, far, near, nursery.cancel_scope)
        except OSError:
            return
        finally:
            self._scopes.discard(scope)
            await trio.aclose_forcefully(near)

    async def _pipe(
        self, source: trio.SocketStream, target: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        try:
            async for data in source:
                if self._delay_s:
                    await trio.sleep(self._rng.expovariate(1 / self._delay_s))
                await target.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            scope.cancel()
            return
        scope.cancel()


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens at now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def begin(place: Path, count: int, witnesses: int) -> list[Node]:
    """Homes on one ledger; the first so many are its witnesses."""
    nodes = []
    genesis = place / "genesis.json"
    names = [f"n{number}" for number in range(count)]
    if witnesses > 1:
        begin_together(place, names[:witnesses], epoch_ms=1_000, t0_ms=500)
    for number, port in enumerate(free_ports(count)):
        node = Node(number, place / names[number], port)
        if witnesses == 1 or number >= witnesses:
            initialise(node.home, name=names[number], genesis_file=genesis if number else None)
        with open_home(node.home) as home:
            node.node_id = home.node_id
            if not number and witnesses == 1:
                home.ledger_export(genesis)
        nodes.append(node)
    return nodes


def join(nodes: list[Node], cables: dict[tuple[int, int], Cable]) -> None:
    """Every node knows every node before it, through its cable."""
    for node in nodes:
        with open_home(node.home) as home:
            for other in nodes[: node.number]:
                cable = cables[node.number, other.number]
                home.peer_add(f"{other.node_id}@127.0.0.1:{cable.port}")


def start_all(nodes: list[Node]) -> None:
    for node in nodes:
        if node.process is None:
            node.start()


def heal(nodes: list[Node], cables: dict[tuple[int, int], Cable]) -> None:
    """Joins everybody, and gives every disk room."""
    for cable in cables.values():
        cable.is_cut = False
    for node in nodes:
        node.free_disk()


async def hurt(
    nodes: list[Node], cables: dict[tuple[int, int], Cable], rng: random.Random, seconds: float
) -> dict[str, int]:
    """Appends, kills, starts, cuts and joins at random."""
    done = {"appends": 0, "kills": 0, "partitions": 0, "full disks": 0}
    until = trio.current_time() + seconds
    while trio.current_time() < until:
        await trio.sleep(STEP_S * rng.random())
        node = rng.choice(nodes)
        chance = rng.random()
        if chance < 0.6:
            await trio.to_thread.run_sync(node.append, f"e{done['appends']}")
            done["appends"] += 1
        elif chance < 0.75 and node.process is not None:
            await trio.to_thread.run_sync(node.kill)
            done["kills"] += 1
        elif chance < 0.87:
            start_all(nodes)
        elif chance < 0.9:
            node.fill_disk()
            done["full disks"] += 1
        elif chance < 0.95:
            side = set(rng.sample(range(len(nodes)), len(nodes) // 2))
            for (one, other), cable in cables.items():
                if (one in side) != (other in side):
                    cable.cut()
            done["partitions"] += 1
        else:
            heal(nodes, cables)
    return done


def marks_of(node: Node) -> str:
    """What a node holds, as text that can be compared."""
    with open_home(node.home, catch_up=False) as home, home.core.store.read() as snapshot:
        held = sorted((m.log_id.hex(), m.size, m.root.hex()) for m in snapshot.marks())
    return json.dumps(held)


async def until_same(nodes: list[Node], seconds: float, what: Callable[[Node], str]) -> bool:
    deadline = trio.current_time() + seconds
    while trio.current_time() < deadline:
        found = {await trio.to_thread.run_sync(what, node) for node in nodes}
        if len(found) == 1:
            return True
        await trio.sleep(0.25)
    return False


def statement_of(node: Node) -> str:
    with open_home(node.home) as home:
        shown = home.statement()
        return f"{shown.epoch} {shown.statement_root}"


def missing(nodes: list[Node]) -> list[str]:
    """Acknowledged events that some node does not hold."""
    lost = []
    for node in nodes:
        with open_home(node.home, catch_up=False) as home, home.core.store.read() as snapshot:
            held = {event[2].hex() for log in snapshot.logs() for event in _events(snapshot, log)}
        lost += [
            f"node {node.number} lacks {event} of node {writer.number}"
            for writer in nodes
            for event in writer.acknowledged
            if event not in held
        ]
    return lost


def _events(snapshot: object, log: object) -> list[tuple[bytes, int, bytes]]:
    from openledger_node.ledger.events import event_ids

    leaves = snapshot.leaves(log.log_id, 0, log.size)  # type: ignore[attr-defined]
    log_id: bytes = log.log_id  # type: ignore[attr-defined]
    return [(log_id, seq, found) for seq, found in enumerate(event_ids(log_id, 0, leaves))]


def waiting(nodes: list[Node]) -> list[str]:
    """Acknowledged events that are not final at some node, and who is accused there."""
    found = []
    for node in nodes:
        with open_home(node.home) as home, home.core.store.read() as snapshot:
            accused = all_evidence(home.core, snapshot)
            found += [f"node {node.number} accuses seat {one.seat}" for _, one in accused]
            for writer in nodes:
                for event in writer.acknowledged:
                    if views.datanet(snapshot.state, bytes.fromhex(event)) is None:
                        found.append(f"{event} of node {writer.number} waits at {node.number}")
    return found


async def finish(nodes: list[Node], witnesses: int) -> list[str]:
    """Closes an epoch, or waits until the witnesses have closed one with everything in it."""
    problems = []
    if witnesses == 1:
        with open_home(nodes[0].home) as home:
            home.epoch_close()
    else:
        await trio.to_thread.run_sync(nodes[0].append, "after all")
        deadline = trio.current_time() + HEAL_S
        while problems := await trio.to_thread.run_sync(waiting, nodes):
            if trio.current_time() > deadline:
                break
            await trio.sleep(1)
    if not await until_same(nodes, HEAL_S, statement_of):
        problems.append("the nodes have different statements")
    return problems


async def play(
    count: int, witnesses: int, seconds: float, seed: int, delay_s: float, place: Path
) -> int:
    rng = random.Random(seed)
    nodes = await trio.to_thread.run_sync(begin, place, count, witnesses)
    cables = {
        (one.number, other.number): Cable(other.port, rng, delay_s)
        for one in nodes
        for other in nodes[: one.number]
    }
    problems: list[str] = []
    async with trio.open_nursery() as nursery:
        for cable in cables.values():
            await nursery.start(cable.run)
        await trio.to_thread.run_sync(join, nodes, cables)
        for node in nodes:
            node.start()
        try:
            done = await hurt(nodes, cables, rng, seconds)
            heal(nodes, cables)
            start_all(nodes)
            began = trio.current_time()
            if not await until_same(nodes, HEAL_S, marks_of):
                problems.append("the nodes hold different logs")
            healed_s = trio.current_time() - began
            problems += await trio.to_thread.run_sync(missing, nodes)
            problems += await finish(nodes, witnesses)
            closed = await trio.to_thread.run_sync(statement_of, nodes[0])
        finally:
            statuses = [node.stop() for node in nodes]
        if any(statuses):
            problems.append(f"exit statuses {statuses}")
        nursery.cancel_scope.cancel()
    print(
        f"seed {seed}: {count} nodes, {witnesses} witnesses, "
        + ", ".join(f"{times} {what}" for what, times in done.items())
        + f" in {seconds:.0f} s; healed in {healed_s:.1f} s; epoch and statement {closed[:20]}"
    )
    for problem in problems[:20]:
        print(f"PROBLEM: {problem}")
    return 1 if problems else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/torture", description=__doc__.split("\n")[0])
    parser.add_argument("--nodes", type=int, default=7)
    parser.add_argument("--witnesses", type=int, default=1, help="how many of them have a seat")
    parser.add_argument("--delay-ms", type=float, default=0, help="of what links carry, on average")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="leave the homes and logs in a new folder")
    given = parser.parse_args()
    place = given.keep or Path(tempfile.mkdtemp(prefix="oln-torture-"))
    place.mkdir(parents=True, exist_ok=True)
    try:
        sizes = given.nodes, given.witnesses, given.seconds, given.seed
        return trio.run(partial(play, *sizes, given.delay_ms / 1000, place))
    finally:
        if given.keep is None:
            shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
