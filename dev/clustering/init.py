#!/usr/bin/python3
"""The first process of a machine of the rig. It starts programs for the driver, and all of them end with it.

    init.py FOLDER [BOOT [SOURCE=NAME …]]

With BOOT it is the first process of namespaces. Then it puts each SOURCE below the name in FOLDER and FOLDER in the place of /mnt,
both visible in this machine only, so that the programs need no rights on the folders above. It reads one program a line, as
JSON: {"name", "argv", "user", "environment"}, and answers with `ok`. When its input ends, because the driver ended the machine
or was killed, it exits. The kernel kills every process of its namespace then; without one it does that itself before.
"""

import ctypes
import json
import os
import pwd
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from tree import descendants

PLACE = "/mnt"
PR_SET_CHILD_SUBREAPER = 36
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


def adopt():
    """Makes this process the parent of all below it whose own parents have ended."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def end_all():
    """Kills everything below this process. What is started meanwhile is found at the next look."""
    while found := descendants([os.getpid()]):
        for process in found:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        reap()
        time.sleep(0.002)


def start(program, place):
    # Only root can start a program as another user.
    chosen, user = {}, program["user"]
    if os.geteuid() == 0:
        uid, gid = (user, user) if isinstance(user, int) else pwd.getpwnam(user)[2:4]
        chosen = {"user": uid, "group": gid, "extra_groups": []}
    environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": place, "LC_ALL": "C.UTF-8", **program["environment"]}
    with open(f"{place}/{program['name']}.log", "ab") as log:
        subprocess.Popen(
            program["argv"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=place, env=environment, start_new_session=True,
            **chosen,
        )


def reap():
    """Takes note of processes that have ended, also of those whose parents had ended before."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def serve(place):
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
                    start(json.loads(line), place)
                    print("ok", flush=True)
                except (OSError, KeyError, subprocess.SubprocessError) as err:
                    print(f"failed: {err!r}", flush=True)


def main(folder, boot=None, *sources):
    if boot is None:
        adopt()
        serve(folder)
        end_all()
    else:
        mount(Path(folder), sources)
        skip_process_ids(int(boot))
        serve(PLACE)


if __name__ == "__main__":
    main(*sys.argv[1:])
