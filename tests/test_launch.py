"""`coigp run`: other tools' commands know the name "coig-p", and are otherwise as they would be without."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import datasets
import pytest

import coig_p
from coig_p import launch
from coig_p.errors import UsageError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="commands take the place of coigp on POSIX alone")

PACKAGE = str(Path(coig_p.__file__).parents[1])
# As a script of pip's calls it, whether or not PYTHONPATH has the package.
COIGP = f"import sys; sys.path.insert(0, {PACKAGE!r}); from coig_p.__main__ import main; main()"
NAMES = "from datasets import get_dataset_config_names; print(get_dataset_config_names('coig-p'))"
TOOL = f"""
import multiprocessing, sys
def main(_=0):
    {NAMES}
def spawned():
    child = multiprocessing.get_context("spawn").Process(target=main)
    child.start()
    child.join()
if __name__ == "__main__":
    spawned() if "--spawn" in sys.argv else main()
"""
KNOWS = "import sys; print(any(type(one).__module__ == 'coig_p.registration' for one in sys.meta_path))"


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONIOENCODING": "utf-8", **more}


def start(*words: object, **options: Any) -> subprocess.Popen[str]:
    options.setdefault("env", environment())
    command = [sys.executable, "-c", COIGP, *map(str, words)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8", **options)


def coigp_run(*words: object, stdin: str = "", code: int = 0, **options: Any) -> tuple[str, str]:
    """What `coigp run WORDS` writes to its two streams."""
    process = start("run", *words, **options)
    output, errors = process.communicate(stdin)
    assert process.returncode == code, errors
    assert "Traceback" not in errors, errors
    return output, errors


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    """A folder with a blank in its name, with a tool in every form."""
    folder = tmp_path / "made up"
    folder.mkdir()
    (folder / "tool.py").write_text(TOOL, encoding="utf-8")
    # As pip writes it where the interpreter's path has a blank.
    script = f"#!/bin/sh\n'''exec' \"{sys.executable}\" \"$0\" \"$@\"\n' '''\nfrom tool import main\nmain()\n"
    for name, text in {"tool": script, "tool.sh": f"#!/bin/sh\nexec {sys.executable} -m tool\n"}.items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


FORMS = {
    "a console script": ["tool"],
    "its path": ["{folder}/tool"],
    "a module": ["python", "-m", "tool"],
    "a script": [sys.executable, "{folder}/tool.py"],
    "code": ["python", "-c", NAMES],
    "a child by spawn": ["python", "{folder}/tool.py", "--spawn"],
    "a shell script": ["tool.sh"],
}


@pytest.mark.parametrize("form", FORMS)
def test_load_dataset_knows_the_name(form: str, tool: Path, store: Path) -> None:
    words = [word.format(folder=tool) for word in FORMS[form]]
    path = os.pathsep.join([str(tool), os.environ["PATH"]])
    places = os.pathsep.join([str(tool), PACKAGE])
    env = environment(PATH=path, PYTHONPATH=places, COIGP_STORE=str(store))
    output, errors = coigp_run("--", *words, env=env)
    assert output == "['math', 'chat', 'all', 'math-raw', 'chat-raw', 'all-raw']\n", errors


def test_an_environment_with_a_blank_in_its_path(tmp_path: Path, store: Path) -> None:
    here = tmp_path / "an environment"
    venv.create(here, with_pip=False, symlinks=True)
    places = os.pathsep.join([PACKAGE, str(Path(datasets.__file__).parents[1])])
    env = environment(PYTHONPATH=places, COIGP_STORE=str(store))
    output, _ = coigp_run("--", here / "bin" / "python", "-c", f"import sys; print(sys.prefix); {NAMES}", env=env)
    assert output.splitlines() == [str(here), "['math', 'chat', 'all', 'math-raw', 'chat-raw', 'all-raw']"]


ECHO = "import sys; print(sys.argv[1:], sys.stdin.read())"


@pytest.mark.parametrize("before", [[], ["--"]])
def test_arguments_and_standard_input_are_the_commands_own(before: list[str]) -> None:
    words = ["a b", "", "-v", "--help", "--", "-q", "*", "问", "--dataset_name", "coig-p"]
    output, errors = coigp_run(*before, "python", "-c", ECHO, *words, stdin="第一行\n")
    assert output == f"{words} 第一行\n\n"
    assert errors == ""


def test_bytes_that_are_no_text_are_passed_on() -> None:
    command = [sys.executable.encode(), b"-c", COIGP.encode(), b"run", b"--", b"printf", b"%s", b"\xff\xfe"]
    assert subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment()).stdout == b"\xff\xfe"


@pytest.mark.parametrize("code", [0, 1, 2, 3, 77])
def test_the_exit_code_is_the_commands_own(code: int) -> None:
    coigp_run("--", "sh", "-c", f"exit {code}", code=code)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL", "SIGPIPE", "SIGINT"])
def test_a_signal_that_ends_the_command_ends_it(name: str) -> None:
    """So that a shell has 128 + n for it: 143, 137, 141, 130."""
    number = getattr(signal, name)
    coigp_run("--", "sh", "-c", f"kill -{number} $$", code=-number)
    word = shlex.join([sys.executable, "-c", COIGP, "run", "--", "sh", "-c", f"kill -{number} $$"])
    shell = subprocess.run(["sh", "-c", f"{word}; echo $?"], capture_output=True, text=True, check=False)
    assert shell.stdout == f"{128 + number}\n"


CAUGHT = "except KeyboardInterrupt:\n    print('caught', flush=True)\n    raise SystemExit(130)\n"


def test_ctrl_c_reaches_the_command() -> None:
    waits = "import os, sys\ntry:\n    print(os.getpid(), flush=True)\n    sys.stdin.read()\n"
    process = start("run", "--", "python", "-c", waits + CAUGHT)
    assert process.stdout is not None
    assert int(process.stdout.readline()) == process.pid, "it does not stand in coigp's place"
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate()
    assert (output, errors, process.returncode) == ("caught\n", "", 130)


def test_a_signal_that_was_ignored_stays_so() -> None:
    """As for a job that nohup started in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        output, _ = coigp_run("--", "sh", "-c", "kill -INT $$; echo still here")
    finally:
        signal.signal(signal.SIGINT, before)
    assert output == "still here\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["no-such-command"], ["no command 'no-such-command' in ", "or on PATH", "python -m MODULE"]),
        (["./no/such"], ["no command './no/such'. Is it installed"]),
        ([""], ["no command ''"]),
        (["{folder}/tool.py"], ["is not a command. A Python file is run with: coigp run -- python {folder}/tool.py"]),
        (["{folder}/notes.txt"], ["notes.txt is not a command", "Is it a program?"]),
        (["{folder}"], ["no command"]),
        (["{folder}/broken"], ["broken cannot be run: Exec format error"]),
        (["{folder}/moved"], ["moved cannot be run: No such file or directory"]),
        ([], ["Missing argument 'COMMAND"]),
    ],
)
def test_what_cannot_be_run_is_said(words: list[str], said: list[str], tool: Path) -> None:
    (tool / "notes.txt").write_text("x", encoding="utf-8")
    for name, content in {"broken": b"\x00\x01", "moved": b"#!/no/such/python\n"}.items():
        (tool / name).write_bytes(content)
        (tool / name).chmod(0o755)
    output, errors = coigp_run("--", *(word.format(folder=tool) for word in words), code=2)
    assert output == ""
    assert [part for part in said if part.format(folder=tool) not in errors] == []


