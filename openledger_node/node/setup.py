"""How a home begins: a new solo ledger, or an account that joins a ledger by its genesis file.

A home is made whole in a folder beside its place and moved there at the end, so that a half-made
one never passes for a home. What it holds:

    HOME/keys/{device,root,transport}.key   secret keys, mode 0600
    HOME/recovery-<account>.json            the next root key: to be moved off this machine
    HOME/ledger/                            the store (LMDB)
    HOME/payloads/                          large payloads
    HOME/instance.json                      what tells a copied home from the original
    HOME/node.toml                          settings, when the user writes them

State is never created by the way: every other command refuses a folder that is not a home.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from openledger_node.credit.fold import initial_state
from openledger_node.ledger.accounts import (
    AccountCreate,
    Inception,
    device_signature,
    next_commitment,
    root_signatures,
)
from openledger_node.ledger.encoding import encode
from openledger_node.ledger.errors import BadInput, Refused, UsageError
from openledger_node.ledger.events import LogGenesis
from openledger_node.ledger.genesis import (
    MAX_AMOUNT_MICRO,
    Genesis,
    Succession,
    genesis_fault,
    solo_params,
)
from openledger_node.ledger.keys import SigningKey
from openledger_node.ledger.names import account_short
from openledger_node.node import keyfiles
from openledger_node.node.founding import (
    SUCCEEDS_FACT,
    checked_ledger_name,
    params_from,
    read_founding_file,
)
from openledger_node.node.results import Initialised
from openledger_node.store.places import move_into_place, staging_for
from openledger_node.store.store import Store
from openledger_node.store.writer import Draft, LogWriter

MAX_PETNAME_CHARS: Final = 64


@dataclass(frozen=True, slots=True)
class NewKeys:
    """The four keys of a fresh account on its first device."""

    root: SigningKey
    next_root: SigningKey
    device: SigningKey
    transport: SigningKey


def new_keys(seed: Callable[[], bytes] = keyfiles.new_seed) -> NewKeys:
    return NewKeys(*(SigningKey(seed()) for _ in range(4)))


def inception_of(keys: NewKeys, salt: bytes) -> Inception:
    """A new account's inception: one root key now, one committed to (K3)."""
    commitment = next_commitment([keys.next_root.public.raw], 1)
    return Inception(1, (keys.root.public.raw,), 1, commitment, salt)


def create_body(
    ledger_id: bytes, inception: Inception, root: SigningKey, device: SigningKey
) -> AccountCreate:
    """The body of `account.create` (K4)."""
    account_id = inception.account_id
    signed = device_signature(device, ledger_id, account_id)
    so_far = [account_id, 0, None, inception, device.public.raw, signed]
    return AccountCreate(
        account_id,
        0,
        None,
        inception,
        device.public.raw,
        signed,
        root_signatures(ledger_id, so_far, [(0, root)]),
    )


def checked_petname(petname: str) -> str:
    """A name that people can tell from an id, on one line."""
    clean = petname.strip()
    if not clean or len(clean) > MAX_PETNAME_CHARS or not clean.isprintable():
        raise UsageError(
            f"a petname has 1 to {MAX_PETNAME_CHARS} printable characters", hint="choose another"
        )
    if clean.lower().startswith("acct-"):
        raise UsageError(
            "a petname may not look like an account's short form", hint="choose another"
        )
    return clean


def initialise(
    home: Path,
    *,
    name: str | None = None,
    genesis_file: Path | None = None,
    params_file: Path | None = None,
    ledger_name: str | None = None,
    passphrase: bytes | None = None,
    clock_ms: Callable[[], int],
) -> Initialised:
    """Makes a home with a new account: on a new solo ledger, or on the ledger of `genesis_file`."""
    refuse_used_place(home)
    name = checked_petname(name) if name is not None else None
    if genesis_file is not None and params_file is not None:
        raise UsageError(
            "a ledger that is joined has its params in its genesis", hint="leave --params out"
        )
    if genesis_file is not None and ledger_name is not None:
        raise UsageError(
            "a ledger that is joined has its name in its genesis", hint="leave --ledger-name out"
        )
    keys = new_keys()
    inception = inception_of(keys, secrets.token_bytes(16))
    succession: Succession | None = None
    if genesis_file is None:
        title = f"{name}'s ledger" if name else "solo ledger"
        if ledger_name is not None:
            title = checked_ledger_name(ledger_name)
        genesis = _solo_genesis(title, inception, keys, params_file)
    else:
        genesis, succession = read_founding_file(genesis_file)
    staging = staging_for(home, "init")
    try:
        log_id, recovery = _build(
            staging, genesis, inception, keys, name, passphrase, clock_ms(), succession
        )
        move_into_place(staging, home)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return Initialised(
        account_id=inception.account_id.hex(),
        account=account_short(inception.account_id),
        ledger_id=genesis.ledger_id.hex(),
        log_id=log_id.hex(),
        node_id=keys.transport.public.raw.hex(),
        home=str(home),
        recovery_file=str(home / recovery),
        name=name or "",
        solo=genesis_file is None,
    )


