"""Signatures: what minisign makes is taken, and one byte of anything changed is not."""

from __future__ import annotations

import base64
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest
from commands import run
from make import make_rows, make_store

from coig_p.errors import DataError, UsageError
from coig_p.store.manifest import MANIFEST, SIGNATURE
from coig_p.store.signing import Signer, check_signature, make_keys, read_public_key, read_secret_key

minisign = pytest.importorskip("minisign", reason="py-minisign is not installed")

# A key and a signature of the program minisign, as its documentation shows them, of a file that holds "test".
THEIR_KEY = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
THEIR_SIGNATURE = (
    "untrusted comment: signature from minisign secret key\n"
    "RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=\n"
    "trusted comment: timestamp:1555779966\tfile:test\n"
    "QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==\n"
)
COMMENT = "coig-p release 1.0.0 of org/name"


def no_password() -> str:
    raise AssertionError("an open key has no password")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    out = tmp_path_factory.mktemp("keys") / "a.key"
    return out, make_keys(out, "")[0]


@pytest.fixture(scope="module")
def signer(keys: tuple[Path, Path]) -> Signer:
    return read_secret_key(keys[0], no_password)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, signer: Signer) -> Path:
    store = make_store(tmp_path_factory.mktemp("stores") / "store", make_rows({"math": 2}))
    (store / SIGNATURE).write_bytes(signer((store / MANIFEST).read_bytes(), COMMENT))
    return store


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    copied = tmp_path / "store"
    shutil.copytree(made, copied)
    return copied