def test_a_command_beside_coigp_comes_before_one_on_path(tool: Path, tmp_path: Path, monkeypatch: Any) -> None:
    beside, other = tmp_path / "bin", tmp_path / "other"
    for folder, name in ((beside, "both"), (other, "both"), (other, "one")):
        folder.mkdir(exist_ok=True)
        (folder / name).write_text("#!/bin/sh\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(other))
    monkeypatch.setattr(launch.sysconfig, "get_path", lambda _: str(beside))
    assert launch.find_command("both") == str(beside / "both")
    assert launch.find_command("one") == str(other / "one")
    assert launch.find_command(str(other / "both")) == str(other / "both")
    with pytest.raises(UsageError, match="no command 'none'"):
        launch.find_command("none")


def own(folder: Path, text: str) -> dict[str, str]:
    """An environment in which a sitecustomize of the user's own is found."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(text, encoding="utf-8")
    return environment(PYTHONPATH=os.pathsep.join([str(folder), PACKAGE]))


def test_a_sitecustomize_of_ones_own_runs_as_ever(tmp_path: Path) -> None:
    env = own(tmp_path / "own", "import sys; print('own', __name__, __file__); sys.made = 1\n")
    code = f"import sys, sitecustomize; print(sys.made, sitecustomize.__file__); {KNOWS}; print(sys.path)"
    output, errors = coigp_run("--", "python", "-c", code, env=env)
    path = str(tmp_path / "own" / "sitecustomize.py")
    assert errors == ""
    by_coigp, first, second, third, places = output.splitlines()
    assert by_coigp == first
    assert (first, second, third) == (f"own sitecustomize {path}", f"1 {path}", "True")
    assert str(launch.STARTUP) not in places


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise RuntimeError('mine')", "Error in sitecustomize"),
        ("import no_such_module_of_mine", "no_such_module_of_mine"),
        ("raise ImportError('mine')", "mine"),
    ],
)
def test_a_sitecustomize_that_fails_is_told_as_ever(text: str, said: str, tmp_path: Path) -> None:
    """By Python, and the name is known all the same."""
    env = own(tmp_path / "own", text + "\n")
    stock = subprocess.run([sys.executable, "-c", "print(1)"], env=env, capture_output=True, text=True, check=False)
    process = start("run", "--", "python", "-c", f"{KNOWS}", env=env)
    output, errors = process.communicate("")
    assert process.returncode == 0
    assert said in errors
    assert (said in stock.stderr, stock.returncode) == (True, 0)
    assert output == "True\n"


def test_one_that_makes_coig_p_importable_runs_first(tmp_path: Path) -> None:
    env = own(tmp_path / "own", f"import sys; sys.path.append({PACKAGE!r})\n")
    bare = bare_python(tmp_path)
    output, errors = coigp_run("--", bare, "-c", KNOWS, env=env | {"PYTHONPATH": str(tmp_path / "own")})
    assert (output, errors) == ("True\n", "")


def bare_python(folder: Path) -> Path:
    venv.create(folder / "bare", with_pip=False, symlinks=True)
    return folder / "bare" / "bin" / "python"


def test_a_python_without_coig_p_says_so_once_and_goes_on(tmp_path: Path) -> None:
    bare = bare_python(tmp_path)
    code = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', 'print(1); raise SystemExit(5)']))"
    env = environment()
    env.pop("PYTHONPATH", None)
    output, errors = coigp_run("--", bare, "-c", code, env=env, cwd=tmp_path, code=5)
    assert output == "1\n"
    (line,) = errors.splitlines()
    assert line.startswith(f"coigp run: {bare} has no coig_p that works (No module named 'coig_p')")
    assert f"{bare} -m pip install coig-p" in line


def test_a_coig_p_that_does_not_import_breaks_nothing(tmp_path: Path) -> None:
    (tmp_path / "coig_p").mkdir()
    (tmp_path / "coig_p" / "__init__.py").write_text("this is no Python\n", encoding="utf-8")
    env = environment(PYTHONPATH=str(tmp_path))
    output, errors = coigp_run("--", bare_python(tmp_path), "-c", "print(1)", env=env)
    assert output == "1\n"
    assert errors.count("\n") == 1
    assert "has no coig_p that works (invalid syntax" in errors


@pytest.mark.parametrize(
    ("named", "wanted"),
    [
        (None, ["{ours}"]),
        ("", ["{ours}"]),
        ("/a", ["{ours}", "/a"]),
        ("/a:/b c:", ["{ours}", "/a", "/b c", ""]),
        ("{ours}:/a", ["{ours}", "/a"]),
    ],
)
def test_the_rest_of_the_environment_stays_as_it_is(named: str | None, wanted: list[str]) -> None:
    ours = str(launch.STARTUP)
    before = {"HF_TOKEN": "hf_secret", "PATH": "/bin"}
    if named is not None:
        before["PYTHONPATH"] = named.format(ours=ours)
    given = dict(before)
    found = launch.environment_of(given, 12)
    assert given == before
    assert found.pop("PYTHONPATH") == ":".join(wanted).format(ours=ours)
    assert found.pop("COIGP_RUN") == "12"
    before.pop("PYTHONPATH", None)
    assert found == before


def test_a_folder_that_cannot_stand_on_pythonpath(monkeypatch: Any) -> None:
    monkeypatch.setattr(launch, "STARTUP", Path("/a:b/startup"))
    with pytest.raises(UsageError, match="cannot stand in a name on PYTHONPATH"):
        launch.environment_of({}, 1)


def test_the_folder_holds_nothing_else() -> None:
    """Whatever stood in it would come before modules of that name everywhere."""
    assert [path.name for path in launch.STARTUP.iterdir() if path.name != "__pycache__"] == ["sitecustomize.py"]
