"""Several users of one spool: a bed whose spool and socket are also at the compiled-in paths.

enter() starts the program again in a mount namespace of its own, where /var/spool and /run are
empty; shared(bed) puts the bed's spool there, so that users other than its owner reach it.
Without root those tests are skipped, each by itself."""
import os
import shutil
import subprocess
import sys

from bed import as_user, program, skip

SPOOL, RUN = "/var/spool/mailchute", "/run/mailchute"
INSIDE = os.environ.get("T_USERS_INSIDE")
ANN, BOB, EVE = 61001, 61002, 61003  # without entries in passwd


def enter(path):
    """Call it first; comes back inside, or outside when there can be no inside."""
    if INSIDE:
        for folder in ("/var/spool", "/run"):
            subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", folder], check=True)
        os.mkdir(SPOOL)
        os.mkdir(RUN)
        os.symlink(SPOOL + "/socket", RUN + "/socket")
    elif os.geteuid() == 0 and shutil.which("unshare") and subprocess.run(
            ["unshare", "-m", "true"], check=False, capture_output=True).returncode == 0:
        os.environ["T_USERS_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable,
                              os.path.abspath(path), *sys.argv[1:]])


def shared(bed):
    """From now on send() and ask() work for all users."""
    if not INSIDE:
        skip("needs root and a mount namespace")
    os.chmod(bed.dir, 0o755)
    subprocess.run(["mount", "--bind", bed.spool, SPOOL], check=True)
    bed.ends.insert(0, lambda: subprocess.run(["umount", "-l", SPOOL], check=False))


def mailchute_in(bed, uid=61010):
    """The uid of the listener's user, whom this machine need not have: while the bed lives it does."""
    with open("/etc/passwd", encoding="utf-8") as f:
        passwd = bed.file("passwd", f.read() + f"mailchute-in:x:{uid}:{uid}::/:/bin/false\n", 0o644)
    subprocess.run(["mount", "--bind", passwd, "/etc/passwd"], check=True)
    bed.ends.insert(0, lambda: subprocess.run(["umount", "-l", "/etc/passwd"], check=False))
    return uid


def who(uid):
    """Arguments for subprocess; None: the spool's owner."""
    return as_user() if uid is None else {"user": uid, "group": uid, "extra_groups": []}


def call(uid, argv, data=b"", want=0, env=None):
    got = subprocess.run(argv, input=data if isinstance(data, bytes) else data.encode(), cwd="/",
                         env=env or {}, capture_output=True, timeout=90, check=False, **who(uid))
    if want is not None and got.returncode != want:
        raise AssertionError(f"{argv[1:]} of uid {uid} ended with {got.returncode}, wanted {want}: "
                             f"{got.stdout!r} {got.stderr!r}")
    return got


def send(uid, argv, data, want=0):
    """sendmail as that user; needs shared()."""
    return call(uid, [program("sendmail"), *argv], data, want)


def ask(bed, what, *args, uid=None, want=0):
    """mailchute as that user: what it printed, as text."""
    got = call(uid, ask_argv(bed, what, *args), want=want)
    return (got.stdout + got.stderr).decode("ascii")


def ask_argv(bed, what, *args):
    path = program("mailchute")
    return [path, what, "-s", bed.spool, "-l", os.path.dirname(path), *args]


class Eve:
    """A Python program as another user; it says "ready" and lives until the test ends."""

    def __init__(self, bed, code, *args, uid=EVE):
        self.p = subprocess.Popen(["/usr/bin/python3", "-c", code, bed.spool, *args],
                                  stdout=subprocess.PIPE, cwd="/tmp", **who(uid))
        bed.ends.append(self.end)
        assert self.p.stdout.readline() == b"ready\n"

    def end(self):
        if self.p.poll() is None:
            self.p.kill()
        self.p.wait()
        if self.p.stdout:
            self.p.stdout.close()
