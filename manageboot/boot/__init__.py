"""What decides which slot boots, as it is now: environment block, trusted slot, kernel command line, records."""
