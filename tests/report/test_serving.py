"""Pages on a port of this machine: what else runs in the process is left alone."""

from __future__ import annotations

import logging

import pytest

from coig_p.report.serving import listen, run

uvicorn = pytest.importorskip("uvicorn", reason="the extra [view] is not installed")


def test_handlers_of_logging_stay_open(monkeypatch: pytest.MonkeyPatch) -> None:
    class Handler(logging.Handler):
        """As absl's, which closes standard error with it."""

        closed = False

        def close(self) -> None:
            self.closed = True
            super().close()

    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    handler = Handler()
    run(lambda: None, listen(0))  # type: ignore[arg-type]
    assert not handler.closed
    handler.close()
