"""Who made a store: manifest.json signed with an Ed25519 key, in minisign's form, by `minisign` itself or by us.

The manifest has the hash of every file, so a signature over it is one over all. It lies beside the manifest, as
manifest.json.minisig. It has no clock: the same key, manifest and comment give the same bytes.
"""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coig_p.core.text import printable
from coig_p.errors import DataError, UsageError
from coig_p.store.manifest import MANIFEST, SIGNATURE

if TYPE_CHECKING:
    import minisign

_MOST = 1 << 14  # bytes of a key or a signature; minisign's own limit for a comment is half of it
_UNTRUSTED = ("signature from minisign secret key", "signature from rsign secret key")
_WORK = slice(38, 46)  # of a decoded secret key: how much work the password is
_MOST_WORK = 1 << 26  # twice what minisign asks for


@dataclass(frozen=True, repr=False)
class Signer:
    """A secret key that is open. It shows itself to nobody.

    Attributes:
        public: the public key, as `coigp verify --key` takes it.
    """

    _key: minisign.SecretKey
    public: str

    def __call__(self, manifest: bytes, comment: str) -> bytes:
        """The content of manifest.json.minisig.

        Args:
            comment: what the signature vouches for beside the manifest, one line of ASCII.
        """
        return bytes(self._key.sign(manifest, trusted_comment=comment)) + b"\n"


def read_secret_key(path: Path, password: Callable[[], str]) -> Signer:
    """The secret key in a file of minisign's form.

    Args:
        password: asked once, where the key is encrypted.

    Raises:
        UsageError: no such file, no such key, one that is damaged, a wrong password, or the extra is not installed.
    """
    minisign = _minisign()
    content = _read(path, f"the key {path}")
    try:
        work = base64.b64decode(content.splitlines()[1], validate=True)[_WORK]
        key = minisign.SecretKey.from_bytes(content)
    except (minisign.Error, ValueError, IndexError):
        raise UsageError(
            f"{path} is no secret key of minisign's form: name the file that coigp keygen, or minisign -G, wrote"
        ) from None
    if int.from_bytes(work, "little") > _MOST_WORK:
        raise UsageError(f"{path}: its password would take more work than minisign asks for; the key is not used")
    if key.is_encrypted():
        try:
            key.decrypt(password())
        except minisign.Error:
            raise UsageError(f"{path}: the password is wrong, or the key is damaged") from None
    public = key.get_public_key()
    try:
        public.verify(b"", key.sign(b"", trusted_comment=""))
    except (minisign.Error, ValueError):
        raise UsageError(f"{path}: the key is damaged: its secret and its public half do not belong together") from None
    return Signer(key, public.to_base64().decode())


def read_public_key(given: str) -> minisign.PublicKey:
    """A public key of minisign's form: a file, or the line of Base64 in it.

    Raises:
        UsageError: neither, or the extra is not installed.
    """
    minisign = _minisign()
    path = Path(given)
    try:
        if _is_there(path):
            return minisign.PublicKey.from_bytes(_read(path, f"the key {printable(given)}"))
        return minisign.PublicKey.from_base64(given)
    except (minisign.Error, ValueError):
        raise UsageError(
            f"--key {printable(given)[:80]}: no public key of minisign's form. Give the file KEY.pub, or the line in "
            "it that begins with RW"
        ) from None


def check_signature(store: Path, key: minisign.PublicKey) -> str:
    """See that the manifest of a store is signed with a key, as it is now.

    Returns:
        What the signature vouches for beside the manifest.

    Raises:
        DataError: there is no signature, or it is not one of this manifest by this key.
    """
    minisign = _minisign()
    place = store / SIGNATURE
    if not place.exists():
        raise DataError(f"{place} is missing: the manifest is not signed")
    try:
        content = _read(place, str(place))
        manifest = (store / MANIFEST).read_bytes()
    except UsageError as error:
        raise DataError(str(error)) from None
    except OSError as error:
        raise DataError(f"{store / MANIFEST} cannot be read: {error.strerror}") from None
    try:
        signature = minisign.Signature.from_bytes(content)
    except (minisign.Error, ValueError):
        raise DataError(f"{place} is no signature of minisign's form") from None
    # The first line is signed by nobody, and Base64 has bits to spare: what is taken is what minisign writes.
    if bytes(signature) + b"\n" != content or signature.untrusted_comment not in _UNTRUSTED:
        raise DataError(f"{place} is not as it was written: parts of it that no key protects were changed")
    if _key_id(signature) != _key_id(key):
        raise DataError(f"{place} was made with another key")
    try:
        key.verify(manifest, signature)
    except (minisign.Error, ValueError):
        raise DataError(f"{store / MANIFEST} is not what was signed: it, or its signature, was changed") from None
    return str(signature.trusted_comment)


def make_keys(out: Path, password: str) -> tuple[Path, str]:
    """Write a new secret key to `out`, for its owner alone to read, and its public key beside it, as `out`.pub.

    Args:
        password: what the key is encrypted with; "" leaves it open.

    Returns:
        The file of the public key, and the key as one line.

    Raises:
        UsageError: one of the files is there, or cannot be written, or the extra is not installed.
    """
    minisign = _minisign()
    pair = minisign.KeyPair.generate()
    if password:
        pair.secret_key.encrypt(password)
    public = out.with_name(f"{out.name}.pub")
    if public.exists():
        raise UsageError(f"{public} exists: a key is never overwritten. Choose another name")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out.parent} cannot be written: {error.strerror}") from None
    try:
        _write_new(out, bytes(pair.secret_key) + b"\n", 0o600)
        _write_new(public, bytes(pair.public_key) + b"\n", 0o644)
    except FileExistsError as error:
        raise UsageError(f"{error.filename} exists: a key is never overwritten. Choose another name") from None
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be written: {error.strerror}") from None
    return public, pair.public_key.to_base64().decode()


def _write_new(path: Path, content: bytes, mode: int) -> None:
    at = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(at, "wb") as stream:
        stream.write(content)


def _key_id(of: Any) -> bytes:
    """Which key a signature or public key is of: the 8 bytes behind the algorithm in its Base64."""
    line = bytes(of).splitlines()[1]
    return base64.b64decode(line)[2:10]


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, or with a zero byte: no file
        return False


def _read(path: Path, what: str) -> bytes:
    """A small file's content; a pipe or a device is not read, and nothing is held that is larger."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{printable(what)} is not a file")
        with path.open("rb") as stream:
            content = stream.read(_MOST + 1)
    except OSError as error:
        raise UsageError(f"{printable(what)} cannot be read: {error.strerror}") from None
    if len(content) > _MOST:
        raise UsageError(f"{printable(what)} is larger than any of minisign's: {path.stat().st_size:,} bytes")
    return content


def _minisign() -> Any:
    try:
        import minisign
    except ImportError:
        raise UsageError("signatures need a package of their own: pip install 'coig-p[sign]'") from None
    return minisign
