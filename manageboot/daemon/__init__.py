"""The service: watches over a trial, over the slots' devices, and over reboots that do not come."""
