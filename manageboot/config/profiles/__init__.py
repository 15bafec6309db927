"""The profiles that ship with manageboot, one TOML file each."""