def _build(
    place: Path,
    genesis: Genesis,
    inception: Inception,
    keys: NewKeys,
    name: str | None,
    passphrase: bytes | None,
    time_ms: int,
    succession: Succession | None = None,
) -> tuple[bytes, str]:
    """Fills `place` with a home; the id of its first log, and the recovery file's name."""
    place.mkdir(parents=True, mode=0o700)
    for role, key in (
        ("device", keys.device),
        ("root", keys.root),
        ("transport", keys.transport),
    ):
        keyfiles.save_key(place / "keys", role, key, passphrase)
    recovery = write_recovery(place, inception.account_id, keys.next_root, inception, passphrase)
    opened = begin_ledger(
        place, genesis, inception, keys.root, keys.device, name, time_ms, succession
    )
    return opened, recovery


def begin_ledger(
    place: Path,
    genesis: Genesis,
    inception: Inception,
    root: SigningKey,
    device: SigningKey,
    name: str | None,
    time_ms: int,
    succession: Succession | None = None,
) -> bytes:
    """The store of a new home, with its first log and the account's creation; the log's id."""
    account_id = inception.account_id
    with Store.create(place, genesis) as store:
        store.commit_epoch(initial_state(genesis), ())
        store.set_own_account(account_id, device.public.raw)
        if name:
            store.set_petname(account_id, name)
        if succession is not None:
            store.set_facts(SUCCEEDS_FACT, [(b"", encode(succession))])
        opened = open_log(store, genesis.ledger_id, account_id, device, None, time_ms)
        with LogWriter(store, opened, device) as writer:
            created = create_body(genesis.ledger_id, inception, root, device)
            writer.append([Draft("account.create", created, time_ms)])
    return opened


def open_log(
    store: Store,
    ledger_id: bytes,
    account_id: bytes,
    device: SigningKey,
    previous: bytes | None,
    time_ms: int,
) -> bytes:
    """Begins a new log of this device incarnation (L3) and makes it the current one; its id."""
    nonce = secrets.token_bytes(16)
    genesis = LogGenesis(1, ledger_id, account_id, device.public.raw, nonce, previous)
    store.begin_log(genesis, device, time_ms)
    return genesis.log_id


def write_recovery(
    place: Path,
    account_id: bytes,
    next_root: SigningKey,
    inception: Inception,
    passphrase: bytes | None,
) -> str:
    """Writes the recovery file into `place`; its name."""
    name = f"recovery-{account_short(account_id)}.json"
    document = {
        "openledger": "recovery",
        "version": 1,
        "account_id": account_id.hex(),
        "inception": encode(inception).hex(),
        "next_root": keyfiles.key_document("next_root", next_root, passphrase),
    }
    keyfiles.write_private(place / name, json.dumps(document, indent=1) + "\n")
    return name


def refuse_used_place(home: Path) -> None:
    """A home is begun in a new or empty folder only."""
    if home.is_symlink() and not home.exists():
        raise UsageError(f"{home} is a link to nowhere", hint="name another folder with --home")
    if not home.exists():
        return
    if not home.is_dir():
        raise UsageError(f"{home} is a file", hint="name a folder with --home")
    if (home / "ledger").exists():
        raise Refused(
            f"{home} is a home already",
            hint="use it as it is, or name another folder with --home",
            code="home_exists",
        )
    if any(home.iterdir()):
        raise Refused(
            f"{home} is not empty",
            hint="name a new or empty folder with --home",
            code="home_not_empty",
        )


def _solo_genesis(
    title: str, inception: Inception, keys: NewKeys, params_file: Path | None
) -> Genesis:
    account = inception.account_id
    params = solo_params(account)
    if params_file is not None:
        params = params_from(params_file, params, account)
    genesis = Genesis(
        version=1,
        name=title,
        salt=secrets.token_bytes(16),
        rules_version=1,
        params=params,
        seats=((inception, keys.device.public.raw),),
        issuers=((account, MAX_AMOUNT_MICRO),),
    )
    fault = genesis_fault(genesis)
    if fault:
        raise BadInput(f"the ledger cannot begin so: {fault}")
    return genesis
