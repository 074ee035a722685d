"""Waiting for a condition."""

import time


class Unwell(Exception):
    """The machines or the nodes did not recover in time."""


def wait(condition, limit_s, otherwise, pause_s=0.05):
    """Returns after how many seconds a condition held. `otherwise` makes the text about a wait that was too long."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > limit_s:
            raise Unwell(f"not after {limit_s} s: {otherwise()}")
        time.sleep(pause_s)
    return time.monotonic() - began
