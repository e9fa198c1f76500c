"""A build whose clock is ahead by what a file says (make CLOCK_TEST): days pass in seconds.

Import it before bed: it names the build that bed uses. One program at a time has the file.
CLOCK_B: the build's folder."""
import fcntl
import os
import struct
import subprocess
import sys
import time
import zlib

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("CLOCK_B", "build-clock")
CLOCK = f"/tmp/mailchute-clock.{os.geteuid()}.{zlib.crc32((TOP + BUILD).encode()):08x}"
os.environ["B"] = BUILD
_file = open(CLOCK, "a+b")  # pylint: disable=consider-using-with


def set_clock(bed, ahead, jump=False):
    """The clock is ahead by so many seconds from now on; mailchuted looks at it. jump: nobody
    lived through them, the clock was set."""
    with open(CLOCK, "r+b") as f:
        f.write(struct.pack("q", int(ahead)) if jump else struct.pack("qq", int(ahead), int(ahead)))
    if bed and bed.daemon:
        wake(bed)
        time.sleep(0.1)  # a scan, a try


def wake(bed):
    fd = os.open(bed.spool + "/in/wake", os.O_WRONLY | os.O_NONBLOCK)
    os.write(fd, b"w")
    os.close(fd)


def make():
    """The build, with its clock right; ends the program when it cannot be made."""
    fcntl.flock(_file, fcntl.LOCK_EX)
    os.truncate(CLOCK, 0)
    os.chmod(CLOCK, 0o644)
    with open(CLOCK, "r+b") as f:
        f.write(struct.pack("qq", 0, 0))
    made = subprocess.run(["make", "-s", "-j2", "-C", TOP, f"B={BUILD}", f"CLOCK_TEST={CLOCK}", "all"],
                          capture_output=True, check=False)
    if made.returncode:
        print("not ok 1 - make CLOCK_TEST\n" + made.stderr.decode())
        sys.exit(1)
