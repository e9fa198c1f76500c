"""Real smart hosts: Debian's Postfix and Exim, run from folders that test/peers prepared.

Each peer gets a copy (hard links) of its folder and runs there in a chroot, on two ports of
127.0.0.1: .submission (STARTTLS) and .smtps (TLS from the first octet). AUTH PLAIN and LOGIN
are offered under TLS only and required. Everything accepted goes to one maildir, one file a
recipient, with Return-Path and the envelope recipient in the header.
"""
import base64
import os
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import tempfile
import threading
import time

from bed import PASSWORD, USER, TOP, certificates, free_port, header, skip, wait_for

CACHE = os.environ.get("MAILCHUTE_PEERS", "/var/tmp/mailchute-peers")
SINK_UID = 64804
START_SECONDS = 20


def prepared(name):
    """Makes sure that CACHE/NAME is there; skips the test where it cannot be."""
    if os.geteuid() != 0:
        skip(f"{name}: needs root for its chroot")
    if not os.path.exists(os.path.join(CACHE, name, ".layout")):
        got = subprocess.run([os.path.join(TOP, "test", "peers"), name],
                             capture_output=True, check=False)
        if not os.path.exists(os.path.join(CACHE, name, ".layout")):
            skip(f"{name}: test/peers could not prepare it: "
                 + got.stderr.decode("utf-8", "replace").strip().replace("\n", "; ")[-200:])


def chroot_into(root):
    """For subprocess, as preexec_fn."""
    def enter():
        os.chroot(root)
        os.chdir("/")
    return enter


class Message:
    def __init__(self, raw):
        self.raw = raw
        self.sender = (header(raw, "Return-Path") or ["?"])[0].strip("<>")
        to = header(raw, "X-Original-To") or header(raw, "Envelope-to") or ["?"]
        self.rcpt = to[0].strip("<>")

    def header(self, name):
        return header(self.raw, name)

    @property
    def body(self):
        return self.raw.split(b"\n\n", 1)[1]


class Peer:
    name = ""

    def __init__(self):
        prepared(self.name)
        self.root = tempfile.mkdtemp(prefix="run.", dir=CACHE)
        subprocess.run(["cp", "-al", os.path.join(CACHE, self.name, "."), self.root], check=True)
        os.chmod(self.root, 0o755)
        self.submission, self.smtps = free_port(), free_port()
        self.process = None
        self.sink = self.make("sink", uid=SINK_UID)
        cert, key = certificates().pair("good")
        self.put("etc/cert.pem", open(cert, "rb").read())
        self.put("etc/key.pem", open(key, "rb").read(), 0o640)
        self.configure()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        self.remove()

    def remove(self):
        shutil.rmtree(self.root, ignore_errors=True)

    def configure(self):
        raise NotImplementedError

    def argv(self):
        raise NotImplementedError

    def make(self, path, mode=0o755, uid=0, gid=None):
        full = os.path.join(self.root, path)
        os.makedirs(full, exist_ok=True)
        os.chown(full, uid, uid if gid is None else gid)
        os.chmod(full, mode)
        return full

    def put(self, path, content, mode=0o644, gid=0):
        """A new file: what stands there is a link into the cache and must not be written to."""
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        if os.path.lexists(full):
            os.unlink(full)
        with open(full, "wb") as f:
            f.write(content if isinstance(content, bytes) else content.encode())
        os.chmod(full, mode)
        os.chown(full, 0, gid)

    def run(self, *argv, data=b""):
        return subprocess.run(argv, input=data, capture_output=True, preexec_fn=chroot_into(self.root),
                              env={"PATH": "/usr/sbin:/usr/bin", "LC_ALL": "C"}, check=True)

    def start(self):
        with open(os.path.join(self.root, "console"), "ab") as console:
            self.process = subprocess.Popen(
                self.argv(), stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                preexec_fn=chroot_into(self.root), start_new_session=True,
                env={"PATH": "/usr/sbin:/usr/bin", "LC_ALL": "C"})
        try:
            wait_for(self.answers, START_SECONDS, f"{self.name} answers; {self.console()}")
        except BaseException:
            self.kill()
            raise

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended: {self.console()}")
        for port in (self.submission, self.smtps):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                return False
        return True

    def console(self):
        out = ""
        for path in ["console", *self.logs]:
            try:
                with open(os.path.join(self.root, path), encoding="utf-8",
                          errors="replace") as f:
                    out += f.read()[-3000:]
            except OSError:
                pass
        return out

    def end(self, sig):
        """Ends the server and its children: the session that start() made, nothing else."""
        if not self.process:
            return
        try:
            os.killpg(self.process.pid, sig)
        except ProcessLookupError:
            pass
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            sig = signal.SIGKILL
        end = time.monotonic() + 3
        while time.monotonic() < end:  # children may outlive their parent a little
            try:
                os.killpg(self.process.pid, 0)
            except ProcessLookupError:
                break
            time.sleep(0.02)
        else:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def stop(self):
        self.end(signal.SIGTERM)

    def kill(self):
        self.end(signal.SIGKILL)

    def messages(self):
        """Delivered so far, oldest first."""
        folder = os.path.join(self.root, "sink", "Maildir", "new")
        try:
            entries = sorted(os.scandir(folder), key=lambda e: e.stat().st_mtime_ns)
        except FileNotFoundError:
            return []
        out = []
        for e in entries:
            with open(e.path, "rb") as f:
                out.append(Message(f.read()))
        return out

    def wait_messages(self, count, seconds=15, subject=None):
        def look():
            got = [m for m in self.messages() if subject in (None, *m.header("Subject"))]
            return got if len(got) >= count else None
        return wait_for(look, seconds, f"{count} messages {subject or ''}; {self.console()}")

    def submit(self, port, content, sender, rcpts, mechanism=None, password=PASSWORD):
        """With Python's own client, to test the peer itself. (Its login() knows ASCII only.)"""
        def code(text):
            return base64.b64encode(text.encode()).decode()
        context = ssl.create_default_context(cafile=certificates().ca)
        if port == self.smtps:
            client = smtplib.SMTP_SSL("localhost", port, context=context, timeout=20)
        else:
            client = smtplib.SMTP("localhost", port, timeout=20)
            client.starttls(context=context)
        with client:
            client.ehlo()
            if mechanism == "LOGIN":
                client.docmd("AUTH", "LOGIN")
                client.docmd(code(USER))
                got = client.docmd(code(password))
            else:
                got = client.docmd("AUTH", "PLAIN " + code(f"\0{USER}\0{password}"))
            if got[0] != 235:
                raise smtplib.SMTPAuthenticationError(*got)
            return client.sendmail(sender, rcpts, content)


