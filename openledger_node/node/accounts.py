"""Accounts and devices: petnames, shares taken, keys rotated, devices enrolled and retired.

The home holds the current root key; the recovery file the next one, which only its commitment is
known of (K3). Rotation uses the recovery file and writes a new one. `device invite` makes the
second device's key here, signs it in, and writes an invitation that is a secret: whoever holds the
file is that device. Recovery runs on a fresh home that holds the account's logs: it rotates with
the recovery file's key and enrols the fresh home's device in the account.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from openledger_node.credit import views
from openledger_node.ledger.accounts import (
    MAX_RETIRED_LOGS,
    AccountAddDevice,
    AccountRetireDevice,
    AccountRotate,
    KeyChain,
    device_signature,
    key_event_digest,
    next_commitment,
    parse_inception,
    root_signatures,
)
from openledger_node.ledger.errors import BadInput, Refused, UsageError
from openledger_node.ledger.genesis import parse_genesis
from openledger_node.ledger.keys import SigningKey
from openledger_node.ledger.kinds import AccountAccept
from openledger_node.ledger.merkle import HASH_BYTES
from openledger_node.ledger.names import account_short, did_key, parse_did_key
from openledger_node.node import keyfiles
from openledger_node.node.core import NodeCore
from openledger_node.node.finality import judged_append
from openledger_node.node.lookup import called, find_account, find_id, hex_prefix
from openledger_node.node.pending import pending_view
from openledger_node.node.results import (
    Account,
    Accounts,
    Device,
    Devices,
    FileWritten,
    Initialised,
    Recorded,
)
from openledger_node.node.results_registry import OpenGrant
from openledger_node.node.setup import checked_petname, open_log, refuse_used_place
from openledger_node.store.places import move_into_place, staging_for
from openledger_node.store.snapshot import Snapshot
from openledger_node.store.store import Store

MAX_INVITATION_BYTES: Final = 256 * 1024


def account_show(core: NodeCore, text: str | None = None) -> Account:
    with core.store.read() as snapshot:
        account_id = find_account(snapshot, text) if text else core.account_id
        shown = _shown(core, snapshot, account_id)
        return replace(shown, grants=_open_grants(snapshot, account_id))


def account_list(core: NodeCore) -> Accounts:
    """Own account first, then all that the ledger or this home's logs know, by name."""
    with core.store.read() as snapshot:
        found = {log.genesis.account_id for log in snapshot.logs()} | set(snapshot.petnames())
        found |= {view.account_id for view in views.accounts(snapshot.state)}
        shown = [_shown(core, snapshot, account_id) for account_id in sorted(found)]
    shown.sort(key=lambda account: (not account.own, account.name or "~", account.account_id))
    return Accounts(tuple(shown))


def _shown(core: NodeCore, snapshot: Snapshot, account_id: bytes) -> Account:
    chain = views.chain(snapshot.state, account_id)
    rules = views.rules(snapshot.state)
    devices = [] if chain is None else [d for d, closed in chain.devices.items() if closed is None]
    return Account(
        account_id=account_id.hex(),
        account=account_short(account_id),
        name=snapshot.petnames().get(account_id),
        own=account_id == core.account_id,
        known=chain is not None,
        devices=tuple(did_key(device) for device in devices),
        key_events=chain.n if chain else 0,
        seat=any(account == account_id for account, _ in rules.seats),
        issuer=any(account == account_id for account, _ in rules.issuers),
        grants=(),
    )


def _open_grants(snapshot: Snapshot, account_id: bytes) -> tuple[OpenGrant, ...]:
    """Final grants that the account made or may draw on, with something left; ascending by id."""
    return tuple(
        OpenGrant(
            grant.grant_id.hex(),
            called(snapshot, grant.payer),
            called(snapshot, grant.provider),
            grant.remaining_micro,
            grant.amount_micro,
            grant.expiry_epoch,
        )
        for grant in views.grants(snapshot.state)
        if account_id in (grant.payer, grant.provider) and grant.remaining_micro
    )


