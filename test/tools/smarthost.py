#!/usr/bin/env python3
"""A small, strict SMTP smart host for tests and for "make demo".

It accepts only what RFC 5321 allows a client to send, keeps every message as a file (one line
of JSON with the envelope, then the content as it came, dots unstuffed) and writes one JSON
line an event to a ledger. What a client should not do is a "violation" there.

    smarthost.py --dir FOLDER [--ledger FILE] [--port 0] [--tls starttls|implicit --cert F --key F]
                 [--user U --password P] [--reply 'RCPT:regex:550 5.1.1 no such user[:times]'] ...

It prints "ready PORT" when it listens; SIGTERM and SIGINT end it.
"""
import argparse
import base64
import json
import os
import re
import signal
import socket
import ssl
import sys
import threading
import time

KEYWORDS = ["PIPELINING", "SIZE", "8BITMIME", "DSN", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
LINE_MAX = 2048  # RFC 5321 4.5.3.1.4 says 512, extensions and long paths add to it
CONTENT_MAX = 256 << 20
AUTH_MAX = 12288  # RFC 4954 section 4
PATH = re.compile(rb'<((?:"(?:[^"\\]|\\.)*"|[^\s<>"])*)>')


class Closed(Exception):
    """The client went away, or was sent away."""


class Ledger:
    """Events of all connections in the order they happened; in memory and in a file."""

    def __init__(self, path=None):
        self.lock = threading.Lock()
        self.rows = []
        self.file = open(path, "a", encoding="utf-8") if path else None

    def add(self, event, **more):
        row = {"t": round(time.time(), 3), "event": event, **more}
        with self.lock:
            self.rows.append(row)
            if self.file:
                self.file.write(json.dumps(row) + "\n")
                self.file.flush()

    def of(self, event):
        with self.lock:
            return [r for r in self.rows if r["event"] == event]

    def close(self):
        if self.file:
            self.file.close()
            self.file = None


class Session:
    """One connection, in its own thread."""

    def __init__(self, host, sock, number):
        self.host, self.sock, self.number = host, sock, number
        self.buf = b""
        self.tls = self.authed = False
        self.hello = None
        self.reset()

    def reset(self):
        self.sender, self.mail_params, self.rcpts, self.chunks = None, {}, [], b""

    def note(self, event, **more):
        self.host.ledger.add(event, conn=self.number, **more)

    def violation(self, what):
        self.note("violation", what=what)

    def send(self, *lines):
        out = b""
        for i, line in enumerate(lines):
            sep = " " if i == len(lines) - 1 else "-"
            out += (line[:3] + sep + line[4:]).encode() + b"\r\n"
        try:
            self.sock.sendall(out)
        except OSError as e:
            raise Closed(str(e))

    def fill(self):
        try:
            got = self.sock.recv(65536)
        except (OSError, ssl.SSLError) as e:
            raise Closed(str(e))
        if not got:
            raise Closed("end of file")
        self.buf += got

    def line(self, limit=LINE_MAX):
        """One command, which must end in CRLF and hold no other CR, LF or NUL."""
        while b"\n" not in self.buf:
            if len(self.buf) > limit:
                self.violation("command line too long")
                self.send("500 5.5.2 line too long")
                raise Closed("line too long")
            self.fill()
        line, self.buf = self.buf.split(b"\n", 1)
        if not line.endswith(b"\r") or b"\r" in line[:-1] or b"\0" in line:
            self.violation("bare CR, LF or NUL in a command: " + repr(line))
            self.send("500 5.5.2 lines end in CRLF")
            raise Closed("bad line end")
        return line[:-1]

    def must_be_alone(self, verb):
        """RFC 2920 section 3.1: the last command of a group; nothing may stand behind it."""
        if self.buf:
            self.violation(f"commands pipelined behind {verb}")

    def run(self):
        self.note("connect")
        why = ""
        try:
            if self.host.tls == "implicit":
                self.start_tls()
            greeting = self.host.canned("GREETING", "") or f"220 {self.host.name} ESMTP test"
            self.send(greeting)
            while self.command(self.line()):
                pass
        except Closed as e:
            why = str(e)
            if self.sender is not None:
                self.note("lost", sender=self.sender)
        finally:
            self.note("close", why=why)
            try:
                self.sock.close()
            except OSError:
                pass

    def start_tls(self):
        try:
            self.sock = self.host.context.wrap_socket(self.sock, server_side=True)
        except (OSError, ssl.SSLError) as e:
            self.note("tls-failed", why=str(e))
            raise Closed("TLS: " + str(e))
        self.tls, self.hello, self.buf = True, None, b""
        self.note("tls", version=self.sock.version())
        self.reset()

    def command(self, line):
        verb, _, rest = line.partition(b" ")
        verb = verb.upper().decode("ascii", "replace")
        if verb != "AUTH":
            self.note("command", line=line.decode("utf-8", "backslashreplace"))
        take = getattr(self, "do_" + verb.lower(), None) if verb.isalpha() else None
        if not take:
            self.send("500 5.5.2 unknown command")
            return True
        canned = self.host.canned(verb, rest.decode("utf-8", "backslashreplace"))
        if canned and canned.startswith("close"):
            raise Closed("as told")
        if canned and not (verb == "DATA" and canned.startswith("354")):
            self.send(canned)
            return not canned.startswith("421")
        return take(rest) is not False

    def do_ehlo(self, rest):
        self.must_be_alone("EHLO")
        time.sleep(self.host.far)
        if not re.fullmatch(rb"[A-Za-z0-9.-]+|\[[0-9A-Za-z.:]+\]", rest):
            self.violation("EHLO argument " + repr(rest))
        self.reset()
        self.hello = rest.decode("ascii", "replace")
        lines = [self.host.name]
        for k in self.host.keywords:
            lines.append(f"SIZE {self.host.max_size}" if k == "SIZE" else k)
        if self.host.tls == "starttls" and not self.tls:
            lines.append("STARTTLS")
        if self.host.user and (self.tls or self.host.tls is None):
            lines.append("AUTH PLAIN LOGIN")
        self.send(*["250 " + x for x in lines])

    def do_helo(self, rest):
        self.must_be_alone("HELO")
        self.reset()
        self.hello = rest.decode("ascii", "replace")
        self.send("250 " + self.host.name)

    def do_starttls(self, rest):
        if rest or self.tls or self.host.tls != "starttls":
            self.send("503 5.5.1 not now")
            return
        self.must_be_alone("STARTTLS")
        self.send("220 2.0.0 go ahead")
        self.start_tls()

    def do_auth(self, rest):
        if not self.host.user or self.authed or not self.hello or (self.host.tls and not self.tls):
            self.violation("AUTH where it is not offered")
            self.send("503 5.5.1 not now")
            return
        mech, _, first = rest.partition(b" ")
        try:
            name, password = self.credentials(mech.upper(), first)
        except ValueError:
            self.send("501 5.5.2 cannot decode")
            return
        self.must_be_alone("AUTH")
        good = (name, password) == (self.host.user.encode(), self.host.password.encode())
        self.note("auth", mech=mech.decode("ascii", "replace"), ok=good,
                  user=name.decode("utf-8", "replace"))
        canned = self.host.canned("CREDENTIALS", "")
        self.authed = good and not canned
        self.send(canned or ("235 2.7.0 welcome" if good else "535 5.7.8 no"))

    def credentials(self, mech, first):
        def ask(text, given=b""):
            if not given:
                self.send("334 " + base64.b64encode(text).decode())
                given = self.line(AUTH_MAX)
            if given == b"*":
                raise ValueError
            return base64.b64decode(b"" if given == b"=" else given, validate=True)
        if mech == b"PLAIN":
            parts = ask(b"", first).split(b"\0")
            if len(parts) != 3:
                raise ValueError
            return parts[1], parts[2]
        if mech == b"LOGIN":
            return ask(b"Username:", first), ask(b"Password:")
        raise ValueError

    def path(self, rest, word):
        m = re.match(word + rb":", rest, re.I)
        m = m and PATH.match(rest, m.end())
        if not m:
            return None, None
        params = {}
        for p in rest[m.end():].split():
            k, _, v = p.partition(b"=")
            params[k.decode("ascii", "replace").upper()] = v.decode("utf-8", "replace")
        if rest[m.end():] and not re.fullmatch(rb"( [^\s]+)+", rest[m.end():]):
            self.violation("parameters " + repr(rest[m.end():]))
        return m.group(1), params

    def do_mail(self, rest):
        addr, params = self.path(rest, rb"FROM")
        if addr is None:
            self.violation("MAIL " + repr(rest))
            self.send("501 5.5.4 syntax")
            return
        if not self.hello or self.sender is not None:
            self.violation("MAIL out of step")
            self.send("503 5.5.1 out of step")
            return
        if self.host.user and not self.authed:
            self.send("530 5.7.0 authentication required")
            return
        known = {"SIZE": "SIZE", "BODY": "8BITMIME", "SMTPUTF8": "SMTPUTF8", "RET": "DSN",
                 "ENVID": "DSN", "AUTH": "AUTH"}
        for k in params:
            if known.get(k) != "AUTH" and known.get(k) not in self.host.keywords:
                self.violation("MAIL parameter not offered: " + k)
                self.send("555 5.5.4 unknown parameter")
                return
        if max(addr, default=0) > 0x7f and "SMTPUTF8" not in params:
            self.violation("8-bit address without SMTPUTF8")
        size = params.get("SIZE", "0")
        if not re.fullmatch(r"[0-9]{1,20}", size):
            self.violation("SIZE=" + size)
        elif int(size) > self.host.max_size:
            self.send("552 5.3.4 too big")
            return
        self.sender, self.mail_params = addr.decode("utf-8", "replace"), params
        self.send("250 2.1.0 ok")

    def do_rcpt(self, rest):
        addr, params = self.path(rest, rb"TO")
        if not addr:
            self.violation("RCPT " + repr(rest))
            self.send("501 5.5.4 syntax")
        elif self.sender is None:
            self.send("503 5.5.1 out of step")
        elif params and (set(params) - {"NOTIFY", "ORCPT"} or "DSN" not in self.host.keywords):
            self.violation("RCPT parameters " + repr(params))
            self.send("555 5.5.4 unknown parameter")
        else:
            self.rcpts.append({"addr": addr.decode("utf-8", "replace"), **params})
            self.send("250 2.1.5 ok")

    def do_data(self, rest):
        if not self.rcpts or rest:
            self.send("503 5.5.1 no valid recipients")
            return
        self.must_be_alone("DATA")
        self.send("354 go ahead")
        self.end_of_data(self.content())

    def do_bdat(self, rest):
        m = re.fullmatch(rb"(\d{1,12})( LAST)?", rest)
        if not m or "CHUNKING" not in self.host.keywords or int(m[1]) > CONTENT_MAX:
            self.violation("BDAT " + repr(rest))
            self.send("501 5.5.4 syntax")
            raise Closed("the chunk cannot be told from commands")
        size = int(m[1])
        while len(self.buf) < size:
            self.fill()
        self.chunks, self.buf = self.chunks + self.buf[:size], self.buf[size:]
        if not self.rcpts:
            self.send("554 5.5.1 no valid recipients")
            self.reset()
        elif not m[2]:
            self.send("250 2.0.0 ok")
        else:
            self.judge(self.chunks, stuffed=False)
            self.mail_params["BDAT"] = True
            self.end_of_data(self.chunks)

    def end_of_data(self, content):
        time.sleep(self.host.pause)
        canned = self.host.canned("CONTENT", content.decode("latin-1"))
        if canned and canned.startswith("close"):
            raise Closed("as told")
        if canned and not canned.startswith("2"):
            self.note("refused", sender=self.sender, reply=canned)
            self.send(canned)
        else:
            name = self.host.keep(self, content)
            self.note("message", file=name, sender=self.sender, size=len(content),
                      rcpts=[r["addr"] for r in self.rcpts], declared=self.mail_params.get("SIZE"))
            self.send(canned or f"250 2.0.0 ok queued as {name}")
        self.reset()

    def content(self):
        """Up to CRLF.CRLF and nothing else; the terminator and stuffed dots taken off."""
        self.buf = b"\r\n" + self.buf
        seen = 0
        while (end := self.buf.find(b"\r\n.\r\n", max(0, seen - 5))) < 0:
            seen = len(self.buf)
            if seen > CONTENT_MAX:
                raise Closed("content too long")
            self.fill()
        raw, self.buf = self.buf[2:end + 2], self.buf[end + 5:]
        self.judge(raw)
        return re.sub(rb"(^|\r\n)\.", rb"\1", raw)

    def judge(self, raw, stuffed=True):
        if b"\r" in raw.replace(b"\r\n", b"") or b"\n" in raw.replace(b"\r\n", b""):
            self.violation("bare CR or LF in content")
        if b"\0" in raw:
            self.violation("NUL in content")
        lines = raw.split(b"\r\n")
        if max(map(len, lines)) > 999 or any(len(x) > 998 and x[:1] != b"." for x in lines):
            self.violation("line of more than 998 octets")
        if stuffed and any(x[:1] == b"." and x[1:2] != b"." for x in lines if len(x) > 1):
            self.violation("dot not stuffed")
        if max(raw, default=0) > 0x7f and self.mail_params.get("BODY") != "8BITMIME":
            self.violation("8-bit content without BODY=8BITMIME")

    def do_rset(self, _):
        self.reset()
        self.send("250 2.0.0 ok")

    def do_noop(self, _):
        self.send("250 2.0.0 ok")

    def do_quit(self, _):
        self.send("221 2.0.0 bye")
        self.note("quit")
        return False


class SmartHost:
    """Listens on 127.0.0.1 from the constructor on, until stop()."""

    def __init__(self, folder, ledger=None, port=0, tls=None, cert=None, key=None, user=None,
                 password=None, replies=(), without=(), max_size=CONTENT_MAX,
                 name="mx.isp.example", chunking=False, far=0, pause=0):
        self.folder, self.tls, self.name, self.max_size = folder, tls, name, max_size
        self.user, self.password = user, password
        self.keywords = [k for k in KEYWORDS if k not in without]
        self.keywords += ["CHUNKING"] if chunking else []
        self.far, self.pause = far, pause  # seconds before EHLO's reply, and a message's
        self.ledger = Ledger(ledger)
        self.lock = threading.Lock()
        self.replies = []
        for r in replies:
            self.reply(r)
        self.sessions = set()
        os.makedirs(folder, exist_ok=True)
        self.count = len(os.listdir(folder))  # names go on where an earlier host ended
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(cert, key)
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def reply(self, rule):
        """Answers a verb (also GREETING, CREDENTIALS, CONTENT) whose argument matches as told:
        'VERB:regex:reply[:times]'; the reply "close" closes. The newest rule goes first."""
        m = re.fullmatch(r"([A-Z]+):((?:[^:\\]|\\.)*):(.*?)(?::(\d+))?", rule, re.S)
        if not m:
            raise ValueError("not VERB:regex:reply[:times]: " + rule)
        with self.lock:
            self.replies.insert(0, [m[1], re.compile(m[2], re.S), m[3], int(m[4] or -1)])

    def canned(self, verb, arg):
        with self.lock:
            for r in self.replies:
                if r[0] == verb and r[3] and r[1].search(arg):
                    r[3] -= 1
                    return r[2]
        return None

    def keep(self, session, content):
        with self.lock:
            self.count += 1
            name = f"{self.count:06d}-{os.getpid()}"
        envelope = {"sender": session.sender, "rcpts": session.rcpts, "mail": session.mail_params,
                    "helo": session.hello, "tls": session.tls, "auth": session.authed}
        path = os.path.join(self.folder, name)
        with open(path + ".tmp", "wb") as f:
            f.write(json.dumps(envelope).encode() + b"\n" + content)
        os.rename(path + ".tmp", path)
        return name

    def messages(self):
        """[(envelope, content)] in the order of acceptance."""
        out = []
        for name in sorted(os.listdir(self.folder)):
            if name.endswith(".tmp"):
                continue
            with open(os.path.join(self.folder, name), "rb") as f:
                out.append((json.loads(f.readline()), f.read()))
        return out

    def serve(self):
        number = 0
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(300)
            number += 1
            threading.Thread(target=self.session, args=(sock, number), daemon=True).start()

    def session(self, sock, number):
        s = Session(self, sock, number)
        self.sessions.add(s)
        try:
            s.run()
        finally:
            self.sessions.discard(s)

    def stop(self):
        """Refuses connections from now on and cuts those that are open."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for s in list(self.sessions):
            try:
                s.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.thread.join(5)


def main():
    p = argparse.ArgumentParser(description="a strict SMTP smart host for tests")
    p.add_argument("--dir", required=True)
    p.add_argument("--ledger")
    p.add_argument("--port", type=int, default=0)
    p.add_argument("--tls", choices=["starttls", "implicit"])
    p.add_argument("--cert")
    p.add_argument("--key")
    p.add_argument("--user")
    p.add_argument("--password")
    p.add_argument("--max-size", type=int, default=CONTENT_MAX)
    p.add_argument("--name", default="mx.isp.example")
    p.add_argument("--without", action="append", default=[], help="an EHLO keyword not to offer")
    p.add_argument("--reply", action="append", default=[], help="VERB:regex:reply[:times]")
    a = p.parse_args()
    for s in (signal.SIGTERM, signal.SIGINT):
        signal.signal(s, lambda *_: sys.exit(0))
    host = SmartHost(a.dir, a.ledger, a.port, a.tls, a.cert, a.key, a.user, a.password, a.reply,
                     a.without, a.max_size, a.name)
    print("ready", host.port, flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
