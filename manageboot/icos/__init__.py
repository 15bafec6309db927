"""The command line of IC-OS's manageboot.sh, as a translation into that of manageboot."""
