"""The commands, by what they are about; each gathers its arguments, calls into the rooms below, and prints."""
