"""Programs that try to reach files, and what a test and its solution keep from each other; see probes."""

from __future__ import annotations

__all__ = ["ATTRIBUTES", "ENVIRONMENT", "FILE_NAMES", "HUNT", "READ", "WRITE"]

READ = """
def linked(path, link):
    link(path, "link")
    with contextlib.ExitStack() as last:
        last.callback(os.unlink, "link")
        open("link").read()
def watched(folder):
    descriptor = libc.inotify_init()
    return descriptor >= 0 and libc.inotify_add_watch(descriptor, folder.encode(), 0x100) >= 0
def homes():  # what they hold besides Python itself, which may well live there
    pythons = {os.path.realpath(path) for path in (sys.prefix, sys.base_prefix, sys.base_exec_prefix)}
    for place, folders, files in os.walk("/home"):
        folders[:] = [name for name in folders if os.path.join(place, name) not in pythons]
        if not all(os.path.islink(os.path.join(place, name)) for name in files):
            return True
    return False
def probe(folder, path):
    return which([
        ("opened", lambda: succeeded(lambda: open(path).read())),
        ("opened through /proc", lambda: succeeded(lambda: open("/proc/self/root" + path).read())),
        ("opened by a symbolic link", lambda: succeeded(linked, path, os.symlink)),
        ("opened by a hard link", lambda: succeeded(linked, path, os.link)),
        ("extended attributes", lambda: succeeded(os.listxattr, path)),
        ("watched the folder", lambda: watched(folder)),
        ("executed", lambda: succeeded(lambda: os.posix_spawn(path, [path], {}))),
        ("listed the folder", lambda: succeeded(os.listdir, folder)),
        ("read accounts", lambda: succeeded(lambda: open("/etc/passwd").read())),
        ("read homes", homes),
    ])
"""

WRITE = """
def probe(folder, path):
    new = os.path.join(folder, "new")
    open("mine", "w").close()
    return which([
        ("appended", lambda: succeeded(lambda: open(path, "a").write("x"))),
        ("emptied on opening", lambda: succeeded(lambda: os.open(path, os.O_RDONLY | os.O_TRUNC))),
        ("truncated", lambda: succeeded(os.truncate, path, 0)),
        ("created", lambda: succeeded(lambda: open(new, "w"))),
        ("made a folder", lambda: succeeded(os.mkdir, new)),
        ("made a link", lambda: succeeded(os.symlink, "/", new)),
        ("made a pipe", lambda: succeeded(os.mkfifo, new)),
        ("moved in", lambda: succeeded(os.rename, "mine", new)),
        ("linked in", lambda: succeeded(os.link, "mine", new)),
        ("moved away", lambda: succeeded(os.rename, path, "yours")),
        ("deleted", lambda: succeeded(os.unlink, path)),
    ])
"""

ATTRIBUTES = """
def probe(path):
    return which([
        ("mode", lambda: succeeded(os.chmod, path, 0o600)),
        ("times", lambda: succeeded(os.utime, path, (1, 1))),
        ("touched", lambda: succeeded(os.utime, path)),
        ("owner", lambda: succeeded(os.chown, path, os.getuid(), os.getgid())),
        ("extended attribute", lambda: succeeded(os.setxattr, path, b"user.x", b"x")),
    ])
"""

FILE_NAMES = """
def probe(path):
    return which([("exists", lambda: os.path.exists(path)), ("size", lambda: succeeded(os.stat, path))])
"""

ENVIRONMENT = """
def held(secret):
    with contextlib.suppress(OSError), open("/proc/self/environ", "rb") as file:
        return secret.encode() in file.read()
def probe(secret):
    return which([
        ("in os.environ", lambda: any(secret in name + value for name, value in os.environ.items())),
        ("in /proc/self", lambda: held(secret)),
        ("in the command line", lambda: any(secret in word for word in sys.orig_argv)),
    ])
"""

HUNT = """
def leave():
    path = os.path.abspath("left")
    with open(path, "w") as file:
        file.write("x")
    return path
def probe(notes, judge):
    attempts = [(f"opened {note}", lambda note=note: succeeded(open, note)) for note in notes]
    if judge not in (os.getpid(), os.getppid(), 1):  # in a pid namespace the number may be our own
        for name in ("mem", "environ", "maps"):
            path = f"/proc/{judge}/{name}"
            attempts.append((path, lambda path=path: succeeded(open, path)))
        attempts.append(("signalled the judge", lambda: succeeded(os.kill, judge, 0)))
    return which(attempts)
"""
