"""What drain and mix share: a sink, a line with delay, and queues that are full before anything
runs. All on 127.0.0.1; everything is ended by its process id."""
import atexit
import os
import re
import subprocess
import sys
import threading
import time

import common

os.environ.setdefault("TMPDIR", common.BENCH)  # the spool is on a disk
sys.path.insert(0, os.path.join(common.TOP, "test", "e2e"))
import bed as e2e  # noqa: E402
import peers  # noqa: E402

SIZE = 2048


class Tool:
    """A program of test/bench that says things, one a line."""

    def __init__(self, name, *args):
        path = os.path.join(common.BUILD, "bench", name)
        if not os.path.exists(path):
            common.fail(f"{path} is not built")
        self.p = subprocess.Popen([path, *map(str, args)], stdout=subprocess.PIPE, text=True)
        atexit.register(self.p.kill)  # whatever becomes of us
        self.lines, self.more = [], threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()
        self.port = int(self.wait("port", 10))

    def _read(self):
        for line in self.p.stdout:
            with self.more:
                self.lines.append(line.rstrip("\n"))
                self.more.notify_all()
        with self.more:
            self.lines.append(None)
            self.more.notify_all()

    def _find(self, word):
        for line in self.lines:
            if line is None or line.startswith(word + " "):
                return (line,)
        return None

    def wait(self, word, seconds):
        """What follows the first line that begins with word; None: not within seconds."""
        with self.more:
            if not self.more.wait_for(lambda: self._find(word), seconds):
                return None
            line = self._find(word)[0]
            return line and line.split(" ", 1)[1]

    def said(self, word):
        with self.more:
            return [x.split(" ", 1)[1] for x in self.lines if x and x.startswith(word + " ")]

    def stop(self):
        """What it says at its end, {word: number}."""
        if self.p.poll() is None:
            self.p.terminate()
        total = self.wait("total", 20)
        self.p.wait()
        return {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", total or "")}


def sink(count, tls=None, login=False, extensions=None, ledger=None, kill=None):
    args = ["-n", count]
    if tls:
        args += ["-s", *e2e.certificates().pair("good")]
        args += ["-i"] if tls == "implicit" else []
    args += ["-a"] if login else []
    args += ["-e", extensions] if extensions is not None else []
    args += ["-o", ledger] if ledger else []
    args += ["-k", *kill] if kill else []
    return Tool("sink", *args)


def text(n):
    """The nth message."""
    head = (f"From: caller@example.org\nTo: admin@example.org\nSubject: number {n:06}\n\n")
    return (head + common.message(SIZE).split("\n\n", 1)[1])[:SIZE - 1] + "\n"


# --- ours ---------------------------------------------------------------------------------

_attested = {}


def queue_file(content, sender="caller@example.org", rcpts=("admin@example.org",)):
    """As mailchuted writes it: taken from one that it wrote."""
    if not _attested:
        with e2e.Bed() as bed:
            bed.configure(9, hold=True)
            bed.start()
            bed.sendmail(["-f", "SENDER@x.example", "RCPT@x.example"], "Subject: x\n\nx\n")
            bed.wait_event("adopted")
            (name, where), = bed.queue().items()
            with open(os.path.join(bed.spool, where, name), encoding="utf-8") as f:
                _attested["lines"] = f.read().split("\n\n", 1)[0]
    lines = _attested["lines"].replace("SENDER@x.example", sender)
    lines = lines.replace("RRCPT@x.example", "\n".join("R" + r for r in rcpts))
    return lines + "\n\n" + content


def identity(n):
    """The nth of a queue's messages."""
    return f"{int(time.time() * 1000) - 3600000 + n // 16:011x}0{n % 16 << 12 | n & 0xfff:04x}"


def fill_ours(bed, contents):
    """queue/new as after so many calls of sendmail and their adoption; {id: index}."""
    bed.start()  # makes the folders
    bed.daemon.terminate()
    bed.daemon.wait()
    bed.daemon, ids = None, {}
    folder = os.path.join(bed.spool, "queue", "new")
    for n, content in enumerate(contents):
        name = identity(n)
        assert name not in ids
        ids[name] = n
        path = os.path.join(folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(content)
        os.chmod(path, 0o600)
        os.chown(path, e2e.UID, e2e.UID)
    common.settle(folder)
    return ids


def end_ours(bed, seconds=30):
    """Waits until push has gone, ends mailchuted: seconds of CPU of all its processes."""
    try:
        e2e.wait_for(lambda: not bed.pushes(), seconds, "push ends")
    except AssertionError:
        print("  (push did not end by itself)", file=sys.stderr)
    bed.daemon.terminate()
    _, status, used = os.wait4(bed.daemon.pid, 0)
    bed.daemon.returncode = os.waitstatus_to_exitcode(status)
    bed.daemon = None
    return used.ru_utime + used.ru_stime


# --- nullmailer ---------------------------------------------------------------------------

def fill_nullmailer(root, count):
    folder = os.path.join(root, common.THEIR_SPOOL, "queue")
    for n in range(count):
        path = os.path.join(folder, f"{1700000000 + n}.{n}")
        with open(path, "w", encoding="utf-8") as f:
            f.write("caller@example.org\nadmin@example.org\n\n" + text(n))
        os.chmod(path, 0o600)
        os.chown(path, common.MAIL_UID, common.MAIL_UID)
    common.settle(folder)
