"""The command line: thin, one file per command, no rules of its own."""
