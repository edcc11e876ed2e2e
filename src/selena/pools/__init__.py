"""Pools of workers that run tasks: processes of this machine, or other machines."""