def account_name(core: NodeCore, text: str, petname: str) -> Account:
    """Gives an account a name that only this home knows."""
    clean = checked_petname(petname)
    with core.store.read() as snapshot:
        account_id = find_account(snapshot, text)
        taken = [a for a, name in snapshot.petnames().items() if name == clean and a != account_id]
    if taken:
        raise UsageError(
            f"{clean!r} already names {account_short(taken[0])}", hint="choose another petname"
        )
    core.store.set_petname(account_id, clean)
    return account_show(core, account_id.hex())


def account_accept(core: NodeCore, text: str) -> Recorded:
    """Takes one's share as a named creator, or accepts a derivation of one's contribution."""
    with core.store.read() as snapshot:
        target = find_id(snapshot, text, "data.contribute", "model.register", "data.derivation")
    return judged_append(core, "account.accept", AccountAccept(target))


def _chain(core: NodeCore, account_id: bytes) -> KeyChain:
    """The account's chain with its pending key events."""
    with core.store.read() as snapshot:
        chain = views.chain(pending_view(core, snapshot).state, account_id)
    if chain is None:
        raise Refused(
            f"account {account_short(account_id)} is not created in any log held here",
            hint="import the account's logs first",
        )
    return chain


def _root_signers(core: NodeCore, chain: KeyChain) -> list[tuple[int, SigningKey]]:
    root = core.key("root")
    if root.public.raw not in chain.root_keys:
        raise Refused(
            "the root key of this home is not the account's current one",
            hint="the account was rotated elsewhere: use that machine, or the recovery file",
        )
    if chain.threshold > 1:
        raise Refused(
            f"the account needs {chain.threshold} root signatures and this home has one key"
        )
    return [(chain.root_keys.index(root.public.raw), root)]


def account_rotate(core: NodeCore, recovery_file: Path, new_recovery_file: Path) -> Recorded:
    """Replaces the root key by the one in the recovery file, and commits to a new next one."""
    chain = _chain(core, core.account_id)
    next_root, document = read_recovery(recovery_file, core.account_id, core.passphrase)
    fresh = SigningKey(keyfiles.new_seed())
    body = _rotation(core.ledger_id, chain, next_root, fresh)
    fault = chain.fault(body, core.ledger_id)
    if fault:
        raise Refused(f"the rotation would be void: {fault}", code="K4")
    document["next_root"] = keyfiles.key_document("next_root", fresh, core.passphrase)
    keyfiles.write_private(new_recovery_file, json.dumps(document, indent=1) + "\n")
    done = judged_append(core, "account.rotate", body)
    sealed = keyfiles.key_document("root", next_root, core.passphrase)
    keyfiles.replace_private(core.home / "keys" / "root.key", json.dumps(sealed, indent=1) + "\n")
    core.forget_key("root")
    return done


def _rotation(
    ledger_id: bytes, chain: KeyChain, next_root: SigningKey, fresh: SigningKey
) -> AccountRotate:
    keys = (next_root.public.raw,)
    commitment = next_commitment([fresh.public.raw], 1)
    so_far = [chain.account_id, chain.n, chain.digest, keys, 1, commitment]
    signatures = root_signatures(ledger_id, so_far, [(0, next_root)])
    return AccountRotate(chain.account_id, chain.n, chain.digest, keys, 1, commitment, signatures)


def read_recovery(
    path: Path, account_id: bytes | None, passphrase: bytes | None
) -> tuple[SigningKey, dict[str, Any]]:
    """The next root key in a recovery file, and the file's document."""
    document = keyfiles.read_json(path, "the recovery file", 64 * 1024)
    try:
        if document["openledger"] != "recovery" or document["version"] != 1:
            raise BadInput(f"{path} is not a recovery file of version 1")
        named = bytes.fromhex(document["account_id"])
        parse_inception(bytes.fromhex(document["inception"]))
        key = keyfiles.key_from_document(document["next_root"], "next_root", passphrase)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadInput(f"{path} is not a recovery file") from None
    if account_id is not None and named != account_id:
        raise Refused(
            f"{path} belongs to account {account_short(named)}, not {account_short(account_id)}"
        )
    return key, document


