"""What a machine with dnf runs for a change of its packages: one program on dnf's own Python API.

It is run by the Python that dnf itself runs on, down to Python 3.6 and dnf 4.7 (Enterprise Linux 8), and reads its
words from argv: the operation, and what that takes. The API is used, and not the command line, since that tells what
would happen in tables for people alone (DNF API Reference 4).

It prints `@ move`, NAME, BEFORE, AFTER for each change, and on standard error, as its last line, `@ fault`, KIND and
words where it fails; fields are parted by tabs.
"""

from __future__ import annotations

UNFINISHED = "/var/lib/swarmctl/packages/unfinished"
"""Packages of a transaction that has begun and not come to its end; rpm itself keeps no record of that."""
LOCKLIST = "/etc/dnf/plugins/versionlock.list"
STREAMS = "/etc/dnf/modules.d"
BUSY = 75
"""Its status while another process holds a lock. It is run again then: dnf takes its plugins once per process."""

PROGRAM = (
    r'''
import errno, fcntl, fnmatch, logging, os, re, shutil, struct, subprocess, sys, tempfile
import dnf, dnf.callback, dnf.exceptions, dnf.module.module_base, rpm

UNFINISHED, LOCKLIST = "@UNFINISHED@", "@LOCKLIST@"
OURS = "swarmctl-"
KEYS = "/etc/pki/rpm-gpg/RPM-GPG-KEY-"


class Told(Exception):
    """Why it ends: a kind, and words."""


class Busy(Exception):
    pid = 0


class Warnings(logging.Handler):
    """Keeps what dnf says on the way: why a repository can't be read it says there alone."""

    said = []

    def emit(self, record):
        Warnings.said.append(record.getMessage())


class Display(dnf.callback.TransactionProgress):
    """Keeps what rpm says of scripts that fail."""

    def __init__(self):
        super(Display, self).__init__()
        self.said = []

    def error(self, message):
        self.said.append(str(message))


def opened(system=True, repositories=True):
    """dnf as it is set up here, with its plugins; but for versionlock, since what is named is to have that version."""
    base = bare()
    base.fill_sack(load_system_repo=system, load_available_repos=repositories)
    return base


def bare():
    base = dnf.Base()
    if base.conf.releasever is None:
        base.conf.releasever = None  # where no package tells it, nothing stands for it
    base.conf.read()
    base.conf.substitutions.update_from_etc("/")
    base.conf.exit_on_lock = True
    base.conf.install_weak_deps = False
    base.conf.clean_requirements_on_remove = False
    base.init_plugins(disabled_glob=["versionlock"])
    base.pre_configure_plugins()
    base.read_all_repos()
    base.configure_plugins()
    for repo in base.repos.iter_enabled():
        if repo.id.startswith(OURS):
            # What is named with its version is to have that version, whatever stream of a module that is in.
            repo.module_hotfixes = True
    return base


def label(base, package):
    native = ("noarch", base.conf.substitutions["arch"])
    return package.name if package.arch in native else "%s.%s" % (package.name, package.arch)


def named(base, name):
    """Name and architectures of what `label` calls so."""
    native = ["noarch", base.conf.substitutions["arch"]]
    plain, _, arch = name.rpartition(".")
    foreign = plain and arch in base.sack.list_arches() and arch not in native
    return (plain, [arch]) if foreign else (name, native)


def found(base, wanted):
    """The package for NAME, NAME=VERSION or a file; None when it is there already."""
    if wanted.startswith("/"):
        return next(p for p in base.local if p.path == wanted).package
    called, _, version = wanted.partition("=")
    name, arches = named(base, called)
    there = base.sack.query().installed().filter(name=name, arch=arches).run()
    if not version:
        if there:
            return None
        version = "*"
    known = base.sack.query().available().filter(name=name, arch=arches).run()

    def fits(package):
        plain = "%s-%s" % (package.version, package.release)
        return any(fnmatch.fnmatchcase(one, version) for one in (package.evr, plain, package.version))

    if any(fits(package) for package in there):
        return None
    best = sorted(package for package in known if fits(package))
    if not best:
        raise Told("unknown", called, "" if not known or version == "*" else version)
    return best[-1]


class Local(object):
    def __init__(self, path, package):
        self.path, self.package = path, package


def resolved(base, wanted, removing, erasing):
    """Resolve it; the changes, as (name, before, after)."""
    paths = [one for one in wanted if one.startswith("/")]
    base.local = [Local(*pair) for pair in zip(paths, base.add_remote_rpms(paths))]
    for one in wanted:
        package = found(base, one)
        if package is not None:
            base.package_install(package)
    for name in removing:
        try:
            base.remove(name)
        except dnf.exceptions.MarkingError:
            pass
    base.resolve(allow_erasing=erasing)
    before, after = {}, {}
    for package in base.transaction.remove_set:
        before[label(base, package)] = package.evr
    for package in base.transaction.install_set:
        after[label(base, package)] = package.evr
    return [(name, before.get(name, ""), after.get(name, "")) for name in sorted(set(before) | set(after))]


def parted(words):
    at = words.index("--")
    return words[:at], words[at + 1 :]


def simulate(words):
    wanted, removing = parted(words)
    for move in resolved(opened(), wanted, removing, True):
        print("@ move\t%s\t%s\t%s" % move)


def refresh(words):
    """Read the index of one repository anew, or of all."""
    base = bare()
    chosen = [repo for repo in base.repos.iter_enabled() if not words or whose(repo.id) == words[0]]
    if words and not chosen:
        raise Told("other", "the repository %s is not set up" % words[0])
    for repo in chosen:
        repo.metadata_expire = 0
        repo.load()


def download(words):
    """Fetch the files of these alone, each judged, and named NAME_VERSION_ARCHITECTURE.rpm with `_` and `:` quoted."""
    folder, wanted = words[0], words[1:]
    base = opened(system=False)
    packages = [package for package in (found(base, one) for one in wanted) if package is not None]
    fetched(base, packages)
    for package in packages:
        fields = (package.name, package.evr, package.arch)
        name = "_".join(field.replace("_", "%5f").replace(":", "%3a") for field in fields) + ".rpm"
        shutil.copyfile(package.localPkg(), os.path.join(folder, name + ".part"))
        placed(os.path.join(folder, name + ".part"), os.path.join(folder, name))


def synced(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def placed(new, path):
    """What was written beside goes in its place when it is on the disk, so that half of it never lies there."""
    synced(new)
    os.rename(new, path)
    synced(os.path.dirname(path))


def fetched(base, packages):
    """Fetch files and judge whose they are."""
    packages = [package for package in packages if package.reponame != "@commandline"]
    try:
        base.download_packages(packages)
    except dnf.exceptions.DownloadError as error:
        urls = sorted(url for package in packages for url in base.repos[package.reponame].baseurl)
        raise Told("download", error, urls[0] if urls else "")
    for package in packages:
        # dnf does not look at files of a local repository before it uses them.
        if not os.path.exists(package.localPkg()):
            raise Told("unreachable", "%s is not there" % package.localPkg())
        if not package.verifyLocalPkg():
            raise Told("signature", package.name, "changed")
        if package.reponame.startswith(OURS):
            if pinned(package.localPkg(), KEYS + whose(package.reponame)):
                continue
            raise Told("signature", package.name, "other")
        result, why = base.package_signature_check(package)
        if result == 1 and local_keys(base.repos[package.reponame]):
            base.package_import_key(package)
            result, why = base.package_signature_check(package)
        if result:
            raise Told("signature", package.name, "dnf", why)


def whose(name):
    """Of several repositories that one file and one key are for, `NAME`, `NAME--2` and so on, the first one's name."""
    return name.partition("--")[0]


def local_keys(repo):
    """Whether all keys of a repository are files that the distribution or someone here has put there."""
    return repo.gpgkey and all(url.startswith("file:") for url in repo.gpgkey)


def pinned(path, key):
    """Whether that key and no other has signed the file, by a key store that holds it alone."""
    store = tempfile.mkdtemp(prefix="swarmctl-")
    try:
        rpmkeys = ["rpmkeys", "--define", "_dbpath " + store, "--define", "_keyring_path " + store]
        if subprocess.call(rpmkeys + ["--import", key], stdout=sys.stderr):
            raise Told("other", "the key %s can't be read" % key)
        strict = ["--define", "_pkgverify_level signature", "--define", "_pkgverify_flags 0x0"]
        argv = rpmkeys + strict + ["--checksig", "--verbose", path]
        done = subprocess.Popen(argv, stdout=subprocess.PIPE, universal_newlines=True)
        lines = done.communicate()[0].splitlines()[1:]
        signed = any(re.search(r"[Ss]ignature.*: OK$", line) for line in lines)
        return done.returncode == 0 and signed and all(line.endswith(": OK") for line in lines)
    finally:
        shutil.rmtree(store, ignore_errors=True)


def install(words):
    wanted, removing = parted(words)
    base = opened()
    moves = resolved(base, wanted, removing, bool(removing))
    gone = [name for name, _, after in moves if not after and name not in removing]
    if gone:
        raise Told("removed", " ".join(gone[:5]))
    changed(base)


def remove(words):
    base = opened(repositories=False)
    resolved(base, [], words, True)
    changed(base)


def changed(base):
    """Do what was resolved; what is begun is written down until it is done."""
    if not base.transaction:
        return
    free()
    fetched(base, list(base.transaction.install_set))
    os.makedirs(os.path.dirname(UNFINISHED), mode=0o700, exist_ok=True)
    lines = ["%s=%s\n" % (package.name, package.evr) for package in base.transaction.install_set]
    with open(UNFINISHED + ".new", "w") as file:
        file.writelines(lines)
    placed(UNFINISHED + ".new", UNFINISHED)
    display = Display()
    try:
        base.do_transaction(display)
    except dnf.exceptions.Error as error:
        scripts(display)
        raise error
    finally:
        # Whoever gets here was not cut off: rpm has done it, or has said why not.
        os.unlink(UNFINISHED)
        os.rmdir(os.path.dirname(UNFINISHED))
    scripts(display)


def scripts(display):
    for line in display.said:
        match = re.search(r"Error in (\w+) scriptlet in rpm package ([A-Za-z0-9._+-]+)", line)
        if match:
            raise Told("script", match.group(2), match.group(1).lower())


def free():
    """Raise Busy while a program holds rpm's own lock: rpm would wait for it without end."""
    path = rpm.expandMacro("%{?_rpmlock_path}") or rpm.expandMacro("%{_dbpath}/.rpm.lock")
    if not os.path.exists(path):
        return
    with open(path, "r+") as file:
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack("hhqqi4x", fcntl.fcntl(file, fcntl.F_GETLK, asked))
    if kind != fcntl.F_UNLCK:
        error = Busy()
        error.pid = pid
        raise error


def mend(words):
    """Have whole what a transaction that was cut off has left: what is there twice, and scripts that never ran."""
    base = opened()
    begun = []
    if os.path.exists(UNFINISHED):
        with open(UNFINISHED) as file:
            begun = [line.strip().partition("=") for line in file]
    for package in twice(base):
        base.package_remove(package)
    for name, _, version in begun:
        there = base.sack.query().installed().filter(name=name).run()
        for package in there:
            if package.evr == version:
                again(base, package)
    base.resolve(allow_erasing=False)
    if not base.transaction and os.path.exists(UNFINISHED):
        os.unlink(UNFINISHED)
    changed(base)


def again(base, there):
    """Install anew what is there, so that its scripts run; what no repository has any more stays as it is."""
    same = base.sack.query().available().filter(name=there.name, evr=there.evr, arch=there.arch).run()
    if same:
        base.package_reinstall(same[0])


def twice(base):
    """All but the newest of packages that are there more than once, and not meant to be."""
    several = {}
    for package in base.sack.query().installed():
        several.setdefault((package.name, package.arch), []).append(package)
    kept = set(str(one) for one in base.sack.query().installed().filter(provides=list(base.conf.installonlypkgs)))
    return [
        package
        for (name, _), packages in sorted(several.items())
        if name != "gpg-pubkey"
        for package in sorted(packages)[:-1]
        if str(package) not in kept
    ]


def locklist():
    try:
        with open(LOCKLIST) as file:
            return file.read().splitlines()
    except IOError:
        return []


def written(lines):
    if not os.path.exists(LOCKLIST[:-5] + ".conf"):
        base = opened()
        known = base.sack.query().available().filter(provides="dnf-command(versionlock)").run()
        if not known:
            raise Told("unknown", "python3-dnf-plugin-versionlock", "")
        base.package_install(sorted(known)[-1])
        base.resolve()
        changed(base)
    with open(LOCKLIST + ".new", "w") as file:
        file.writelines(line + "\n" for line in lines)
    os.chmod(LOCKLIST + ".new", 0o644)
    placed(LOCKLIST + ".new", LOCKLIST)


def is_of(line, name):
    return re.match(re.escape(name) + r"-([0-9]+:)?[^-]+-[^-]+$", line.strip()) is not None


def hold(words):
    """Lock these at the versions that they have."""
    base = opened(repositories=False)
    lines = [line for line in locklist() if not any(is_of(line, name) for name in words)]
    for name in words:
        there = base.sack.query().installed().filter(name=name).run()
        if not there:
            raise Told("unknown", name, "")
        newest = sorted(there)[-1]
        lines.append("%s-%s:%s-%s.*" % (name, newest.epoch, newest.version, newest.release))
    written(lines)


def unhold(words):
    lines = locklist()
    kept = [line for line in lines if not any(is_of(line, name) for name in words)]
    if kept != lines:
        written(kept)


def enable(words):
    """Keep to this stream of its module; it stays so, since others may come to have packages of it."""
    base = opened()
    base.conf.module_stream_switch = True
    try:
        dnf.module.module_base.ModuleBase(base).enable(words)
    except dnf.exceptions.MarkingErrors as error:
        if error.no_match_group_specs:
            raise Told("unknown", words[0], "")
        raise
    base.resolve()
    base.do_transaction()


def text(error):
    return " ".join(str(error).split())


def attempt(operation, words):
    """What went wrong, as a kind and words; None when nothing did."""
    try:
        operation(words)
    except Told as told:
        return told.args
    except dnf.exceptions.LockError as error:
        return "locked", getattr(error, "pid", 0)
    except Busy as error:
        return "locked", error.pid
    except dnf.exceptions.DepsolveError as error:
        return "unmet", text(error)
    except dnf.exceptions.RepoError as error:
        return "repository", text(error), text("\n".join(Warnings.said[-20:]))
    except dnf.exceptions.DownloadError as error:
        return "download", text(error)
    except dnf.exceptions.Error as error:
        return "other", text(error)
    except (OSError, IOError) as error:
        return ("full" if error.errno == errno.ENOSPC else "other"), text(error)
    return None


def main():
    operations = (simulate, refresh, download, install, remove, mend, hold, unhold, enable)
    logging.getLogger("dnf").addHandler(Warnings(logging.WARNING))
    operation = {one.__name__: one for one in operations}[sys.argv[1]]
    fault = attempt(operation, sys.argv[2:])
    if fault is None:
        return 0
    if fault[0] == "locked":
        try:
            with open("/proc/%d/comm" % fault[1]) as file:
                fault += (file.read().strip(),)
        except (IOError, TypeError):
            pass
    sys.stdout.flush()
    print("\n@ fault\t%s" % "\t".join(text(word) for word in fault), file=sys.stderr)
    return @BUSY@ if fault[0] == "locked" else 1


sys.exit(main())
'''.replace("@UNFINISHED@", UNFINISHED)
    .replace("@LOCKLIST@", LOCKLIST)
    .replace("@BUSY@", str(BUSY))
)
