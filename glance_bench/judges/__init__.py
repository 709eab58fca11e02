"""Models that answer questions about an image, behind one interface. ``judge(name)`` makes one by its name."""
