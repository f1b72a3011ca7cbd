"""`swarm:hostbaseline:Mounts`: file systems in their places, by lines of `/etc/fstab` with an option of our own.

Options that begin with `x-` are for others than mount(8) and the kernel. A line of somebody else's for the same place
becomes a comment, and is one no more when the place is given back. Nothing is formatted; folders that were made go when
they are empty.
"""

from __future__ import annotations

from shlex import quote

from swarmctl.graph.model import Json
from swarmctl.kinds.host_baseline import options
from swarmctl.kinds.host_baseline.aspects.base import Aspect, Inputs, known
from swarmctl.kinds.host_baseline.aspects.mounting import LIBRARY
from swarmctl.kinds.host_baseline.reading import Seen

ELSEWHERE = " in /etc/fstab)"
"""Ends what is told of a device that is not the line's."""


class MountsType(Aspect):
    """Place by place."""

    name = "mounts"
    library = LIBRARY

    def observe(self, seen: Seen, inputs: Inputs) -> dict[str, Json]:
        """What is mounted and will be after a restart; a place where nothing is, is not there."""
        found = {}
        for path, device, kind, line, real, live in seen.of("mount", inputs["baseline"]):
            mark = f"x-swarmctl.{inputs['baseline']}"
            source, fstype, flags, *_ = [*live.split(), "", "", ""]
            if not source:
                continue
            # What is there by hand is not what the line says, and with both it is nothing that is declared next.
            same_type = fstype == kind or (kind, fstype) == ("nfs", "nfs4")
            found[path] = {
                "device": device if source == real else f"{source} ({device}{ELSEWHERE}",
                "type": kind if same_type else f"{fstype} ({kind} in /etc/fstab)",
                "options": options.told([one for one in line.split(",") if one != mark], fstype, flags.split(",")),
            }
        return {"mounts": found}

    def setting(self, inputs: Inputs) -> str:
        """Mounted first: a line that can't be mounted never gets into the table."""
        mounts = sorted(inputs["mounts"].items())
        wanted = quote(" ".join(["", *(path for path, _ in mounts), ""]))
        rows = "".join(
            f"{it['device']} {path} {it['type']} {_options(inputs, it)} 0 {_pass(it)}\n" for path, it in mounts
        )
        said = [" ".join(map(quote, (path, it["device"], it["type"], ",".join(it["options"])))) for path, it in mounts]
        lines = [*(f"possible {it}" for it in said), "begin", "all_back", f"others {wanted}"]
        lines += [f"inherit {quote(path)}" for path, _ in mounts]
        lines += [f"found {it}" for it in said]
        lines += [f"in_place {one} {_compared(it)}" for one, (_, it) in zip(said, mounts, strict=True)]
        lines += [f"table {wanted} {quote(rows)}", "written", *(f"is_now {it}" for it in said), "all_back"]
        return "\n".join([*lines, f"folders {wanted}", "reloaded"])

    def taking_away(self, inputs: Inputs) -> str:
        """Lines of others are what they were, and what they mount is mounted again."""
        return """
all_back
others ' '
again=$(awk -v prefix="#swarmctl:$baseline# " 'index($0, prefix) == 1 { split(substr($0, length(prefix) + 1), field); \
print field[2] }' /etc/fstab 2>/dev/null) || :
table ' ' ''
written
for path in $again; do [ -n "$(source_of "$path")" ] || mount "$path" 2>/dev/null || :; done
all_back
folders ' '
forget
reloaded
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
        gone = [path for path in sorted(before) if path not in after]
        kept = [path for path in sorted(before) if path in after]
        others = [path for path in kept if str(before[path]["device"]).endswith(ELSEWHERE)]
        anew = [path for path in kept if path not in others and _what(before[path]) != _what(after[path])]
        anew = [path for path in kept if path not in others and f"{path}/".startswith(tuple(f"{it}/" for it in anew))]
        told = [f"unmounts {', '.join(gone)}"] if gone else []
        told += [f"unmounts {', '.join(anew)} and mounts what is declared"] if anew else []
        told += [
            f"what somebody has mounted at {path} is not unmounted: apply is refused until it is" for path in others
        ]
        for path in kept:
            if path not in anew and path not in others and (left := _left_out(before[path], after[path])):
                told.append(f"{', '.join(left)} counts at {path} until it is mounted the next time")
        return ", ".join(told)


def _what(mount: Inputs) -> tuple[Json, ...]:
    """What can't be changed without unmounting."""
    return mount["device"], mount["type"], options.part(mount["options"])


def _left_out(before: Inputs, after: Inputs) -> list[str]:
    """Options of the file system's own that nothing takes the place of: of no one it is known what it is without."""
    names = {one.partition("=")[0] for one in after["options"]}
    own = [one for one in options.own(before["options"]) if one.partition("=")[0] not in names]
    return [one for one in own if not (before["type"] == "tmpfs" and one.startswith("size="))]


def _compared(mount: Inputs) -> str:
    """What of the options can be seen, and what brings it about."""
    must, never = options.words(mount["options"])
    return " ".join(map(quote, (" ".join(must), " ".join(never), options.anew(mount["options"]))))


def _options(inputs: Inputs, mount: Inputs) -> str:
    return ",".join([*mount["options"], f"x-swarmctl.{inputs['baseline']}"])


def _pass(mount: Inputs) -> int:
    """Whether the file system is checked at the start, after the root's (fstab(5))."""
    return 2 if mount["type"] in ("ext4", "vfat") else 0


MOUNTS = MountsType()
