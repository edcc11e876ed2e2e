"""Who runs tasks: processes of this machine, or other machines."""
