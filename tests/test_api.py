"""The Python interface: opening, one home in many hands, and what importing it costs."""

from __future__ import annotations

import dataclasses
import inspect
import json
import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import openledger_node
from openledger_node import api
from openledger_node.api import Home, default_home, initialise, open_home
from openledger_node.ledger.errors import OlnError, StoreUnavailable, UsageError
from openledger_node.node import results
from tests.kit.homes import WITNESS, Clock, Coop, words

ROOT = Path(__file__).resolve().parents[1]
WRITERS = 3
EVENTS_EACH = 25


@pytest.fixture
def coop(tmp_path: Path) -> Iterator[Coop]:
    with Coop(tmp_path) as made:
        yield made


# Opening.


def test_the_package_offers_the_door_and_nothing_else() -> None:
    assert openledger_node.open_home is open_home
    for name in api.__all__:
        assert getattr(api, name).__doc__


def test_the_home_is_the_named_one_else_that_of_the_variable_else_the_platforms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    initialise(tmp_path / "named", name="a", clock_ms=Clock())
    monkeypatch.setenv("OLN_HOME", str(tmp_path / "named"))
    assert default_home() == tmp_path / "named"
    with open_home() as home:
        assert home.status().name == "a"
    monkeypatch.delenv("OLN_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    if sys.platform == "linux":
        assert default_home() == tmp_path / "data" / "openledger-node"
    with pytest.raises(UsageError) as caught:
        open_home()
    assert caught.value.code == "no_home"


def test_a_home_is_opened_by_text_too_and_closed_by_leaving(coop: Coop) -> None:
    coop.shut()
    with open_home(str(coop.place / WITNESS)) as home:
        home.datanet_create("x")
    with open_home(coop.place / WITNESS) as home:
        assert len(home.datanet_list().datanets) == 1


def test_a_home_that_cannot_be_opened_is_left_closed(coop: Coop) -> None:
    coop.shut()
    settings = coop.write(f"{WITNESS}/node.toml", "[store]\nnonsense = 1\n")
    with pytest.raises(UsageError) as caught:
        open_home(coop.place / WITNESS)
    assert caught.value.code == "unknown_setting"
    settings.unlink()
    with open_home(coop.place / WITNESS) as home:
        assert home.status().events == 2


def test_a_home_opened_twice_in_one_process_is_refused_and_the_first_goes_on(coop: Coop) -> None:
    home = coop[WITNESS]
    with pytest.raises(StoreUnavailable, match="already open"):
        open_home(coop.place / WITNESS)
    home.datanet_create("still here")
    assert home.status().events == 3


def test_a_home_of_a_newer_version_is_left_alone(coop: Coop) -> None:
    from openledger_node.ledger.encoding import encode

    with coop[WITNESS].core.store.environment.writing() as txn:
        txn.put("meta", b"format", encode(99))
    coop.shut()
    with pytest.raises(OlnError) as caught:
        open_home(coop.place / WITNESS)
    assert (caught.value.code, caught.value.exit_status) == ("newer_version", 3)


def test_a_foreign_device_key_writes_nothing(coop: Coop) -> None:
    coop.join("alice")
    coop.shut()
    keys = coop.place / WITNESS / "keys" / "device.key"
    keys.write_bytes((coop.place / "alice" / "keys" / "device.key").read_bytes())
    with pytest.raises(OlnError) as caught:
        coop[WITNESS].datanet_create("x")
    assert caught.value.code == "foreign_key"
    assert coop[WITNESS].status().events == 2


def test_a_closed_home_refuses_instead_of_failing(coop: Coop) -> None:
    home = coop[WITNESS]
    coop.shut()
    with pytest.raises((OlnError, ValueError)):
        home.datanet_create("x")


# Shapes.


def test_every_command_answers_with_a_frozen_result_that_becomes_json(coop: Coop) -> None:
    home = coop[WITNESS]
    named = coop.add_text(WITNESS, "poems", words("poem", 30))
    shown = [
        home.status(),
        home.ledger_show(),
        home.account_list(),
        home.device_list(),
        home.data_show(named),
        home.credits(),
        home.statement(),
        home.log(),
        home.epoch_list(),
        home.attribute(words("poem", 20).encode()),
        home.explain(named),
    ]
    for result in shown:
        with pytest.raises(AttributeError):
            setattr(result, dataclasses.fields(result)[0].name, "changed")  # type: ignore[arg-type]
        assert isinstance(json.loads(json.dumps(results.as_json(result))), dict)


def test_record_use_has_the_arguments_of_the_page() -> None:
    found = inspect.signature(Home.record_use).parameters
    assert list(found) == [
        "self",
        "model_id",
        "output",
        "retrieved",
        "grant_id",
        "fee_micro",
        "idempotency_key",
    ]


# Many hands.


def test_many_threads_write_to_one_home_and_nothing_is_lost(coop: Coop) -> None:
    home = coop[WITNESS]
    faults: list[BaseException] = []

    def work(writer: int) -> None:
        try:
            for number in range(EVENTS_EACH):
                home.datanet_create(f"{writer}/{number}")
                if number % 8 == 0:
                    home.status()
                if number == 12:
                    home.credits()
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    home.epoch_close()
    shown = home.datanet_list().datanets
    assert {item.name for item in shown} == {
        f"{writer}/{number}" for writer in range(4) for number in range(EVENTS_EACH)
    }
    assert {item.status for item in shown} == {"final"}
    assert home.check().ok


def _write(place: str, writer: int) -> None:
    with open_home(place) as home:
        for number in range(EVENTS_EACH):
            home.datanet_create(f"{writer}/{number}")
        if writer == 0:
            home.epoch_close()


def test_several_processes_write_to_one_home_without_a_fork(coop: Coop) -> None:
    coop.join("reader")
    coop.shut()
    place = str(coop.place / WITNESS)
    context = multiprocessing.get_context("spawn")
    running = [context.Process(target=_write, args=(place, writer)) for writer in range(WRITERS)]
    for process in running:
        process.start()
    for process in running:
        process.join(120)
    assert [process.exitcode for process in running] == [0] * WRITERS
    home = coop[WITNESS]
    home.epoch_close()
    shown = home.datanet_list().datanets
    assert sorted(item.name for item in shown) == sorted(
        f"{writer}/{number}" for writer in range(WRITERS) for number in range(EVENTS_EACH)
    )
    assert (home.status().logs, home.status().alarms) == (1, ())
    assert home.check().ok
    assert not coop.carry(WITNESS, "reader").refused
    assert coop["reader"].statement().state_digest == home.statement().state_digest


# What it costs to begin.

LOADED = """
import sys
from openledger_node import open_home
with open_home(sys.argv[1]) as home:
    home.status()
print(" ".join(sorted(sys.modules)))
"""


def test_opening_a_home_and_its_status_load_nothing_heavy(coop: Coop) -> None:
    coop.shut()
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(coop.place / WITNESS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert "lmdb" in loaded
    heavy = {"numpy", "rich", "click", "trio", "structlog", "platformdirs", "asyncio", "msgpack"}
    assert not loaded & heavy
    late = {"uses", "batches", "scopes", "data", "money", "accounts", "explaining", "care"}
    assert not {f"openledger_node.node.{name}" for name in late} & loaded
    assert not [name for name in loaded if name.startswith("openledger_node.exchange.")]