def account_recover(core: NodeCore, recovery_file: Path, new_recovery_file: Path) -> Recorded:
    """Takes a lost account over on this fresh home, whose device is enrolled in it."""
    next_root, document = read_recovery(recovery_file, None, core.passphrase)
    account_id = bytes.fromhex(document["account_id"])
    chain = _chain(core, account_id)
    device = core.key("device")
    fresh = SigningKey(keyfiles.new_seed())
    rotation = _rotation(core.ledger_id, chain, next_root, fresh)
    fault = chain.fault(rotation, core.ledger_id)
    if fault:
        raise Refused(
            f"the recovery would be void: {fault}",
            hint="import the account's newest logs, and use its newest recovery file",
            code="K4",
        )
    chain = chain.then(rotation)
    enrolment = _enrolment(core.ledger_id, chain, device, [(0, next_root)])
    document["next_root"] = keyfiles.key_document("next_root", fresh, core.passphrase)
    keyfiles.write_private(new_recovery_file, json.dumps(document, indent=1) + "\n")
    core.become(account_id)
    drafts = [core.draft("account.rotate", rotation), core.draft("account.add_device", enrolment)]
    done = core.append(drafts)
    sealed = keyfiles.key_document("root", next_root, core.passphrase)
    keyfiles.replace_private(core.home / "keys" / "root.key", json.dumps(sealed, indent=1) + "\n")
    core.forget_key("root")
    return done[0]


def _enrolment(
    ledger_id: bytes,
    chain: KeyChain,
    device: SigningKey,
    signers: list[tuple[int, SigningKey]],
) -> AccountAddDevice:
    raw = device.public.raw
    signed = device_signature(device, ledger_id, chain.account_id)
    so_far = [chain.account_id, chain.n, chain.digest, raw, signed]
    signatures = root_signatures(ledger_id, so_far, signers)
    return AccountAddDevice(chain.account_id, chain.n, chain.digest, raw, signed, signatures)


def device_list(core: NodeCore) -> Devices:
    """The devices of the own account."""
    with core.store.read() as snapshot:
        chain = views.chain(snapshot.state, core.account_id)
        logs = [
            (log.genesis.device, log.log_id.hex())
            for log in snapshot.logs()
            if log.genesis.account_id == core.account_id
        ]
    enrolled = chain.devices if chain else {}
    devices = dict.fromkeys([core.device, *enrolled, *(device for device, _ in logs)])
    return Devices(
        tuple(
            Device(
                device=device.hex(),
                did=did_key(device),
                account_id=core.account_id.hex(),
                own=device == core.device,
                retired=enrolled.get(device) is not None,
                logs=tuple(log_id for owner, log_id in logs if owner == device),
            )
            for device in devices
        )
    )


def device_invite(core: NodeCore, file: Path) -> FileWritten:
    """Enrols a new device key and writes the invitation that carries it. The file is a secret."""
    chain = _chain(core, core.account_id)
    device = SigningKey(keyfiles.new_seed())
    body = _enrolment(core.ledger_id, chain, device, _root_signers(core, chain))
    from openledger_node.ledger.encoding import encode

    document = {
        "openledger": "invitation",
        "version": 1,
        "account_id": core.account_id.hex(),
        "genesis": encode(core.genesis).hex(),
        "key_event": key_event_digest(body).hex(),
        "device": keyfiles.key_document("device", device, core.passphrase),
    }
    text = json.dumps(document, indent=1) + "\n"
    keyfiles.write_private(file, text)
    judged_append(core, "account.add_device", body)
    return FileWritten(str(file), len(text))


