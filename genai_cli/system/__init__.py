"""The operating system: files, locks, signals, terminals, processors, subprocesses."""
