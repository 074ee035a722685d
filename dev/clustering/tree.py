"""The tree of processes."""

from pathlib import Path


def descendants(roots):
    """The processes below these, without them, by their ids, with the root of each."""
    children = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1])
            except (OSError, IndexError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, left = {}, [(root, root) for root in roots]
    while left:
        process, root = left.pop()
        for child in children.get(process, ()):
            found[child] = root
            left.append((child, root))
    return found
