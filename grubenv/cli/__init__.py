"""The command line: what the words ask for, what each command does, and where its result and its messages go."""