class Syslog(threading.Thread):
    """What comes to a chroot's /dev/log goes to a file. (Postfix's own postlogd logs to itself, and
    stands still for ever when ten lines wait for it as it starts.)"""

    def __init__(self, root, path):
        super().__init__(daemon=True)
        self.path, self.over = os.path.join(root, path), False
        name = os.path.join(root, "dev", "log")
        if os.path.lexists(name):
            os.unlink(name)
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        folder = os.open(os.path.dirname(name), os.O_RDONLY)
        self.s.bind(f"/proc/self/fd/{folder}/log")  # a path of a socket must be short
        os.close(folder)
        os.chmod(name, 0o666)
        self.start()

    def run(self):
        with open(self.path, "ab", buffering=0) as f:
            while (line := self.s.recv(8192)) or not self.over:
                f.write(line.partition(b">")[2].rstrip(b"\n") + b"\n")

    def end(self):
        self.over = True
        self.s.shutdown(socket.SHUT_RDWR)
        self.join()
        self.s.close()


class Postfix(Peer):
    name = "postfix"
    syslog = None
    logs = ["var/log/postfix.log"]
    uid, postdrop = 64801, 64802

    def configure(self):
        q = "var/spool/postfix"
        self.make(q)
        for d in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold",
                  "incoming", "private", "saved", "trace"):
            self.make(f"{q}/{d}", 0o700, self.uid, 0)
        self.make(f"{q}/maildrop", 0o730, self.uid, self.postdrop)
        self.make(f"{q}/public", 0o710, self.uid, self.postdrop)
        self.make(f"{q}/pid")
        self.make("var/lib/postfix", 0o755, self.uid)
        self.put("etc/postfix/main.cf", f"""
compatibility_level = 3.6
alias_maps =
alias_database =
myhostname = mx.isp.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 192.0.2.1/32
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_sasl_auth_enable = yes
smtpd_sasl_path = smtpd
cyrus_sasl_config_path = /etc/postfix/sasl
smtpd_sasl_security_options = noanonymous
smtpd_tls_auth_only = yes
smtpd_tls_cert_file = /etc/cert.pem
smtpd_tls_key_file = /etc/key.pem
smtpd_tls_loglevel = 1
virtual_mailbox_domains = static:all
virtual_mailbox_maps = static:Maildir/
virtual_mailbox_base = /sink
virtual_uid_maps = static:{SINK_UID}
virtual_gid_maps = static:{SINK_UID}
virtual_mailbox_limit = 0
message_size_limit = 209715200
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_banner = $myhostname ESMTP
{self.extra()}
""")
        rows = [f"{self.submission} inet n - n - - smtpd -o smtpd_tls_security_level=encrypt",
                f"{self.smtps} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes"]
        rows = ["127.0.0.1:" + r for r in rows]
        for service, kind, private, wake, limit, program in [
                ("pickup", "unix", "n", "60", "1", ""), ("cleanup", "unix", "n", "-", "0", ""),
                ("qmgr", "unix", "n", "300", "1", ""), ("tlsmgr", "unix", "-", "1000?", "1", ""),
                ("rewrite", "unix", "-", "-", "-", "trivial-rewrite"),
                ("bounce", "unix", "-", "-", "0", ""), ("defer", "unix", "-", "-", "0", "bounce"),
                ("trace", "unix", "-", "-", "0", "bounce"), ("verify", "unix", "-", "-", "1", ""),
                ("flush", "unix", "n", "1000?", "0", ""), ("proxymap", "unix", "-", "-", "-", ""),
                ("smtp", "unix", "-", "-", "-", ""), ("error", "unix", "-", "-", "-", ""),
                ("retry", "unix", "-", "-", "-", "error"), ("discard", "unix", "-", "-", "-", ""),
                ("virtual", "unix", "-", "-", "-", ""), ("anvil", "unix", "-", "-", "1", "")]:
            as_root = "n" if service == "virtual" else "-"
            rows.append(f"{service} {kind} {private} {as_root} n {wake} {limit} "
                        + (program or service))
        self.put("etc/postfix/master.cf", "\n".join(rows) + "\n")
        self.put("etc/postfix/sasl/smtpd.conf", "pwcheck_method: auxprop\n"
                 "auxprop_plugin: sasldb\nmech_list: PLAIN LOGIN\n")
        name, _, realm = USER.partition("@")
        self.run("/usr/sbin/saslpasswd2", "-p", "-c", "-u", realm, name,
                 data=PASSWORD.encode())
        os.chown(os.path.join(self.root, "etc/sasldb2"), 0, self.uid)
        os.chmod(os.path.join(self.root, "etc/sasldb2"), 0o640)

    def extra(self):
        return ""

    def start(self):
        self.make("dev")
        self.make("var/log")
        self.syslog = Syslog(self.root, self.logs[0])
        super().start()

    def end(self, sig):
        super().end(sig)
        if self.syslog:
            self.syslog.end()
            self.syslog = None

    def argv(self):
        return ["/usr/lib/postfix/sbin/master", "-d", "-c", "/etc/postfix"]


