"""A Hub on loopback that the unmodified clients talk to: for rehearsals, offline, and for tests."""

from coig_p.publish.local_hub.repository import Blob, Commit, HubRefusal, Repository
from coig_p.publish.local_hub.routes import ROUTES
from coig_p.publish.local_hub.server import Account, Handler, LocalHub

__all__ = ["ROUTES", "Account", "Blob", "Commit", "Handler", "HubRefusal", "LocalHub", "Repository"]

Handler.routes = ROUTES
