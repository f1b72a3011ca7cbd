"""`swarm:hostbaseline:Mounts`: file systems in their places, by lines of `/etc/fstab` with an option of our own.

Options that begin with `x-` are for others than mount(8) and the kernel. A line of somebody else's for the same place
becomes a comment, and is one no more when the place is given back. Nothing is formatted; folders that were made go when
they are empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

from swarmctl.graph.model import Json
from swarmctl.kinds.base import Hosts, Observed, PropertyChange
from swarmctl.kinds.host_baseline import options
from swarmctl.kinds.host_baseline.aspects.base import Aspect, Inputs, known
from swarmctl.kinds.host_baseline.aspects.mounting import LIBRARY
from swarmctl.kinds.host_baseline.reading import Seen

ELSEWHERE = " in /etc/fstab)"
"""Ends what is told of a device, or of a type, that is not the line's."""
ODD = {"twice": "beside a line of somebody's", "unlisted": "no line"}
"""By the word of the reading: what is odd about a mount's line."""
THEIRS = "theirs"
"""Of what is observed: the places where somebody else has mounted what is there. Only a plan's words go by it."""

WHAT = ("device", "type")


class MountsType(Aspect):
    """Place by place."""

    name = "mounts"
    library = LIBRARY

    def observe(self, seen: Seen, inputs: Inputs) -> dict[str, Json]:
        """What is mounted and will be after a restart; a place where nothing is, is not there."""
        found: dict[str, Json] = {}
        theirs = []
        for path, device, kind, line, as_said, live, whose, odd in seen.of("mount", inputs["baseline"]):
            mark = f"x-swarmctl.{inputs['baseline']}"
            source, fstype, flags, *_ = [*live.split(), "", "", ""]
            if odd.startswith("/"):
                # Which options it has is not seen.
                own = [one for one in line.split(",") if one != mark]
                found[path] = {"device": _device(source, device, False, odd), "type": kind, "options": own}
                continue
            if not source:
                continue
            # What is there by hand is not what the line says, and with both it is nothing that is declared next.
            same_type = fstype == kind or (kind, fstype) == ("nfs", "nfs4")
            found[path] = {
                "device": _device(source, device, as_said == "yes", odd),
                "type": kind if same_type else f"{fstype} ({kind} in /etc/fstab)",
                "options": options.told([one for one in line.split(",") if one != mark], fstype, flags.split(",")),
            }
            theirs += [path] if whose != "ours" else []
        return {"mounts": found, **({THEIRS: sorted(theirs)} if theirs else {})}

    def read(self, hosts: Hosts, inputs: Inputs) -> Observed | None:
        """Whose they are is told anew each time."""
        return super().read(hosts, _declared(inputs))

    def diff(self, old: Inputs, new: Inputs) -> Sequence[PropertyChange]:
        """Whose a mount is makes no difference as long as it is the one that is declared."""
        return super().diff(_declared(old), _declared(new))

    def setting(self, inputs: Inputs) -> str:
        """Mounted first: a line that can't be mounted never gets into the table."""
        mounts = sorted(inputs["mounts"].items())
        wanted = quote(" ".join(["", *(path for path, _ in mounts), ""]))
        rows = "".join(
            f"{it['device']} {path} {it['type']} {_options(inputs, it)} 0 {_pass(it)}\n" for path, it in mounts
        )
        said = [" ".join(map(quote, (path, it["device"], it["type"], ",".join(it["options"])))) for path, it in mounts]
        rows_of = [f"{one} {_compared(it)}" for one, (_, it) in zip(said, mounts, strict=True)]
        lines = ["alone", *(f"possible {it}" for it in rows_of), f"may_leave {wanted}", "begin", "back ''"]
        lines += ["told_of_back", f"others {wanted}", *(f"inherit {quote(path)}" for path, _ in mounts)]
        lines += [*(f"found {it}" for it in said), *(f"in_place {it}" for it in rows_of)]
        lines += [f"table {wanted} {quote(rows)}", "no_way_back", *(f"is_now {it}" for it in said), "given"]
        return "\n".join([*lines, 'back "$gone"', f"folders {wanted}", "ending"])

    def taking_away(self, inputs: Inputs) -> str:
        """Lines of others are what they were, and what they mount is mounted again."""
        return """
alone
may_leave ' '
back ''
told_of_back
others ' '
table ' ' ''
no_way_back
given
back "$gone"
folders ' '
forget
ending
"""

    def items(self, inputs: Inputs) -> dict[str, str]:
        """By place."""
        return {
            f"mount {path}": f"{known(it['device'])}, {known(it['type'])}, {','.join(it['options'])}"
            for path, it in inputs.get("mounts", {}).items()
        }

    def impact_of(self, old: Inputs | None, new: Inputs | None) -> str:
        """What is not there any more, or for a moment."""
        before = old.get("mounts", {}) if old is not None else {}
        after = new.get("mounts", {}) if new is not None else {}
        theirs = set(old.get(THEIRS, ())) if old is not None else set()
        gone = [path for path in sorted(before) if path not in after]
        kept = [path for path in sorted(before) if path in after]
        other = [path for path in kept if not _same(before[path], after[path])]
        anew = tuple(f"{path}/" for path in other if path not in theirs)
        anew_within = [path for path in kept if f"{path}/".startswith(anew)]
        unmounted = [path for path in gone if path not in theirs]
        told = [f"unmounts {', '.join(unmounted)}"] if unmounted else []
        told += [f"unmounts {', '.join(anew_within)} and mounts what is declared"] if anew else []
        told += [f"what somebody has mounted at {path} stays mounted" for path in gone if path in theirs]
        told += [
            f"what somebody has mounted at {path} is not unmounted: unless that is what is declared, apply is refused"
            for path in other
            if path in theirs
        ]
        for path in kept:
            if path not in anew_within and path not in other and (left := _left_out(before[path], after[path])):
                told.append(f"{', '.join(left)} counts at {path} until it is mounted the next time")
            if path not in anew_within and path not in other and (late := _late(before[path], after[path])):
                told.append(f"{', '.join(late)} counts at {path} from when it is mounted the next time")
        return ", ".join(told)


