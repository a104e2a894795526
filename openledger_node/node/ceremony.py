"""How several witnesses begin a ledger together: files that go around, and no operator.

 1. One of them writes an *invitation*: the ledger's name, its params, a salt.
 2. Each makes a home in waiting from it, with keys of their own, and hands out a *seat file*: the
    account's inception, the device key, and signatures of both keys over the invitation (B1).
 3. Whoever has all seat files puts them together into the *genesis*. Anybody can: the same files
    in the same order give the same genesis, byte for byte.
 4. Each holds the genesis to the invitation and to their own seat, and their home begins.

- B1 A seat file's two signatures are over H("seat-offer", invitation digest, account id, device
  key): by the device key with word `seat`, and by the inception's first root key with word `seat`.
- B2 The invitation's digest is H("witness-invitation", name, salt, rules_version, params). The
  genesis takes these from it. Seats stand in ascending order of their account ids; the accounts
  that may issue, and that list common texts, are the invitation's or, with none, all seats'.

Nobody's secret key leaves their machine. What is compared over another channel is the ledger id.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from openledger_node.ledger.accounts import Inception, Salt, parse_inception
from openledger_node.ledger.encoding import H, decode_as, encode
from openledger_node.ledger.errors import BadInput, Refused, UsageError, VerificationFailed
from openledger_node.ledger.genesis import (
    MAX_AMOUNT_MICRO,
    MAX_SEATS,
    RULES_VERSION,
    Genesis,
    Params,
    Succession,
    genesis_fault,
    network_params,
    params_fault,
)
from openledger_node.ledger.keys import PublicKey
from openledger_node.ledger.names import account_short
from openledger_node.node import founding, keyfiles, setup
from openledger_node.node.core import NodeCore
from openledger_node.node.results import Initialised
from openledger_node.node.results_witness import Founded, Invited, SeatOffered
from openledger_node.store.places import move_into_place, staging_for

WAITING_NAME: Final = "joining.json"
MAX_CEREMONY_FILE_BYTES: Final = 64 * 1024


class Invitation(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What the seats of a new ledger agree to before they have keys for it (B2)."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    salt: Salt
    rules_version: Annotated[int, Meta(ge=1, le=2**16)]
    params: Params
    succeeds: Succession | None

    @property
    def digest(self) -> bytes:
        return H("witness-invitation", self.name, self.salt, self.rules_version, self.params)


@dataclass(frozen=True, slots=True)
class SeatFile:
    """A verified seat file (B1). `name` is what its maker calls the account, for people alone."""

    name: str
    inception: Inception
    device: bytes


_invitation_decoder = msgspec.msgpack.Decoder(Invitation)


def last_statement(core: NodeCore) -> Succession:
    """The end of a home's ledger, for one that goes on from it (A11)."""
    with core.store.read() as snapshot:
        epoch = snapshot.last_epoch()
        if epoch == 0:
            raise Refused("no epoch of this ledger is final", code="not_final")
        root = snapshot.must_epoch(epoch).statement_root
    return Succession(secrets.token_bytes(16), core.ledger_id, epoch, root)


def invite(
    file: Path,
    name: str,
    params_file: Path | None = None,
    succeeds: Succession | None = None,
) -> Invited:
    """Writes an invitation to found a ledger together, or one that goes on from another's end."""
    title = founding.checked_ledger_name(name)
    params = network_params(())
    if params_file is not None:
        params = founding.params_from(params_file, params, None)
    salt = secrets.token_bytes(16) if succeeds is None else succeeds.salt
    invitation = Invitation(title, salt, RULES_VERSION, params, succeeds)
    document = {
        "openledger": "witness-invitation",
        "version": 1,
        "name": title,
        "params": params_document(params),
        "succeeds": succeeds and founding.succession_document(succeeds),
        "digest": invitation.digest.hex(),
        "invitation": encode(invitation).hex(),
    }
    founding.write_public(file, json.dumps(document, indent=1) + "\n")
    return Invited(str(file), title, invitation.digest.hex())


def params_document(params: Params) -> dict[str, Any]:
    """The params by name, for people."""
    shown = {field.name: getattr(params, field.name) for field in msgspec.structs.fields(params)}
    return shown | {"commons_accounts": [item.hex() for item in params.commons_accounts]}


def kind_of_file(file: Path) -> str:
    """What a file of the ceremony says that it is."""
    document = keyfiles.read_json(file, "the file", MAX_CEREMONY_FILE_BYTES)
    said = document.get("openledger") if isinstance(document, dict) else None
    return said if isinstance(said, str) else ""


