"""The test bed: a mailchuted of its own on a temporary spool, its injector, smart hosts, TAP.

A test program imports what it needs, marks its functions with @test and ends with run().
Everything lives in one temporary folder and listens on 127.0.0.1 only; stop() ends what was
started here, by process id, and nothing else.
"""
import atexit
import contextlib
import errno
import fnmatch
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, "test", "tools"))
from rude import Rude  # noqa: E402
from smarthost import SmartHost  # noqa: E402,F401

BUILD = os.path.join(TOP, os.environ.get("B", "build"))
USER, PASSWORD = "eddy@isp.example", "s3cret wörd"
LOG_TAIL, LOG_LINE = 30, 1000  # of what a failed test shows
UID = os.geteuid() or 65534  # root's tests run mailchute as nobody


# --- TAP ----------------------------------------------------------------------------------

class Skip(Exception):
    """This test cannot run here; the text says why."""


def skip(why):
    raise Skip(why)


_tests = []


def test(f):
    """Marks a test; its docstring is its name. It gets a fresh Bed when it asks for one."""
    _tests.append(f)
    return f


def _log(text):
    for line in text.splitlines():
        print("#   " + line.encode("ascii", "backslashreplace").decode()[:LOG_LINE])


def _run_one(number, f):
    name = (f.__doc__ or f.__name__).strip().splitlines()[0]
    bed, why, start = None, None, time.monotonic()
    try:
        with contextlib.ExitStack() as stack:
            wants = f.__code__.co_varnames[:f.__code__.co_argcount]
            if wants:
                bed = stack.enter_context(Bed())
                f(bed)
            else:
                f()
    except Skip as e:
        print(f"ok {number} - {name} # SKIP {e}", flush=True)
        return True
    except Exception:  # pylint: disable=broad-except
        why = traceback.format_exc()
    if why is None:
        print(f"ok {number} - {name}  # {time.monotonic() - start:.1f}s", flush=True)
        return True
    print(f"not ok {number} - {name}")
    _log(why)
    if bed:
        _log(f"-- last lines of the log --\n{bed.last_log}")
    sys.stdout.flush()
    return False


def run(finish=None):
    """Runs the tests (those whose function's name matches an argument) and exits."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    patterns = sys.argv[1:] or ["*"]
    chosen = [f for f in _tests if any(fnmatch.fnmatch(f.__name__, p) for p in patterns)]
    good = True
    try:
        for i, f in enumerate(chosen, 1):
            good &= _run_one(i, f)
    finally:
        if finish:
            finish()
    print(f"1..{len(chosen)}")
    sys.exit(0 if good else 1)


def wait_for(what, seconds, why):
    """The first true value of what(), asked again and again; AssertionError after seconds."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {why() if callable(why) else why}")
        time.sleep(0.02)


def free_port():
    """A port that nobody has, on any address, and below those that the kernel gives to whoever
    connects somewhere or binds to 0: such a one may be gone before the caller listens on it."""
    while True:
        port = random.randrange(10000, 32768)
        try:
            for family, everywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                with socket.socket(family) as s:
                    s.bind((everywhere, port))
        except OSError as e:
            if e.errno == errno.EADDRINUSE:
                continue
            if e.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise
        return port


_programs = None


def program(name):
    """Path of a built program; for root a copy that nobody can reach, wherever the tree is."""
    global _programs
    if os.geteuid() != 0:
        return os.path.join(BUILD, name)
    if not _programs:
        _programs = tempfile.mkdtemp(prefix="mailchute-programs.")
        atexit.register(shutil.rmtree, _programs, True)
        os.chmod(_programs, 0o755)
        for p in ("sendmail", "mailchuted", "mailchute-push", "mailchute-look",
                  "mailchute-route", "mailchute-serve", "mailchute-smtpd",
                  "mailchute"):
            if os.path.exists(os.path.join(BUILD, p)):
                shutil.copy(os.path.join(BUILD, p), _programs)
    return os.path.join(_programs, name)


def as_user():
    """Arguments for subprocess."""
    return {"user": UID, "group": UID, "extra_groups": []} if os.geteuid() == 0 else {}


# --- certificates -------------------------------------------------------------------------

