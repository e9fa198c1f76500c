"""mailchute-smtpd -d in a bed, and clients for it: one of Python's, one that says anything."""
import os
import re
import signal
import smtplib
import socket
import subprocess

import users
from bed import as_user, letter, program, wait_for

LETTER = letter("listened", "Hello.\n.\n..dots\nend\n", sender="printer@lan.example")


class Desk:
    """A mailchute-smtpd -d of this bed; its log is a file. sections: {where: keys}."""

    def __init__(self, bed, sections, uid=None, args=(), start=True, env=None, host=None, **conf):
        self.bed, self.conf, self.p = bed, conf, None
        self.host = host or bed.host()
        self.configure(sections)
        self.log_path = os.path.join(bed.dir, "smtpd.log")
        self.who = as_user() if uid is None else users.who(uid)
        os.chmod(bed.dir, 0o755)
        bed.start()
        if start:
            self.start(args, env)

    def configure(self, sections):
        text = "".join(f'listen "{at}" {{ {keys} }}\n' for at, keys in sections.items())
        self.bed.configure(**{"port": getattr(self.host, "port", 0), "extra": text, **self.conf})

    def argv(self, *args):
        path = program("mailchute-smtpd")
        return [path, "-e", "-v", "-c", self.bed.conf, "-s", self.bed.spool,
                "-l", os.path.dirname(path), *args]

    def start(self, args=(), env=None, **how):
        log = open(self.log_path, "ab")
        at = log.tell()
        self.p = subprocess.Popen(self.argv("-d", *args), stdin=subprocess.DEVNULL, stderr=log,
                                  stdout=log, env={**os.environ, **(env or {})},
                                  **{**self.who, **how})
        log.close()
        self.bed.ends.append(self.end)
        self.wait(r"^mailchute-smtpd: smtpd version=", since=at)

    def end(self):
        if self.p and self.p.poll() is None:
            self.p.terminate()
            self.p.wait(10)

    def log(self, since=0):
        with open(self.log_path, "rb") as f:
            f.seek(since)
            return f.read().decode()

    def wait(self, regex, seconds=10, since=0):
        def look():
            found = re.search(regex, self.log(since), re.M)
            if not found and self.p and self.p.poll() is not None:
                raise AssertionError(f"mailchute-smtpd ended: {self.p.returncode}\n{self.log()}")
            return found
        return wait_for(look, seconds, lambda: f"{regex!r} in {self.log()}")

    def reload(self, result):
        at = len(self.log().encode())
        self.p.send_signal(signal.SIGHUP)
        self.wait(f"^mailchute-smtpd: reload result={result}$", since=at)

    def children(self):
        path = f"/proc/{self.p.pid}/task/{self.p.pid}/children"
        with open(path, encoding="ascii") as f:
            return [int(x) for x in f.read().split()]

    def delivered(self, count=1, seconds=15):
        """What the smart host has, as soon as it is so many."""
        wait_for(lambda: len(self.host.messages()) >= count, seconds,
                 lambda: f"{count} messages at the host; {self.log()} {self.bed.log()}")
        return self.host.messages()


def hello(port, source=None, host="127.0.0.1", ssl_context=None):
    """A connection that said EHLO; with a context, TLS comes first."""
    how = {"timeout": 10, "source_address": (source, 0) if source else None,
           "local_hostname": "printer.lan"}
    s = smtplib.SMTP_SSL(context=ssl_context, **how) if ssl_context else smtplib.SMTP(**how)
    s._host = host  # pylint: disable=protected-access  # for the certificate's name
    code, words = s.connect(host, port)
    if code != 220:
        raise smtplib.SMTPConnectError(code, words)
    s.ehlo()
    return s


def send(s, to="friend@far.example", text=LETTER):
    return s.sendmail("printer@lan.example", [to], text)


class Raw:
    """A connection without a library."""

    def __init__(self, where, source="127.0.0.1"):
        self.s = socket.socket(socket.AF_INET if isinstance(where, int) else socket.AF_UNIX)
        self.s.settimeout(10)
        if isinstance(where, int):
            self.s.bind((source, 0))
            self.s.connect(("127.0.0.1", where))
        else:
            self.s.connect(where)
        self.f = self.s.makefile("rb")

    def line(self):
        return self.f.readline().decode()

    def reply(self):
        """The last line of the next reply."""
        while True:
            got = self.line()
            if got[3:4] != "-":
                return got

    def say(self, text, want):
        self.s.sendall(text.encode() + b"\r\n")
        got = self.reply()
        assert got.startswith(want), (text, got)
        return got

    def envelope(self):
        self.say("EHLO raw", "250")
        self.say("MAIL FROM:<printer@lan.example>", "250")
        self.say("RCPT TO:<friend@far.example>", "250")
        self.say("DATA", "354")

    def data(self, text=LETTER):
        self.envelope()
        self.s.sendall(text.replace("\n.", "\n..").replace("\n", "\r\n").encode())

    def close(self):
        self.f.close()
        self.s.close()
