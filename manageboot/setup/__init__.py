"""`init`: what a machine has of an A/B layout, what is missing, and a configuration for it."""
