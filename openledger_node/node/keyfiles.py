"""Secret keys at rest: one small JSON file a key, mode 0600, sealed when a passphrase is given.

A file holds `{"openledger": "key", "version": 1, "role", "public", "secret"}` with the seed in hex,
or `"sealed"` in place of `"secret"`: Argon2id (64 MiB, 3 passes, 1 lane) over the passphrase, then
ChaCha20-Poly1305 over the seed with the role and public key as associated data. Roles: `device`
(signs the log), `root` (the account's current root key), `next_root` (committed to, in the recovery
file alone), `transport` (links; never a log key).

The passphrase comes from `OLN_PASSPHRASE_FILE`, or a systemd credential named `oln-passphrase`; it
is never an argument.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from openledger_node.ledger.errors import BadInput, StoreDamaged, StoreUnavailable, UsageError
from openledger_node.ledger.keys import PublicKey, SigningKey
from openledger_node.node import files

MAX_KEY_FILE_BYTES: Final = 4096
MAX_PASSPHRASE_BYTES: Final = 1024
ARGON2_MEMORY_KIB: Final = 64 * 1024
ARGON2_PASSES: Final = 3
ROLES: Final = ("device", "root", "next_root", "transport")


def new_seed() -> bytes:
    """32 bytes from the operating system."""
    return secrets.token_bytes(32)


def passphrase_from_environment() -> bytes | None:
    """The passphrase that the environment names, or None."""
    named = os.environ.get("OLN_PASSPHRASE_FILE")
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    path = Path(named) if named else Path(credentials, "oln-passphrase") if credentials else None
    if path is None or (not named and not path.is_file()):
        return None
    try:
        passphrase = files.read_bounded(path, MAX_PASSPHRASE_BYTES).rstrip(b"\r\n")
    except OSError as error:
        raise UsageError(
            f"cannot read the passphrase file {path}: {error.strerror}",
            hint="OLN_PASSPHRASE_FILE names a readable file with the passphrase",
        ) from None
    if not passphrase or len(passphrase) > MAX_PASSPHRASE_BYTES:
        raise UsageError(f"the passphrase in {path} is empty or over {MAX_PASSPHRASE_BYTES} bytes")
    return passphrase


def _sealing_key(passphrase: bytes, salt: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    kdf = Argon2id(
        salt=salt, length=32, iterations=ARGON2_PASSES, lanes=1, memory_cost=ARGON2_MEMORY_KIB
    )
    return ChaCha20Poly1305(kdf.derive(passphrase))


def key_document(role: str, key: SigningKey, passphrase: bytes | None) -> dict[str, Any]:
    """The JSON document of a key."""
    public = key.public.raw
    document: dict[str, Any] = {
        "openledger": "key",
        "version": 1,
        "role": role,
        "public": public.hex(),
    }
    if passphrase is None:
        document["secret"] = key.seed.hex()
        return document
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    box = _sealing_key(passphrase, salt).encrypt(nonce, key.seed, role.encode() + public)
    document["sealed"] = {"salt": salt.hex(), "nonce": nonce.hex(), "box": box.hex()}
    return document


def key_from_document(document: Any, role: str, passphrase: bytes | None) -> SigningKey:
    """The key in a document.

    BadInput when it is not one; UsageError when the passphrase is missing or wrong.
    """
    try:
        if document["openledger"] != "key" or document["version"] != 1 or document["role"] != role:
            raise BadInput(f"not a {role} key file of version 1")
        public = bytes.fromhex(document["public"])
        seed = _seed(document, role, public, passphrase)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadInput(f"the {role} key file is malformed") from None
    key = SigningKey(seed)
    if key.public.raw != public:
        raise BadInput(f"the {role} key file holds a secret that is not its public key's")
    return key


def _seed(document: Any, role: str, public: bytes, passphrase: bytes | None) -> bytes:
    if "secret" in document:
        return bytes.fromhex(document["secret"])
    from cryptography.exceptions import InvalidTag

    if passphrase is None:
        raise UsageError(
            f"the {role} key is sealed with a passphrase",
            hint="set OLN_PASSPHRASE_FILE to a file that holds it",
            code="passphrase_needed",
        )
    sealed = document["sealed"]
    box = _sealing_key(passphrase, bytes.fromhex(sealed["salt"]))
    try:
        seed: bytes = box.decrypt(
            bytes.fromhex(sealed["nonce"]), bytes.fromhex(sealed["box"]), role.encode() + public
        )
    except InvalidTag:
        raise UsageError(
            f"the passphrase does not open the {role} key",
            hint="check the file that OLN_PASSPHRASE_FILE names",
            code="passphrase_wrong",
        ) from None
    return seed


def write_private(path: Path, text: str) -> None:
    """A new file of mode 0600, durable, never over an existing one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.write_new(path, text.encode(), files.PRIVATE)


def replace_private(path: Path, text: str) -> None:
    """As `write_private`, in place of what is there.

    The old file stays whole until the new one is durable.
    """
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    write_private(fresh, text)
    fresh.replace(path)


def read_json(path: Path, what: str, limit_bytes: int = MAX_KEY_FILE_BYTES) -> Any:
    """The JSON document in a small file."""
    try:
        data = files.read_bounded(path, limit_bytes)
    except OSError as error:
        raise UsageError(
            f"cannot read {what} {path}: {error.strerror}", hint="check the path", code="bad_file"
        ) from None
    if len(data) > limit_bytes:
        raise BadInput(f"{what} {path} has more than {limit_bytes:,} bytes")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise BadInput(f"{what} {path} is not JSON") from None


def save_key(folder: Path, role: str, key: SigningKey, passphrase: bytes | None) -> Path:
    """Writes `folder/<role>.key`."""
    path = folder / f"{role}.key"
    write_private(path, json.dumps(key_document(role, key, passphrase), indent=1) + "\n")
    return path


def public_key(folder: Path, role: str) -> bytes:
    """The public half of a stored key: no passphrase is needed. StoreDamaged when it is none."""
    path = folder / f"{role}.key"
    with _own_file(path):
        document = read_json(path, f"the {role} key")
        try:
            return PublicKey.parse(bytes.fromhex(document["public"])).raw
        except (KeyError, TypeError, ValueError, AttributeError):
            raise BadInput(f"the {role} key file is malformed") from None


@contextmanager
def _own_file(path: Path) -> Iterator[None]:
    """What is wrong with a home's own key file is damage, and nobody else's fault."""
    try:
        yield
    except BadInput as error:
        raise StoreDamaged(
            f"{path} is damaged: {error.message}", hint="restore it from a backup"
        ) from None


def load_key(folder: Path, role: str, passphrase: bytes | None) -> SigningKey:
    """Reads `folder/<role>.key`."""
    path = folder / f"{role}.key"
    if not path.exists():
        raise StoreUnavailable(
            f"the {role} key is missing: {path}",
            hint="restore it from a backup",
            code="key_missing",
        )
    with _own_file(path):
        return key_from_document(read_json(path, f"the {role} key"), role, passphrase)
