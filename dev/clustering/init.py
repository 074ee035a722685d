#!/usr/bin/python3
"""The first process of a machine of the rig. It starts programs for the driver, and all of them end with it.

    init.py FOLDER BOOT [SOURCE=NAME …]

It puts each SOURCE below the name in FOLDER and FOLDER in the place of /mnt, both visible in this machine only, so that the
programs need no rights on the folders above. Then it reads one program a line, as JSON: {"name", "argv", "user",
"environment"}, and answers with its process id. When its input ends, because the driver ended the machine or was killed, it
exits, and the kernel kills every process of its namespace.
"""

import json
import os
import pwd
import select
import signal
import subprocess
import sys
from pathlib import Path

PLACE = "/mnt"
# Process ids of another boot must not be in use in this one: PostgreSQL finds the id of its earlier life in its folder.
PIDS_A_BOOT = 3_000


def mount(folder, sources):
    for source in sources:
        origin, name = source.split("=")
        target = folder / name
        if os.path.isdir(origin):
            target.mkdir(exist_ok=True)
        else:
            target.touch()
        subprocess.run(["mount", "--bind", origin, target], check=True)
    subprocess.run(["mount", "--rbind", folder, PLACE], check=True)
    # PostgreSQL shares memory through files here; they are lost with the machine.
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/dev/shm"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def skip_process_ids(boot):
    try:
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(boot % 10 * PIDS_A_BOOT + 300))
    except OSError:
        pass


def start(program):
    user = program["user"]
    uid, gid = (user, user) if isinstance(user, int) else pwd.getpwnam(user)[2:4]
    environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": PLACE, "LC_ALL": "C.UTF-8", **program["environment"]}
    with open(f"{PLACE}/{program['name']}.log", "ab") as log:
        return subprocess.Popen(
            program["argv"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=PLACE, env=environment,
            user=uid, group=gid, extra_groups=[], start_new_session=True,
        ).pid


def reap():
    """Takes note of processes that have ended, also of those whose parents had ended before."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def serve():
    ended, wake = os.pipe()
    for end in (ended, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    print("started", flush=True)
    unread = b""
    while True:
        readable, _, _ = select.select([0, ended], [], [])
        if ended in readable:
            os.read(ended, 4096)
            reap()
        if 0 in readable:
            read = os.read(0, 65536)
            if not read:
                return
            *lines, unread = (unread + read).split(b"\n")
            for line in lines:
                try:
                    print(start(json.loads(line)), flush=True)
                except (OSError, KeyError, subprocess.SubprocessError) as err:
                    print(f"failed: {err!r}", flush=True)


if __name__ == "__main__":
    mount(Path(sys.argv[1]), sys.argv[3:])
    skip_process_ids(int(sys.argv[2]))
    serve()
