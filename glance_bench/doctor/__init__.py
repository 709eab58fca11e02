"""What a machine can run, and what mends it: a record is gathered (``probe``), then judged (everything else)."""
