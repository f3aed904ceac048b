"""What everything else stands on: arrays, atomic writes, text. It knows nothing of stores."""
