"""The command line: everything between the shell and the library."""
