"""Atomic writes: what appears meanwhile is left alone, and errors name what the user named."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from coig_p.core import atomic, renames
from coig_p.core.atomic import atomic_directory, atomic_file
from coig_p.errors import UsageError

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions, names and locks")


def _fill(path: Path) -> None:
    path.mkdir(exist_ok=True)
    (path / "theirs").write_text("theirs")


def _link(path: Path) -> None:
    path.symlink_to("nowhere")


def _tree(folder: Path) -> dict[str, str | None]:
    return {
        str(path.relative_to(folder)): path.read_text() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture(params=["flagged rename", "links", "neither"])
def _system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a system, or a file system, that can do less and less."""
    if request.param != "flagged rename":
        monkeypatch.setattr(renames, "_rename_flagged", lambda one, other, **flags: False)
    if request.param == "neither":
        monkeypatch.setattr(renames, "_link", lambda one, other: False)


@pytest.mark.usefixtures("_system")
@pytest.mark.parametrize("appear", [lambda path: path.write_text("theirs"), Path.mkdir, _fill, _link])
def test_what_appears_meanwhile_is_left_alone(tmp_path: Path, appear: Callable[[Path], object]) -> None:
    appear(tmp_path / "out")
    theirs = _tree(tmp_path)
    for write in (atomic_file, atomic_directory):
        place = tmp_path / write.__name__
        place.mkdir()
        said = "out appeared meanwhile: choose another place, or pass --overwrite"
        with pytest.raises(UsageError, match=said), write(place / "out"):
            appear(place / "out")
        assert _tree(place) == theirs


@pytest.mark.usefixtures("_system")
def test_an_empty_directory_is_replaced_unless_it_is_filled_meanwhile(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UsageError, match="appeared meanwhile"), atomic_directory(out):
        _fill(out)
    assert _tree(tmp_path) == {"out": None, "out/theirs": "theirs"}
    (out / "theirs").unlink()
    with atomic_directory(out) as root:
        (root / "mine").write_text("mine")
    assert _tree(tmp_path) == {"out": None, "out/mine": "mine"}


@pytest.mark.usefixtures("_system")
def test_what_was_there_is_replaced_also_where_it_changed_or_went_meanwhile(tmp_path: Path) -> None:
    for change in (lambda: None, (tmp_path / "file").unlink, lambda: (tmp_path / "file").write_text("changed")):
        (tmp_path / "file").write_text("old")
        with atomic_file(tmp_path / "file") as stream:
            stream.write(b"new")
            change()
        assert _tree(tmp_path) == {"file": "new"}
    (tmp_path / "file").unlink()
    out = tmp_path / "out"
    for move in (lambda: None, lambda: _fill(out), lambda: out.rename(tmp_path / "gone")):
        out.mkdir(exist_ok=True)
        (out / "old").write_text("old")
        with atomic_directory(out) as root:
            (root / "new").write_text("new")
            move()
        assert _tree(out) == {"new": "new"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gone", "out"]


def _full(*filename: object) -> OSError:
    return OSError(errno.EFBIG, "File too large", *filename)


def test_errors_name_the_target(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(OSError, match="File too large") as raised, atomic_file(out):
        raise _full()
    assert raised.value.filename == str(out)
    with pytest.raises(FileNotFoundError) as raised, atomic_directory(out) as root:
        (root / "data" / "shard").write_text("x")
    assert raised.value.filename == str(out / "data" / "shard")
    with (
        pytest.raises(OSError, match="File too large") as raised,
        atomic_directory(out) as root,
        atomic_file(root / "manifest.json"),
    ):
        raise _full()
    assert raised.value.filename == str(out / "manifest.json")
    # Not of this write: a pipe that broke, a file that was read.
    with pytest.raises(BrokenPipeError) as raised, atomic_file(out):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")
    assert raised.value.filename is None
    with pytest.raises(FileNotFoundError) as raised, atomic_file(out):
        (tmp_path / "absent").read_text()
    assert Path(raised.value.filename) == tmp_path / "absent"
    assert list(tmp_path.iterdir()) == []


@posix
def test_a_temporary_that_cannot_be_made_is_told_by_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(prefix: str, suffix: str, dir: Path) -> object:
        raise PermissionError(errno.EACCES, "Permission denied", str(dir / f"{prefix}2rz_j8rg{suffix}"))

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    for write in (atomic_file, atomic_directory):
        with pytest.raises(PermissionError) as raised, write(tmp_path / "out"):
            raise AssertionError("opened")
        assert raised.value.filename == str(tmp_path / "out")


@posix
@pytest.mark.parametrize("name", ["n" * 255, "名" * 85])
def test_the_longest_names_can_be_written(tmp_path: Path, name: str) -> None:
    with atomic_file(tmp_path / name) as stream:
        stream.write(b"file")
    assert _tree(tmp_path) == {name: "file"}
    (tmp_path / name).unlink()
    for _ in range(2):
        with atomic_directory(tmp_path / name) as root:
            (root / "file").write_text("x")
    assert _tree(tmp_path) == {name: None, f"{name}/file": "x"}


HEAD = "n" * 40
NAMES = ("dpo", "dpo.v2", "dpo.0123abcd", "a[1]", "a1", "a*", "a.b*", HEAD, f"{HEAD}1", f"{HEAD}2", f"{HEAD}.v2")


def _killed(target: Path) -> set[str]:
    """What is left beside a target of a file that was being written, and of a folder that can be gone on with."""
    before = set(target.parent.iterdir())
    with pytest.raises(KeyboardInterrupt), atomic_file(target):
        (half,) = set(target.parent.iterdir()) - before
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), atomic_directory(target, resumed="journal") as root:
        atomic.keep(root)
        raise KeyboardInterrupt
    half.write_text("half")
    return {half.name, root.name}


@posix
def test_leftovers_are_those_of_the_target_alone_whatever_its_name_is(tmp_path: Path) -> None:
    for name in NAMES:
        left = {other: _killed(tmp_path / other) for other in NAMES}
        with atomic_file(tmp_path / name):
            pass
        wanted = {name, *(one for other in NAMES if other != name for one in left[other])}
        assert {path.name for path in tmp_path.iterdir()} == wanted
        for path in tmp_path.iterdir():
            path.rmdir() if path.is_dir() else path.unlink()
