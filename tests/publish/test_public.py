"""What coig_p.publish shows, and that looking at one name does not load the others."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import coig_p.publish


def test_every_public_name_is_there_and_described() -> None:
    for name in coig_p.publish.__all__:
        described = getattr(coig_p.publish, name).__doc__ or ""
        assert len(described) > 40, name
        assert not described.startswith(f"{name}("), f"{name}: a signature is no description"
    assert set(coig_p.publish.__all__) == set(coig_p.publish._WHERE)
    assert set(coig_p.publish.__all__) <= set(dir(coig_p.publish))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = coig_p.publish.nothing


def test_the_local_hub_comes_alone() -> None:
    code = "import json, sys, coig_p.publish.local_hub; print(json.dumps([m for m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in json.loads(done.stdout) if name.startswith("coig_p.publish.")}
    package = "coig_p.publish.local_hub"
    assert loaded == {package, f"{package}.repository", f"{package}.routes", f"{package}.server"}
