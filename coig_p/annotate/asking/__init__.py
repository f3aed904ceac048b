"""Asking endpoints within their limits, each request once. Knows no task: a task makes `request.Request`s.

`endpoint` and `costs` say what may be asked and what it costs, `client` sends one request, `limits`,
`pace` and `port` hold requests back, `source` has what is to be asked, `asker` brings many to an outcome,
`batch` does so through files, and `ledger` keeps it all.
"""