def read_invitation(file: Path) -> Invitation:
    """BadInput when a file is no invitation, or says to people what its bytes do not."""
    document = keyfiles.read_json(file, "the invitation", MAX_CEREMONY_FILE_BYTES)
    try:
        if document["openledger"] != "witness-invitation" or document["version"] != 1:
            raise BadInput(f"{file} is not an invitation of version 1 to found a ledger")
        data = bytes.fromhex(document["invitation"])
        invitation = decode_as(_invitation_decoder, data, "the invitation")
        succeeds = founding.read_succession(document["succeeds"], invitation.salt)
        shown = (document["name"], document["digest"], document["params"], succeeds)
        same = shown == (
            invitation.name,
            invitation.digest.hex(),
            json.loads(json.dumps(params_document(invitation.params))),
            invitation.succeeds,
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadInput(f"{file} is not an invitation to found a ledger") from None
    if not same:
        raise BadInput(f"{file} shows people other figures than it has for programs")
    fault = params_fault(invitation.params)
    if fault:
        raise BadInput(f"{file}: {fault}")
    return invitation


def offer_seat(
    home: Path,
    file: Path,
    out: Path,
    *,
    name: str,
    passphrase: bytes | None,
) -> SeatOffered:
    """Makes a home in waiting, and the seat file that its owner hands out."""
    setup.refuse_used_place(home)
    name = setup.checked_petname(name)
    invitation = read_invitation(file)
    keys = setup.new_keys()
    inception = setup.inception_of(keys, secrets.token_bytes(16))
    account, device = inception.account_id, keys.device.public.raw
    parts = _offer_parts(invitation.digest, account, device)
    document = {
        "openledger": "witness-seat",
        "version": 1,
        "name": name,
        "account": account_short(account),
        "invitation": invitation.digest.hex(),
        "inception": encode(inception).hex(),
        "device": device.hex(),
        "device_signature": keys.device.sign_parts("seat", parts).hex(),
        "root_signature": keys.root.sign_parts("seat", parts).hex(),
    }
    waiting = {
        "openledger": "joining",
        "version": 1,
        "name": name,
        "inception": encode(inception).hex(),
        "invitation": encode(invitation).hex(),
    }
    staging = staging_for(home, "join")
    try:
        staging.mkdir(parents=True, mode=0o700)
        roles = (("device", keys.device), ("root", keys.root), ("transport", keys.transport))
        for role, key in roles:
            keyfiles.save_key(staging / "keys", role, key, passphrase)
        recovery = setup.write_recovery(staging, account, keys.next_root, inception, passphrase)
        keyfiles.write_private(staging / WAITING_NAME, json.dumps(waiting, indent=1) + "\n")
        founding.write_public(out, json.dumps(document, indent=1) + "\n")
        move_into_place(staging, home)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return SeatOffered(
        account.hex(), account_short(account), str(home), str(out), str(home / recovery)
    )


def _offer_parts(digest: bytes, account: bytes, device: bytes) -> bytes:
    return H("seat-offer", digest, account, device)


def read_seat(file: Path, invitation: Invitation) -> SeatFile:
    """A seat file, its signatures checked against the invitation (B1)."""
    document = keyfiles.read_json(file, "the seat file", MAX_CEREMONY_FILE_BYTES)
    try:
        if document["openledger"] != "witness-seat" or document["version"] != 1:
            raise BadInput(f"{file} is not a seat file of version 1")
        inception = parse_inception(bytes.fromhex(document["inception"]))
        device = PublicKey.parse(bytes.fromhex(document["device"]))
        name, digest = str(document["name"]), bytes.fromhex(document["invitation"])
        signatures = [
            bytes.fromhex(document[key]) for key in ("device_signature", "root_signature")
        ]
        short = document["account"]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadInput(f"{file} is not a seat file") from None
    if digest != invitation.digest:
        raise Refused(f"{file} answers another invitation", code="other_invitation")
    parts = _offer_parts(digest, inception.account_id, device.raw)
    keys = (device, PublicKey.parse(inception.root_keys[0]))
    pairs = zip(keys, signatures, strict=True)
    if not all(key.verifies_parts(signature, "seat", parts) for key, signature in pairs):
        raise VerificationFailed(f"{file}: its keys did not sign it")
    if short != account_short(inception.account_id):
        raise BadInput(f"{file} shows people another account than it has for programs")
    return SeatFile(setup.checked_petname(name), inception, device.raw)


def found(invitation_file: Path, seat_files: Sequence[Path], out: Path) -> Founded:
    """Puts seat files together into the genesis and writes its file."""
    invitation = read_invitation(invitation_file)
    if not 1 <= len(seat_files) <= MAX_SEATS:
        raise UsageError(f"a ledger has 1 to {MAX_SEATS} seats, these are {len(seat_files)}")
    seats = [read_seat(file, invitation) for file in seat_files]
    if len({seat.inception.account_id for seat in seats}) != len(seats):
        raise BadInput("two of the seat files are of one account", hint="name each file once")
    genesis = genesis_of(invitation, seats)
    fault = genesis_fault(genesis)
    if fault:
        raise BadInput(f"the ledger cannot begin so: {fault}")
    founding.write_public(out, founding.genesis_document(genesis, invitation.succeeds))
    names = {seat.inception.account_id: seat.name for seat in seats}
    return Founded(
        str(out),
        genesis.ledger_id.hex(),
        tuple((names[account], account_short(account)) for account, _ in genesis.seat_keys),
    )


def genesis_of(invitation: Invitation, seats: Sequence[SeatFile]) -> Genesis:
    """The one genesis that an invitation and a set of seats make (B2)."""
    ordered = sorted(seats, key=lambda seat: seat.inception.account_id)
    accounts = tuple(seat.inception.account_id for seat in ordered)
    params = invitation.params
    if not params.commons_accounts:
        params = msgspec.structs.replace(params, commons_accounts=accounts)
    return Genesis(
        version=1,
        name=invitation.name,
        salt=invitation.salt,
        rules_version=invitation.rules_version,
        params=params,
        seats=tuple((seat.inception, seat.device) for seat in ordered),
        issuers=tuple((account, MAX_AMOUNT_MICRO) for account in accounts),
    )


def begin_seat(
    home: Path, file: Path, *, passphrase: bytes | None, clock_ms: Callable[[], int]
) -> Initialised:
    """A home in waiting becomes a seat of the ledger that a genesis file begins."""
    name, inception, invitation = _waiting(home)
    genesis = founding.read_genesis_file(file)
    keys = {role: keyfiles.load_key(home / "keys", role, passphrase) for role in ("device", "root")}
    _refuse_other(genesis, invitation, inception, keys["device"].public.raw)
    staging = staging_for(home, "begin")
    try:
        staging.mkdir(parents=True, mode=0o700)
        log_id = setup.begin_ledger(
            staging,
            genesis,
            inception,
            keys["root"],
            keys["device"],
            name,
            clock_ms(),
            invitation.succeeds,
        )
        # The home is one from the moment that it has its ledger's folder: that comes last.
        (staging / "instance.json").replace(home / "instance.json")
        (staging / "ledger").rename(home / "ledger")
        (home / WAITING_NAME).unlink()
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    transport = keyfiles.public_key(home / "keys", "transport")
    return Initialised(
        account_id=inception.account_id.hex(),
        account=account_short(inception.account_id),
        ledger_id=genesis.ledger_id.hex(),
        log_id=log_id.hex(),
        node_id=transport.hex(),
        home=str(home),
        recovery_file="",
        name=name,
        solo=len(genesis.seats) == 1,
    )


def _waiting(home: Path) -> tuple[str, Inception, Invitation]:
    if (home / "ledger").exists():
        raise Refused(f"{home} is a home already", code="home_exists")
    if not (home / WAITING_NAME).is_file():
        raise UsageError(
            f"{home} is no home that waits for a genesis",
            hint="first `oln witness join INVITATION --out SEAT`",
            code="not_waiting",
        )
    document = keyfiles.read_json(home / WAITING_NAME, "the home", MAX_CEREMONY_FILE_BYTES)
    try:
        inception = parse_inception(bytes.fromhex(document["inception"]))
        data = bytes.fromhex(document["invitation"])
        invitation = decode_as(_invitation_decoder, data, "the invitation")
        return str(document["name"]), inception, invitation
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadInput(f"{home / WAITING_NAME} is damaged") from None


def _refuse_other(
    genesis: Genesis, invitation: Invitation, inception: Inception, device: bytes
) -> None:
    """A genesis is taken only when it is what was agreed to, with this seat in it (B2)."""
    if (inception, device) not in genesis.seats:
        raise Refused(
            "this genesis has no seat with this home's keys",
            hint="hand your seat file to whoever puts the genesis together",
            code="not_a_seat",
        )
    seats = [SeatFile("", seat, key) for seat, key in genesis.seats]
    if genesis_of(invitation, seats) != genesis:
        raise Refused(
            "this genesis is not what the invitation said: its name, params, rules, issuers or "
            "the order of its seats differ",
            hint="compare the invitations that you and the others hold",
            code="other_invitation",
        )
