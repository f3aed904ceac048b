"""What every Python does first that `coigp run` starts, and every Python that this one starts: learn "coig-p".

Python imports sitecustomize by itself, and this folder is first on PYTHONPATH. Another sitecustomize that would have
been found runs as ever, and before: it may be what makes coig_p importable. Whatever goes wrong here must not break
the command, and a Python of any version and environment may read it, so it is plain.
"""

import os
import sys

_here = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [_place for _place in sys.path if os.path.abspath(_place) != _here]
_self = sys.modules.pop("sitecustomize", None)
try:
    __import__("sitecustomize")  # the other one
except ImportError as _error:
    if getattr(_error, "name", None) != "sitecustomize":
        raise
    if _self is not None:  # there is none
        sys.modules["sitecustomize"] = _self
finally:
    try:
        import coig_p  # noqa: F401  # this registers, once datasets is imported
    except Exception as _error:
        # Said by the command itself alone: what it starts may be any Python.
        if os.environ.get("COIGP_RUN") == str(os.getpid()) and sys.stderr is not None:
            _python = '"' + sys.executable + '"' if " " in sys.executable else sys.executable
            sys.stderr.write(
                "coigp run: " + _python + " has no coig_p that works (" + str(_error) + "), so nothing that it "
                "runs knows the name coig-p. Install it there: " + _python + " -m pip install coig-p\n"
            )
