"""One endpoint that is asked a number of things, through a ledger of its own: no run's file, no stages."""
