"""A store on disk or on the Hub: its manifest, its shards, where it is and how it is written."""

from coig_p.store.manifest import Manifest, StoreFile
from coig_p.store.store import Store
from coig_p.store.writing import Part, write_store

__all__ = ["Manifest", "Part", "Store", "StoreFile", "write_store"]