def device_join(
    home: Path,
    file: Path,
    *,
    passphrase: bytes | None,
    clock_ms: Callable[[], int],
) -> Initialised:
    """Makes a home for a second device of an account, from an invitation."""
    refuse_used_place(home)
    document = keyfiles.read_json(file, "the invitation", MAX_INVITATION_BYTES)
    try:
        if document["openledger"] != "invitation" or document["version"] != 1:
            raise BadInput(f"{file} is not an invitation of version 1")
        account_id = bytes.fromhex(document["account_id"])
        genesis = parse_genesis(bytes.fromhex(document["genesis"]))
        device = keyfiles.key_from_document(document["device"], "device", passphrase)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadInput(f"{file} is not an invitation") from None
    if len(account_id) != HASH_BYTES:
        raise BadInput(f"{file} names an account of {len(account_id)} bytes, not {HASH_BYTES}")
    transport = SigningKey(keyfiles.new_seed())
    staging = staging_for(home, "join")
    try:
        staging.mkdir(parents=True, mode=0o700)
        for role, key in (("device", device), ("transport", transport)):
            keyfiles.save_key(staging / "keys", role, key, passphrase)
        from openledger_node.credit.fold import initial_state

        with Store.create(staging, genesis) as store:
            store.commit_epoch(initial_state(genesis), ())
            store.set_own_account(account_id, device.public.raw)
            log_id = open_log(store, genesis.ledger_id, account_id, device, None, clock_ms())
        move_into_place(staging, home)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return Initialised(
        account_id=account_id.hex(),
        account=account_short(account_id),
        ledger_id=genesis.ledger_id.hex(),
        log_id=log_id.hex(),
        node_id=transport.public.raw.hex(),
        home=str(home),
        recovery_file="",
        name="",
        solo=False,
    )


def device_retire(core: NodeCore, text: str) -> Recorded:
    """Closes all logs of a device of the own account where this home last saw them.

    Those that one event has no room to list close where they stood in the last cut. So those are
    listed first that a cut has, of them those that have grown since, and of all those that came
    first: who stole the device's key may have opened any number.
    """
    raw = _device(core, text)
    chain = _chain(core, core.account_id)
    found = []
    with core.store.read() as snapshot:
        for log in snapshot.logs():
            owner = log.genesis.account_id, log.genesis.device
            if owner == (core.account_id, raw) and log.head is not None:
                mark = snapshot.cut_mark(log.log_id)
                rank = 2 if mark is None else int(mark.size == log.head.size)
                found.append((rank, (log.log_id, log.head.size)))
    found.sort(key=lambda each: each[0])
    logs = tuple(log for _, log in found[:MAX_RETIRED_LOGS])
    so_far = [chain.account_id, chain.n, chain.digest, raw, logs]
    signatures = root_signatures(core.ledger_id, so_far, _root_signers(core, chain))
    body = AccountRetireDevice(chain.account_id, chain.n, chain.digest, raw, logs, signatures)
    fault = chain.fault(body, core.ledger_id)
    if fault:
        raise Refused(f"the retirement would be void: {fault}", code="K4")
    return judged_append(core, "account.retire_device", body)


def _device(core: NodeCore, text: str) -> bytes:
    if text.startswith("did:key:"):
        raw = parse_did_key(text)
    else:
        named = hex_prefix(text, "device id")
        digits = named.hex() if isinstance(named, bytes) else named
        found = [d.device for d in device_list(core).devices if d.device.startswith(digits)]
        if len(found) != 1:
            many = "several devices" if found else "no device"
            raise UsageError(
                f"{many} of this account begin{'' if found else 's'} with {text!r}",
                hint="`oln device list` shows them",
                code="ambiguous_id" if found else "unknown_id",
            )
        raw = bytes.fromhex(found[0])
    if raw == core.device:
        raise Refused(
            "this home's own device cannot retire itself",
            hint="retire it from another device of the account, or recover the account elsewhere",
        )
    return raw
