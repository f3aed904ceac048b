"""A release on its way to a Hub: made, read, planned, staged, verified, promoted, tagged.

    from coig_p.publish import HubConfig, publish, read_release

    publish(read_release("release", "1.0.0"), "org/name", HubConfig(private=True))

Names are looked up when they are used, so that importing this package, or its local Hub, loads nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coig_p.publish.client import HubConfig
    from coig_p.publish.hub import plan_release, publish, status
    from coig_p.publish.modelscope import plan_modelscope, publish_modelscope
    from coig_p.publish.plan import Release, ReleaseFile, read_release
    from coig_p.publish.rehearsal import rehearse
    from coig_p.publish.release import ReleaseConfig, write_release
    from coig_p.publish.results import Plan, Published, Status
    from coig_p.publish.withdrawal import abort, yank

__all__ = [
    "HubConfig",
    "Plan",
    "Published",
    "Release",
    "ReleaseConfig",
    "ReleaseFile",
    "Status",
    "abort",
    "plan_modelscope",
    "plan_release",
    "publish",
    "publish_modelscope",
    "read_release",
    "rehearse",
    "status",
    "write_release",
    "yank",
]

_WHERE = {
    "HubConfig": "client",
    "Plan": "results",
    "Published": "results",
    "Release": "plan",
    "ReleaseConfig": "release",
    "ReleaseFile": "plan",
    "Status": "results",
    "abort": "withdrawal",
    "plan_modelscope": "modelscope",
    "plan_release": "hub",
    "publish": "hub",
    "publish_modelscope": "modelscope",
    "read_release": "plan",
    "rehearse": "rehearsal",
    "status": "hub",
    "write_release": "release",
    "yank": "withdrawal",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