class Certificates:
    """A CA and what it signed: good, wrong-name, expired; and self-signed. Files NAME.pem and
    NAME.key; .ca is the CA's certificate."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        if not shutil.which("certtool"):
            skip("no certtool")
        self.ca = self.path("ca.pem")
        self.make("ca", ["cn = test CA", "ca", "cert_signing_key"], None)
        names = ["dns_name = localhost", "dns_name = mx.isp.example", "ip_address = 127.0.0.1"]
        server = ["cn = mx.isp.example", "signing_key", "tls_www_server"]
        self.make("good", server + names)
        self.make("wrong-name", ["cn = other.example", "dns_name = other.example", "signing_key",
                                 "tls_www_server"])
        self.make("expired", server + names, dates=("2020-01-01", "2021-01-01"))
        self.make("self-signed", server + names, None)

    def path(self, name):
        return os.path.join(self.folder, name)

    def pair(self, name):
        return self.path(name + ".pem"), self.path(name + ".key")

    def make(self, name, template, by="ca", dates=None):
        pem, key = self.pair(name)
        t = self.path(name + ".cfg")
        dates = dates or (time.strftime("%Y-%m-%d", time.gmtime(time.time() - 2 * 86400)),
                          time.strftime("%Y-%m-%d", time.gmtime(time.time() + 30 * 86400)))
        with open(t, "w", encoding="ascii") as f:
            f.write("\n".join(template) + "\n")
            f.write(f'activation_date = "{dates[0]} 00:00:00"\n')
            f.write(f'expiration_date = "{dates[1]} 00:00:00"\n')
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True}
        subprocess.run(["certtool", "--generate-privkey", "--key-type=ecdsa",
                        "--curve=secp256r1", "--outfile", key], **quiet)
        how = ["--generate-self-signed"]
        if by:
            how = ["--generate-certificate", "--load-ca-certificate", self.pair(by)[0],
                   "--load-ca-privkey", self.pair(by)[1]]
        subprocess.run(["certtool", *how, "--load-privkey", key, "--template", t,
                        "--outfile", pem], **quiet)


_certs = None


def certificates():
    """Made once a program."""
    global _certs
    if not _certs:
        folder = tempfile.mkdtemp(prefix="mailchute-certs.")
        atexit.register(shutil.rmtree, folder, True)
        os.chmod(folder, 0o755)
        _certs = Certificates(folder)
    return _certs


# --- the bed ------------------------------------------------------------------------------

def quoted(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "{ " + ", ".join(quoted(v) for v in value) + " }"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


class Bed:
    """with Bed() as bed: bed.host(...); bed.configure(...); bed.start(); bed.sendmail(...)"""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="mailchute-e2e.")
        self.spool = os.path.join(self.dir, "spool")
        self.conf = os.path.join(self.dir, "mailchute.conf")
        self.log_path = os.path.join(self.dir, "log")
        os.mkdir(self.spool, 0o755)
        if os.geteuid() == 0:
            for path in (self.dir, self.spool):
                os.chown(path, UID, UID)
        open(self.log_path, "wb").close()
        self.daemon = None
        self.log_from = 0
        self.last_log = ""
        self.ends = []  # what stop() calls, last first

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def unhindered(self):
        """Before start(): the spool in memory, for tests that mailchuted must pass in seconds.
        The disk of a machine that runs tests is shared, and each sync may take seconds there,
        whoever asks. ON_DISK: on the disk all the same."""
        if os.environ.get("ON_DISK") or subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=1g,mode=755", "tmpfs", self.spool],
                stderr=subprocess.DEVNULL, check=False).returncode:
            return
        os.chown(self.spool, UID, UID)
        self.ends.insert(0, lambda: subprocess.run(["umount", "-l", self.spool], check=False))

    # configuration

    def file(self, name, content, mode=0o600):
        path = os.path.join(self.dir, name)
        with open(path, "wb") as f:
            f.write(content if isinstance(content, bytes) else content.encode())
        os.chmod(path, mode)
        if os.geteuid() == 0:
            os.chown(path, UID, UID)
        return path

    def configure(self, port, tls="none", login=False, extra="", top="", masquerade=True, **keys):
        """Writes the configuration: one smart host on 127.0.0.1."""
        keys = {"host": ["127.0.0.1"], "port": port, "tls": tls, **keys}
        if tls != "none":
            keys.setdefault("tls_ca_file", certificates().ca)
            keys.setdefault("tls_name", "mx.isp.example")
        if login:
            keys["user"] = USER
            secret = PASSWORD if login is True else login
            keys["password_file"] = self.file("password", secret + "\n")
        lines = ['hostname = "box.example.org"', top, 'smarthost "isp" {']
        lines += [f"  {k.replace('_', '-')} = {quoted(v)}" for k, v in keys.items()]
        lines += ["}"]
        if masquerade:
            lines.append(f'masquerade {{ match = "*"  as = "{USER}" }}')
        self.file("mailchute.conf", "\n".join(lines) + "\n" + extra + "\n", 0o644)

    # smart hosts

    def host(self, cert="good", **how):
        """A SmartHost of test/tools; tls="starttls" or "implicit"; login=True."""
        if how.get("tls"):
            how["cert"], how["key"] = certificates().pair(cert)
        if how.pop("login", False):
            how["user"], how["password"] = USER, PASSWORD
        how.setdefault("port", free_port())  # for who stops it, and starts another in its place
        n = len(self.ends)
        h = SmartHost(os.path.join(self.dir, f"host{n}"),
                      ledger=os.path.join(self.dir, f"ledger{n}"), **how)
        self.ends.append(h.stop)
        return h

    def rude(self, *script, tls=False, port=0, cert="good"):
        pair = certificates().pair(cert) if tls else (None, None)
        r = Rude(list(script), *pair, port=port or free_port())
        self.ends.append(r.stop)
        return r

    # mailchuted

    def start(self, wait=True, args=(), files=0):
        """files: so many may be open in mailchuted and what it starts."""
        def few():
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        log = open(self.log_path, "ab")
        at = self.log_size()
        path = program("mailchuted")
        if not os.path.exists(path):
            raise AssertionError(path + " is not built")
        self.daemon = subprocess.Popen(
            [path, "-e", "-c", self.conf, "-s", self.spool, "-l", os.path.dirname(path), *args],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.dir,
            preexec_fn=few if files else None, **as_user())  # pylint: disable=subprocess-popen-preexec-fn
        log.close()
        if wait:
            self.wait_log(r"\bready\b", 10, since=at)
        return self.daemon

    def children(self):
        """Process ids of mailchuted's children, of any name."""
        if not self.daemon:
            return []
        try:
            with open(f"/proc/{self.daemon.pid}/task/{self.daemon.pid}/children",
                      encoding="ascii") as f:
                return [int(x) for x in f.read().split()]
        except OSError:
            return []

    def pushes(self):
        out = []
        for pid in self.children():
            try:
                with open(f"/proc/{pid}/comm", encoding="ascii") as f:
                    if f.read().strip() == "mailchute-push":
                        out.append(pid)
            except OSError:
                pass
        return out

    def kill(self, sig=signal.SIGKILL):
        """mailchuted alone; its children see to themselves. Its exit status."""
        self.daemon.send_signal(sig)
        status = self.daemon.wait(10)
        self.daemon = None
        return status

    def stop(self):
        try:
            left = self.children()
            if self.daemon and self.daemon.poll() is None:
                self.daemon.terminate()
                try:
                    self.daemon.wait(10)
                except subprocess.TimeoutExpired:
                    self.daemon.kill()
                    self.daemon.wait()
            for pid in left:
                end = time.monotonic() + 3
                while os.path.exists(f"/proc/{pid}") and time.monotonic() < end:
                    time.sleep(0.02)
                if self._is_ours(pid):
                    os.kill(pid, signal.SIGKILL)
            self.daemon = None
            while self.ends:
                self.ends.pop()()
        finally:
            self.last_log = "\n".join(self.log().splitlines()[-LOG_TAIL:])
            if not os.environ.get("KEEP"):
                shutil.rmtree(self.dir, ignore_errors=True)
            else:
                print("# kept", self.dir)

    @staticmethod
    def _is_ours(pid):
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii") as f:
                return f.read().startswith("mailchute")
        except OSError:
            return False

    # log

    def log_size(self):
        return os.stat(self.log_path).st_size

    def log(self, since=0):
        with open(self.log_path, "rb") as f:
            f.seek(since)
            return f.read().decode("utf-8", "backslashreplace")

    def wait_log(self, regex, seconds=10, since=0):
        """The match of a log line, awaited."""
        def look():
            ended = self.daemon and self.daemon.poll() is not None
            found = re.search(regex, self.log(since), re.M)
            if ended and not found:
                raise AssertionError("no daemon")
            return found
        try:
            return wait_for(look, seconds, f"log line {regex!r}")
        except AssertionError:
            if self.daemon and self.daemon.poll() is not None:
                raise AssertionError(f"mailchuted ended with {self.daemon.returncode} before "
                                     f"log line {regex!r}") from None
            raise

    def events(self, name=None, since=0, **having):
        """Events as dictionaries; having: id="..." and so on must be equal."""
        out = []
        for line in self.log(since).splitlines():
            m = re.match(r"mailchuted?(?:-\w+)?: ([a-z-]+)((?: [a-z-]+=.*)?)$", line)
            if not m or name not in (None, m[1]):
                continue
            row = {"event": m[1]}
            for k, q, v in re.findall(r' ([a-z-]+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))', m[2]):
                row[k] = q.replace('\\"', '"') or v
            if all(row.get(k) == v for k, v in having.items()):
                out.append(row)
        return out

    def wait_event(self, name, seconds=10, count=1, since=0, **having):
        """The events, as soon as there are count of them."""
        def look():
            got = self.events(name, since, **having)
            return got if len(got) >= count else None
        try:
            return wait_for(look, seconds, f"{count} x event {name} {having}")
        except AssertionError as e:
            if self.daemon and self.daemon.poll() is not None:
                raise AssertionError(f"mailchuted ended with {self.daemon.returncode}: {e}") \
                    from None
            raise

    # injector

    def run(self, argv, data=b"", env=None, cwd=None):
        """Any program, as the user whose spool this is."""
        return subprocess.run(argv, input=data if isinstance(data, bytes) else data.encode(),
                              env={**os.environ, "MAILCHUTE_SPOOL": self.spool, **(env or {})},
                              cwd=cwd or self.dir, capture_output=True, timeout=60, check=False,
                              **as_user())

    def sendmail(self, argv, data=b"", env=None, want=0):
        """Runs sendmail; want: the exit status it must have (None: any)."""
        got = self.run([program("sendmail"), *argv], data, env)
        if want is not None and got.returncode != want:
            raise AssertionError(f"sendmail {argv} ended with {got.returncode}, wanted {want}: "
                                 + got.stderr.decode("utf-8", "replace"))
        return got

    def flush(self):
        self.sendmail(["-q"])

    def queue(self):
        """Ids of all messages that are in the drop, queued, held or bad: {id: where}."""
        out = {}
        for top in ("in/drop", "in/taken", "queue", "hold", "bad"):
            for folder, _, names in os.walk(os.path.join(self.spool, top)):
                for name in names:
                    if re.fullmatch(r"[0-9a-f]{16}", name):
                        out[name] = os.path.relpath(folder, self.spool)
        return out

    def wait_queue(self, count, seconds=5):
        """A message that is being adopted may be seen twice or not at all: hence waits."""
        wait_for(lambda: len(self.queue()) == count, seconds,
                 lambda: f"{count} messages in the queue, it holds {self.queue()}")

    def wait_done(self, count=1, seconds=10):
        """Until count messages that were adopted (or made as DSNs) are no longer in the queue.
        Looks twice: one that is being moved from folder to folder may not be seen."""
        before = [set()]
        def look():
            gone = {r["id"] for r in self.events("adopted")}
            gone |= {r["dsn"] for r in self.events("returned")}
            gone -= set(self.queue())
            both, before[0] = gone & before[0], gone
            return len(both) >= count
        wait_for(look, seconds, lambda: f"{count} messages done; in the queue: {self.queue()}")

    def wait_empty(self, seconds=15):
        self.wait_queue(0, seconds)


def letter(subject="test", body="Hello.\n", sender="root", to="friend@far.example", more=""):
    """A plain message with the header callers write."""
    return f"From: {sender}\nTo: {to}\nSubject: {subject}\n{more}\n{body}"


def header(content, name):
    """Values of a header field, unfolded; content has CRLF or LF."""
    head = re.split(rb"\r?\n\r?\n", content, maxsplit=1)[0] + b"\n"
    head = re.sub(rb"\r?\n[ \t]", b" ", head)
    return [m.strip().decode("utf-8", "replace")
            for m in re.findall(rb"^" + name.encode() + rb":(.*)$", head, re.M | re.I)]


def body(content):
    return re.split(rb"\r?\n\r?\n", content, maxsplit=1)[1]
