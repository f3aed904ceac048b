"""A store on disk or on the Hub: its manifest, its shards, where it is and how it is written."""