def _device(source: str, device: str, as_said: bool, odd: str) -> str:
    """What is mounted, with what is odd about it: then it is nothing that is declared next."""
    if odd.startswith("/"):
        return f"{device} (hidden by what is mounted at {odd})"
    if odd and as_said:
        return f"{device} ({ODD.get(odd, odd)}{ELSEWHERE}"
    return device if as_said else f"{source} ({device}{ELSEWHERE}"


def _declared(inputs: Inputs) -> Inputs:
    return {key: value for key, value in inputs.items() if key != THEIRS}


def _same(before: Inputs, after: Inputs) -> bool:
    """Whether nothing changes that can't be without unmounting: by what is mounted, whatever the table says."""
    live = [
        str(before[key]).partition(" (")[0] if str(before[key]).endswith(ELSEWHERE) else before[key] for key in WHAT
    ]
    return live == [after[key] for key in WHAT] and options.parts(before["options"]) >= options.parts(after["options"])


def _left_out(before: Inputs, after: Inputs) -> list[str]:
    """Options of the file system's own that nothing takes the place of: of no one it is known what it is without."""
    names = {one.partition("=")[0] for one in after["options"]}
    own = [one for one in options.own(before["options"]) if one.partition("=")[0] not in names]
    return [one for one in own if not (before["type"] == "tmpfs" and one.startswith("size="))]


def _late(before: Inputs, after: Inputs) -> list[str]:
    """What is decided when a file system in memory is made: unmounting it for that would lose what is in it."""
    new = [one for one in after["options"] if one.partition("=")[0] in ("mode", "uid", "gid")]
    return [one for one in new if after["type"] == "tmpfs" and one not in before["options"]]


def _compared(mount: Inputs) -> str:
    """What of the options can be seen, what brings it about, and which are the file system's own."""
    must, never = options.words(mount["options"])
    own = " ".join(options.own(mount["options"]))
    return " ".join(map(quote, (" ".join(must), " ".join(never), options.anew(mount["options"]), own)))


def _options(inputs: Inputs, mount: Inputs) -> str:
    return ",".join([*mount["options"], f"x-swarmctl.{inputs['baseline']}"])


def _pass(mount: Inputs) -> int:
    """Whether the file system is checked at the start, after the root's (fstab(5))."""
    return 2 if mount["type"] in ("ext4", "vfat") else 0


MOUNTS = MountsType()
