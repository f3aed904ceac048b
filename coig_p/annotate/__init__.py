"""From queries to scored responses with models alone, as COIG-P was made (COIG-P, section 3).

A run is one TOML file (`config`). Its stages collect queries, have every model answer them and have
judges of other families score the answers (`stages`). Every request goes through a ledger in SQLite
(`ledger`), so that what was answered once is never paid twice; the store at the end is read from it.
"""
