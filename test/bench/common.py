"""What the benchmarks share: folders of their own for both programs, goals, output.

Each program gets a folder with copies (not links) of itself and of every library it needs, on
a disk, and runs there in a chroot: nothing is shared with the system or with each other.
"""
import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TOP, os.environ.get("B", "build"))
PEERS = os.environ.get("MAILCHUTE_PEERS", "/var/tmp/mailchute-peers")
BENCH = os.environ.get("MAILCHUTE_BENCH", "/var/tmp")
OURS_UID = 64805  # as in test/peers: numbers that nothing else should have
CALLER_UID = 64806
MAIL_UID = 8  # Debian's mail, the owner of nullmailer's queue
SPOOL = "var/spool/mailchute"
THEIR_SPOOL = "var/spool/nullmailer"


def fail(why):
    """Nothing was measured."""
    sys.exit(f"{os.path.basename(sys.argv[0])}: cannot measure: {why}")


def parameters(usage, *defaults):
    """Whole numbers from the command line."""
    words = sys.argv[1:]
    if len(words) > len(defaults) or not all(re.fullmatch(r"[1-9][0-9]{0,5}", w) for w in words):
        fail("usage: " + usage)
    return [int(w) for w in words] + list(defaults[len(words):])


def work_folder():
    """A folder for root alone, on a disk, removed at exit."""
    if os.geteuid() != 0:
        fail("needs root, for the folders that both programs run in (chroot)")
    os.umask(0o022)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = tempfile.mkdtemp(prefix="mailchute-bench.", dir=os.path.realpath(BENCH))
    atexit.register(shutil.rmtree, folder, True)
    kind = file_system(folder)
    if kind in ("tmpfs", "ramfs"):
        fail(f"{BENCH} is in memory ({kind}): set MAILCHUTE_BENCH to a folder on a disk")
    return folder, kind


def file_system(path):
    got = subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True,
                         check=True)
    return got.stdout.strip()


def need_program(name):
    path = os.path.join(BUILD, name)
    if not os.path.exists(path):
        fail(f"{path} is not built")
    return path


def libraries(path):
    """What the dynamic linker loads for a program: none for a static one."""
    got = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)
    return re.findall(r"(?:^\s*|=> )(/\S+) \(0x", got.stdout, re.M)


def copy_in(root, source, target):
    path = os.path.join(root, target.lstrip("/"))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(source, "rb") as f, open(path, "wb") as to:
        to.write(f.read())
    os.chmod(path, 0o755)


def put(root, name, text, mode=0o644):
    path = os.path.join(root, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, mode)


def linker_cache(root):
    """As every system has it: else each start would search for its libraries."""
    os.makedirs(os.path.join(root, "etc"), exist_ok=True)
    subprocess.run(["ldconfig", "-r", root], check=True, stderr=subprocess.DEVNULL)


def our_folder(work, name, programs):
    """A folder with our programs ({built name: path inside}) and what they load."""
    root = os.path.join(work, name)
    os.makedirs(os.path.join(root, "dev"))
    os.mknod(os.path.join(root, "dev/null"), 0o20666, os.makedev(1, 3))
    os.chmod(os.path.join(root, "dev/null"), 0o666)
    for built, path in programs.items():
        source = need_program(built)
        copy_in(root, source, path)
        for lib in libraries(source):
            copy_in(root, lib, lib)
    put(root, "etc/passwd", "root:x:0:0:root:/:/bin/sh\n"
        f"mailchute:x:{OURS_UID}:{OURS_UID}::/{SPOOL}:/usr/sbin/nologin\n"
        f"caller:x:{CALLER_UID}:{CALLER_UID}:Caller:/:/bin/sh\n")
    put(root, "etc/group", f"root:x:0:\nmailchute:x:{OURS_UID}:\ncaller:x:{CALLER_UID}:\n")
    put(root, "etc/hosts", "127.0.0.1 localhost\n")
    linker_cache(root)
    return root


def their_folder(work, name, port=25):
    """nullmailer as Debian installs it, with its queue and its trigger."""
    cache = os.path.join(PEERS, "nullmailer")
    if not os.path.exists(os.path.join(cache, ".layout")):
        subprocess.run([os.path.join(TOP, "test", "peers"), "nullmailer"], check=False,
                       stdout=sys.stderr)
    if not os.path.exists(os.path.join(cache, ".layout")):
        fail("test/peers could not prepare nullmailer")
    root = os.path.join(work, name)
    subprocess.run(["cp", "-a", "--reflink=never", cache, root], check=True)
    os.chmod(root, 0o755)
    put(root, "etc/mailname", "box.example.org\n")
    put(root, "etc/nullmailer/defaultdomain", "example.org\n")
    put(root, "etc/nullmailer/remotes", f"127.0.0.1 smtp --port={port}\n")
    fifo = os.path.join(root, THEIR_SPOOL, "trigger")
    os.mkfifo(fifo)
    os.chown(fifo, MAIL_UID, 0)
    os.chmod(fifo, 0o622)
    linker_cache(root)
    return root


def settle(folder):
    """Writes what was copied to the disk: the kernel counts pages of a fresh file as dirty."""
    subprocess.run(["sync", "-f", folder], check=True)


def message(size=2048):
    """What cron or a backup script sends: a short header and text up to size octets."""
    head = ("From: caller@example.org\nTo: admin@example.org\n"
            "Subject: The backup of last night\n\n")
    line = "2024-03-01 02:11:07 copied 1234 files, 56789 octets, no error\n"
    text = head + line * (size // len(line))
    return text[:size - 1] + "\n"


# Output

def table(title, columns, rows):
    """rows: (label, cell for each column)"""
    print(f"\n{title}")
    wide = max(len(label) for label, *_ in rows) + 2
    print(" " * (wide + 2) + "".join(f"{c:>22}" for c in columns))
    for label, *cells in rows:
        print(f"  {label:<{wide}}" + "".join(f"{c:>22}" for c in cells))


def against(value, base, form="{:.2f}"):
    """The number, and how many times the last column's it is."""
    text = form.format(value)
    return f"{text} ({value / base:.3f}x)" if base else text


def goals(rows):
    """rows: (what, the number as text, whether it is met)"""
    print("\nGoals")
    for what, got, met in rows:
        print(f"  {'pass' if met else 'FAIL'}  {what}: {got}")
