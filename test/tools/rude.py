#!/usr/bin/env python3
"""A rude SMTP server: does to a client exactly what a script says.

A script is a list of connections, each a list of steps; the last connection's steps serve all
later ones. Steps:

    ["send", text]            as it stands, no line end is added
    ["drip", text, seconds]   byte by byte, with a pause after each
    ["flood", text, count]    again and again, count times or until the client leaves
    ["expect", regex]         reads one line; another line than that ends the connection
    ["content"]               reads up to CRLF.CRLF
    ["serve", {verb: reply}]  answers line by line: reply is text, or a list of steps. "*" is
                              for verbs not named; a verb missing there too is answered 250.
                              DATA with 354 also reads the content; its answer is "CONTENT"
    ["sleep", seconds]  ["tls"] (handshake)  ["drain"] (reads to the end of file)
    ["close"]  ["reset"] (RST)

Everything that the client sent is in .got, [(connection, bytes or event)]. As a program:
rude.py SCRIPT.json [--port N] [--cert F --key F] [--ledger F]; it prints "ready PORT".
"""
import argparse
import json
import re
import signal
import socket
import ssl
import struct
import sys
import threading
import time

STEP_SECONDS = 30
LINE_MAX = 1 << 20


class End(Exception):
    """This connection is over."""


class Rude:
    def __init__(self, script, cert=None, key=None, port=0, ledger=None):
        self.script, self.got, self.lock = script, [], threading.Lock()
        self.ledger = open(ledger, "a", encoding="utf-8") if ledger else None
        self.context = None
        if cert:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(cert, key)
        self.stopping = threading.Event()
        self.open = set()
        self.connections = 0
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(16)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def note(self, conn, what):
        with self.lock:
            self.got.append((conn, what))
            if self.ledger:
                text = what.decode("latin-1") if isinstance(what, bytes) else what
                self.ledger.write(json.dumps([conn, type(what).__name__, text]) + "\n")
                self.ledger.flush()

    def received(self, conn=None):
        """All bytes from the client, of one connection (1, 2, ...) or of all."""
        with self.lock:
            return b"".join(w for c, w in self.got
                            if isinstance(w, bytes) and conn in (None, c))

    def accept(self):
        while not self.stopping.is_set():
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            n = self.connections
            steps = self.script[min(n, len(self.script)) - 1]
            threading.Thread(target=self.serve, args=(Conn(self, sock, n), steps),
                             daemon=True).start()

    def serve(self, conn, steps):
        self.open.add(conn)
        self.note(conn.n, "connect")
        try:
            conn.run(steps)
        except End as e:
            self.note(conn.n, str(e))
        except (OSError, ssl.SSLError) as e:
            self.note(conn.n, "error: " + str(e))
        finally:
            self.open.discard(conn)
            conn.sock.close()
            self.note(conn.n, "closed")

    def stop(self):
        self.stopping.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for c in list(self.open):
            try:
                c.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.thread.join(5)


class Conn:
    def __init__(self, rude, sock, n):
        self.rude, self.sock, self.n, self.buf = rude, sock, n, b""
        sock.settimeout(STEP_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self, steps):
        for step in steps:
            if self.rude.stopping.is_set():
                raise End("stopped")
            getattr(self, "step_" + step[0])(*step[1:])

    def fill(self):
        got = self.sock.recv(65536)
        if not got:
            raise End("end of file")
        self.rude.note(self.n, got)
        self.buf += got

    def line(self):
        while b"\n" not in self.buf:
            if len(self.buf) > LINE_MAX:
                raise End("line too long")
            self.fill()
        line, self.buf = self.buf.split(b"\n", 1)
        return line.rstrip(b"\r")

    def step_send(self, text):
        self.sock.sendall(text if isinstance(text, bytes) else text.encode("latin-1"))

    def step_drip(self, text, seconds=0.01):
        for c in text.encode("latin-1"):
            self.sock.sendall(bytes([c]))
            self.rude.stopping.wait(seconds)

    def step_flood(self, text, count):
        data = text.encode("latin-1")
        for _ in range(count):
            if self.rude.stopping.is_set():
                raise End("stopped")
            self.sock.sendall(data)

    def step_expect(self, regex):
        line = self.line().decode("latin-1")
        if not re.search(regex, line, re.I):
            raise End(f"unexpected: {line!r}, wanted {regex}")

    def step_content(self):
        self.buf = b"\r\n" + self.buf
        while b"\r\n.\r\n" not in self.buf:
            self.fill()
        self.buf = self.buf.split(b"\r\n.\r\n", 1)[1]

    def step_serve(self, replies):
        while True:
            line = self.line().decode("latin-1")
            verb = re.split(r"[ :]", line, maxsplit=1)[0].upper()
            reply = replies.get(verb, replies.get("*", "221 bye\r\n" if verb == "QUIT" else
                                "354 go\r\n" if verb == "DATA" else "250 ok\r\n"))
            self.answer(reply)
            if verb == "QUIT":
                raise End("quit")
            if verb == "DATA" and isinstance(reply, str) and reply.startswith("354"):
                self.step_content()
                self.answer(replies.get("CONTENT", "250 ok\r\n"))

    def answer(self, reply):
        if isinstance(reply, list):
            self.run(reply)
        else:
            self.step_send(reply)

    def step_sleep(self, seconds):
        self.rude.stopping.wait(seconds)

    def step_tls(self):
        self.sock = self.rude.context.wrap_socket(self.sock, server_side=True)
        self.buf = b""
        self.rude.note(self.n, "tls")

    def step_drain(self):
        while True:
            self.fill()
            self.buf = b""

    def step_close(self):
        raise End("as told")

    def step_reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise End("reset")


def main():
    p = argparse.ArgumentParser(description="a rude SMTP server for tests")
    p.add_argument("script")
    p.add_argument("--port", type=int, default=0)
    p.add_argument("--cert")
    p.add_argument("--key")
    p.add_argument("--ledger")
    a = p.parse_args()
    for s in (signal.SIGTERM, signal.SIGINT):
        signal.signal(s, lambda *_: sys.exit(0))
    with open(a.script, encoding="utf-8") as f:
        script = json.load(f)
    rude = Rude(script, a.cert, a.key, a.port, a.ledger)
    print("ready", rude.port, flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
