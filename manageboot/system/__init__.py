"""The process and the system around it: signals, console, files, locks, commands. Nothing here knows of booting."""