def test_what_minisign_signs_is_taken(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text("test")
    (tmp_path / SIGNATURE).write_text(THEIR_SIGNATURE)
    assert check_signature(tmp_path, read_public_key(THEIR_KEY)) == "timestamp:1555779966\tfile:test"


def test_the_same_key_gives_the_same_bytes(store: Path, signer: Signer, keys: tuple[Path, Path]) -> None:
    signature = (store / SIGNATURE).read_bytes()
    again = read_secret_key(keys[0], no_password)
    assert again((store / MANIFEST).read_bytes(), COMMENT) == signature
    lines = signature.decode().split("\n")
    assert base64.b64decode(lines[1])[:2] == b"ED", "of the manifest's hash, as minisign signs since 0.10"
    assert lines[2] == f"trusted comment: {COMMENT}"
    assert signer.public in keys[1].read_text()
    assert signer.public not in repr(signer)


def test_every_byte_of_the_signature_counts(store: Path, keys: tuple[Path, Path]) -> None:
    key, whole = read_public_key(str(keys[1])), (store / SIGNATURE).read_bytes()
    assert check_signature(store, key) == COMMENT
    for at in range(len(whole)):
        for flip in (1, 0x20):
            (store / SIGNATURE).write_bytes(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
            with pytest.raises(DataError):
                check_signature(store, key)
    for changed in (whole[:-1], whole + b"\n", b"\xef\xbb\xbf" + whole, whole.replace(b"\n", b"\r\n"), whole * 2, b""):
        (store / SIGNATURE).write_bytes(changed)
        with pytest.raises(DataError):
            check_signature(store, key)


def test_every_byte_of_the_manifest_counts(store: Path, keys: tuple[Path, Path]) -> None:
    key, whole = read_public_key(str(keys[1])), (store / MANIFEST).read_bytes()
    for at in range(0, len(whole), 7):
        (store / MANIFEST).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(DataError, match=r"manifest\.json is not what was signed"):
            check_signature(store, key)


def test_every_byte_of_a_key_counts(store: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    comment, line, _ = keys[1].read_bytes().split(b"\n")
    key = tmp_path / "key.pub"
    for at in range(len(line)):
        key.write_bytes(comment + b"\n" + line[:at] + bytes([line[at] ^ 1]) + line[at + 1 :] + b"\n")
        with pytest.raises((DataError, UsageError)):
            check_signature(store, read_public_key(str(key)))
    comment, line, _ = keys[0].read_bytes().split(b"\n")
    secret = tmp_path / "secret.key"
    unused = range(8, 72)  # the salt and the work of a password that there is not, as Base64 that shares no letter
    for at in (at for at in range(len(line)) if at not in unused):
        secret.write_bytes(comment + b"\n" + line[:at] + bytes([line[at] ^ 1]) + line[at + 1 :] + b"\n")
        try:
            other = read_secret_key(secret, lambda: "")
        except UsageError:
            continue
        # The key's name and its checksum: what such a key signs is of another key, or the very same.
        signature = other((store / MANIFEST).read_bytes(), COMMENT)
        if signature != (store / SIGNATURE).read_bytes():
            (tmp_path / MANIFEST).write_bytes((store / MANIFEST).read_bytes())
            (tmp_path / SIGNATURE).write_bytes(signature)
            with pytest.raises(DataError, match="another key"):
                check_signature(tmp_path, read_public_key(str(keys[1])))


def test_a_file_that_was_changed(store: Path, keys: tuple[Path, Path]) -> None:
    done = run("verify", store, "--key", keys[1])
    assert f"the manifest is signed with that key: {COMMENT}" in done.stdout
    data = next((store / "data/math").iterdir())
    content = bytearray(data.read_bytes())
    content[100] ^= 1
    data.write_bytes(content)
    assert "sha256" in run("verify", store, "--key", keys[1], code=1).stderr


def test_other_keys_and_no_signature(store: Path, tmp_path: Path) -> None:
    other, line = make_keys(tmp_path / "b.key", "")
    assert "was made with another key" in run("verify", store, "--key", other, code=1).stderr
    assert "was made with another key" in run("verify", store, "--key", line, "--json", code=1).stderr
    (store / SIGNATURE).unlink()
    assert "is missing: the manifest is not signed" in run("verify", store, "--key", line, code=1).stderr
    run("verify", store)


@pytest.mark.parametrize("given", ["", "RWQ", "nothing.pub", "R" * 5000, "\x1b[31m", "é", "a\0b"])
def test_what_is_no_public_key(given: str) -> None:
    with pytest.raises(UsageError, match="no public key of minisign's form"):
        read_public_key(given)


def test_hostile_signatures(store: Path, keys: tuple[Path, Path]) -> None:
    key, place = read_public_key(str(keys[1])), store / SIGNATURE
    place.unlink()
    with place.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(DataError, match="larger than any"):
        check_signature(store, key)
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(DataError, match="is not a file"):
        check_signature(store, key)
    place.unlink()
    for content in (b"\0" * 400, b"\n" * 4, b"\xff\n\xff\n\xff\n\xff\n", "untrusted comment: \u202e\n".encode() * 4):
        place.write_bytes(content)
        with pytest.raises(DataError, match="is no signature"):
            check_signature(store, key)


# Keys.


def test_a_key_with_a_password(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "c.key"
    public, _ = make_keys(out, "密码 é")
    asked = []

    def password() -> str:
        asked.append(1)
        return "密码 é"

    signer = read_secret_key(out, password)
    assert asked == [1]
    (store / SIGNATURE).write_bytes(signer((store / MANIFEST).read_bytes(), COMMENT))
    assert check_signature(store, read_public_key(str(public))) == COMMENT
    with pytest.raises(UsageError, match="the password is wrong") as raised:
        read_secret_key(out, lambda: "hunter2")
    assert "hunter2" not in str(raised.value)


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files are those of POSIX")
def test_a_secret_key_is_its_owners_and_never_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "d.key"
    before = os.umask(0)
    try:
        public, _ = make_keys(out, "")
    finally:
        os.umask(before)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    content = out.read_bytes()
    with pytest.raises(UsageError, match="never overwritten"):
        make_keys(out, "")
    public.unlink()
    with pytest.raises(UsageError, match="never overwritten"):
        make_keys(out, "")
    assert out.read_bytes() == content
    assert not public.exists()
    with pytest.raises(UsageError, match="cannot be written"):
        make_keys(tmp_path / "d.key" / "e.key", "")


def test_secret_keys_that_are_none(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    for content in (b"", b"\n", b"untrusted comment: x\nRWQ=\n", keys[1].read_bytes(), b"\xff" * 9000):
        (tmp_path / "key").write_bytes(content)
        with pytest.raises(UsageError, match="no secret key"):
            read_secret_key(tmp_path / "key", no_password)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_secret_key(tmp_path / "none", no_password)
    with pytest.raises(UsageError, match="is not a file"):
        read_secret_key(tmp_path, no_password)
    # Work without end, which a password would take.
    comment, line, _ = keys[0].read_bytes().split(b"\n")
    whole = bytearray(base64.b64decode(line))
    whole[2:4], whole[38:46] = b"Sc", b"\xff" * 8
    (tmp_path / "key").write_bytes(comment + b"\n" + base64.b64encode(whole) + b"\n")
    with pytest.raises(UsageError, match="more work than minisign asks for"):
        read_secret_key(tmp_path / "key", lambda: "x")


def test_the_password_comes_from_the_variable_or_a_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "f.key"
    monkeypatch.delenv("COIGP_SIGN_PASSWORD", raising=False)
    refused = run("keygen", out, code=2)
    assert "set the variable COIGP_SIGN_PASSWORD, or pass --no-password" in refused.stderr
    assert not out.exists()
    monkeypatch.setenv("COIGP_SIGN_PASSWORD", "secret words")
    done = run("keygen", out)
    assert "secret words" not in done.stdout + done.stderr
    assert read_secret_key(out, lambda: "secret words")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "minisign", None)
    with pytest.raises(UsageError, match=r"pip install 'coig-p\[sign\]'"):
        read_public_key(THEIR_KEY)
