"""Requests to endpoints: sent, limited, paid for once. Knows no task."""