class Exim(Peer):
    name = "exim"
    logs = ["var/log/exim4/mainlog", "var/log/exim4/paniclog"]
    uid = 64803

    def configure(self):
        self.make("var/spool/exim4", 0o750, self.uid)
        self.make("var/log/exim4", 0o750, self.uid)
        os.chown(self.sink, self.uid, self.uid)
        os.chown(os.path.join(self.root, "etc/key.pem"), 0, self.uid)
        word = PASSWORD.replace("\\", "\\\\").replace("$", "\\$")
        check = "${if and{{eq{%s}{" + USER + "}}{eq{%s}{" + word + "}}}}"
        self.put("etc/exim4/exim4.conf", f"""
primary_hostname = mx.isp.example
local_interfaces = 127.0.0.1
daemon_smtp_ports = {self.submission} : {self.smtps}
tls_on_connect_ports = {self.smtps}
tls_advertise_hosts = *
tls_certificate = /etc/cert.pem
tls_privatekey = /etc/key.pem
auth_advertise_hosts = ${{if def:tls_in_cipher {{*}}}}
dsn_advertise_hosts = *
acl_smtp_rcpt = rcpt
host_lookup =
rfc1413_query_timeout = 0s
deliver_drop_privilege = true
keep_environment =
smtp_accept_max = 0
smtp_accept_queue_per_connection = 0
smtp_accept_max_per_connection = 0
remote_max_parallel = 1
message_size_limit = 200M
log_selector = +tls_cipher +received_recipients
begin acl
rcpt:
  require authenticated = *
  accept
begin routers
all:
  driver = accept
  transport = sink
begin transports
sink:
  driver = appendfile
  directory = /sink/Maildir
  maildir_format
  create_directory
  return_path_add
  envelope_to_add
begin retry
* * F,1h,1m
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = {check % ("$auth2", "$auth3")}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = {check % ("$auth1", "$auth2")}
  server_set_id = $auth1
""", 0o640, self.uid)

    def argv(self):
        return ["/usr/sbin/exim4", "-bdf", "-q1m"]
