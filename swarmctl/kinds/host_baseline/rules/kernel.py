"""Sysctl keys and kernel parameters that are none, that are others' to set, or that weaken a machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from swarmctl.declarations.declaration import Declaration, Unknown
from swarmctl.declarations.words import did_you_mean, listing, sentences
from swarmctl.diagnostics import Code, Diagnostic, Related, Severity

OWNED = Code(
    "SW3705",
    "sysctl key that mesh and security policy set",
    """Which machine passes traffic on, and from where packets are taken, follows from the Mesh and the SecurityPolicy,
which set these keys themselves: forwarding, reverse-path filters, IPv6 switched off. Set here, too, the two would take
turns, and tunnels would fail or let in what no flow allows.

Wrong: `sysctl: {net.ipv4.ip_forward: 1}`

Right: no such key; hubs, gateways and relays of a Mesh forward by themselves
""",
)
NO_SETTING = Code(
    "SW3706",
    "sysctl key that is no setting",
    """A key begins with the name of a part of the kernel (sysctl(8)). Some keys are no settings: writing them makes
something happen once, they are about one process, or they hold a secret, which no declaration may.

Wrong: `sysctl: {vn.swappiness: 10}`, `sysctl: {vm.drop_caches: 3}`, `sysctl: {net.ipv4.tcp_fastopen_key: …}`

Right: `sysctl: {vm.swappiness: 10}`
""",
)
WEAKER = Code(
    "SW3707",
    "setting that weakens a machine",
    """The kernel's own protection is less with this setting than Debian's default. A warning: there may be a reason,
such as a debugger.

Wrong: `sysctl: {kernel.kptr_restrict: 0}`, `kernel: {parameters: [mitigations=off]}`

Right: the setting left out
""",
)
STARTS = Code(
    "SW3708",
    "kernel parameter that decides what is started",
    """Where the root file system is and which program is started first is the boot loader's to know. With a wrong value
the machine does not start any more, and no one can reach it to mend that.

Wrong: `kernel: {parameters: [root=/dev/sda1]}`

Right: `kernel: {parameters: [iommu=pt]}`
""",
)
CUTS = Code(
    "SW3719",
    "sysctl key that can cut the machine off",
    """With a wrong value of this key a machine no longer answers whoever manages it, or does so no more after a while,
and no apply can reach it to mend that; the message says how. Nothing puts such a setting back by itself. A warning:
there may be a reason. Try it on one machine first, with its console at hand.

Wrong: `sysctl: {net.ipv4.conf.all.arp_ignore: 8}`

Right: the key left out
""",
)
ROOTS = ("abi", "crypto", "debug", "dev", "fs", "kernel", "net", "sunrpc", "user", "vm")
_OWNED = re.compile(
    r"net\.ipv4\.ip_forward|net\.ipv[46]\.conf\.[^.]+\.(forwarding|mc_forwarding)"
    r"|net\.ipv4\.conf\.[^.]+\.(rp_filter|src_valid_mark|route_localnet)"
    r"|net\.ipv6\.conf\.[^.]+\.(disable_ipv6|accept_ra|force_forwarding)"
)
_CUTS = {
    r"net\.ipv4\.conf\.[^.]+\.arp_(ignore|filter|announce)": "neighbours may not be told that an address is its",
    r"net\.ipv[46]\.neigh\..*": "it may forget its router, or never find it",
    r"net\.ipv4\.icmp_echo_ignore_all|net\.ipv6\.icmp\.echo_ignore_all": "it answers no echo, so it counts as lost",
    r"net\.ipv4\.ip_default_ttl|net\.ipv6\.conf\.[^.]+\.hop_limit": "its packets may end on the way",
    r"net\.ipv4\.(ip_no_pmtu_disc|route\.min_pmtu)|net\.ipv6\.conf\.[^.]+\.mtu": "large packets may not arrive",
    r"net\.ipv6\.conf\.[^.]+\.(autoconf|addr_gen_mode|use_tempaddr|router_solicitations|accept_dad|max_addresses)": (
        "its IPv6 address may go when it runs out, or be another one"
    ),
    r"net\.(netfilter\.)?nf_conntrack_(max|buckets)": "new connections may be dropped when the table is full",
    r"net\.ipv4\.tcp_(mem|max_orphans|abort_on_overflow)": "connections may be refused",
    r"kernel\.modules_disabled": (
        "no module is loaded any more before its next restart, not WireGuard's, no driver's, and it can't be set back"
    ),
    r"net\.ipv6\.bindv6only": "servers that listen on both families may listen on one",
}
"""Which keys, and what they may do (Linux, Documentation/networking/ip-sysctl.rst and nf_conntrack-sysctl.rst)."""
TWICE = Code(
    "SW3720",
    "kernel parameter that is there twice",
    """Of most parameters that are given several times the kernel takes the last alone (Linux,
Documentation/admin-guide/kernel-parameters.rst), so one of them does nothing, or says the opposite of what counts. A
warning: some are collected instead; of those that are known for it nothing is said.

Wrong: `kernel: {parameters: [iommu=pt, quiet, iommu=off]}`

Right: `kernel: {parameters: [iommu=pt, quiet]}`
""",
)
_COLLECTED = re.compile(
    r"console|hugepages|hugepagesz|memmap|netconsole|earlycon|video|pci|pcie_aspm|blacklist|module_blacklist|cpuidle\..*"
    r"|systemd\.(mask|wants|setenv)|modules[-_]load|rd\..*|ip|dyndbg|.*\.dyndbg|vfio-pci\.ids|crashkernel|isolcpus|lsm"
)
_ONCE = re.compile(
    r"vm\.(drop_caches|compact_memory|stat_refresh)|net\.ipv[46]\.route\.flush|kernel\.(ns_last_pid|sysrq_trigger)"
    r"|kernel\.random\..*|kernel\.(hostname|domainname)|fs\.binfmt_misc\..*"
)
_SECRET = re.compile(r"net\.ipv4\.tcp_fastopen_key|net\.ipv6\.conf\.[^.]+\.stable_secret")
_LEAST = {
    "kernel.kptr_restrict": 1,
    "kernel.randomize_va_space": 2,
    "kernel.dmesg_restrict": 1,
    "kernel.unprivileged_bpf_disabled": 1,
    "kernel.perf_event_paranoid": 2,
    "fs.protected_hardlinks": 1,
    "fs.protected_symlinks": 1,
    "fs.protected_fifos": 1,
    "fs.protected_regular": 1,
    "net.ipv4.tcp_syncookies": 1,
    "vm.mmap_min_addr": 65536,
}
"""The least value that is no weaker than Debian 12's default."""
_DECISIVE = frozenset(
    "root rootfstype rootflags rootdelay rootwait ro rw init rdinit initrd noinitrd resume BOOT_IMAGE single emergency "
    "rescue systemd.unit".split()
)
_WEAK = re.compile(
    r"mitigations=off|nokaslr|nosmap|nosmep|nopti|pti=off|no_?spectre_v[12]|spectre_v2=off|selinux=0|enforcing=0"
    r"|apparmor=0|audit=0|module\.sig_enforce=0|lockdown=none|nospec_store_bypass_disable|tsx=on|kpti=0|noexec=off"
)


def check(baseline: Declaration) -> Iterator[Diagnostic]:
    """Key by key, parameter by parameter."""
    for key, value in baseline.spec.sysctl.items():
        if not isinstance(key, Unknown):
            yield from _sysctl(baseline, key, value)
    if baseline.spec.kernel is not None:
        yield from _parameters(baseline, baseline.spec.kernel.parameters)


def _parameters(baseline: Declaration, parameters: Sequence[str]) -> Iterator[Diagnostic]:
    last: dict[str, int] = {}
    for index, parameter in enumerate(parameters):
        yield from _parameter(baseline, index, parameter)
        if isinstance(parameter, Unknown):
            continue
        name = parameter.partition("=")[0].replace("-", "_")  # one and the same to the kernel
        if name in last and not _COLLECTED.fullmatch(parameter.partition("=")[0]):
            before = parameters[last[name]]
            yield Diagnostic(
                TWICE,
                f"`{parameter}` comes after `{before}`" if before != parameter else f"`{parameter}` is there twice",
                baseline.value("spec", "kernel", "parameters", index),
                label="the last one counts",
                related=(Related(baseline.value("spec", "kernel", "parameters", last[name]), "the one before"),),
                help="leave one of them out",
                severity=Severity.WARNING,
            )
        last[name] = index


def _sysctl(baseline: Declaration, key: str, value: int | str) -> Iterator[Diagnostic]:
    where, root = baseline.key("spec", "sysctl", key), key.partition(".")[0]
    if root not in ROOTS:
        yield Diagnostic(
            NO_SETTING,
            f"there is no part `{root}` of the kernel",
            where,
            label="no setting",
            help=sentences(did_you_mean(root, ROOTS), f"keys begin with {listing(ROOTS)}"),
        )
    elif _OWNED.fullmatch(key):
        yield Diagnostic(
            OWNED,
            f"`{key}` is set by the Mesh and the SecurityPolicy of the machine",
            where,
            label="not for a baseline",
            help="leave it out; what a machine forwards follows from the Mesh's topology",
        )
    elif _ONCE.fullmatch(key):
        yield Diagnostic(
            NO_SETTING,
            f"`{key}` is no setting that stays",
            where,
            label="nothing that a machine could be compared with",
            help="leave it out; what is to be done once is done with `swarmctl exec`",
        )
    elif _SECRET.fullmatch(key):
        yield Diagnostic(
            NO_SETTING,
            f"`{key}` holds a secret, which no declaration may",
            where,
            label="a secret",
            help="leave it out: the kernel makes one by itself",
        )
    elif why := next((why for pattern, why in _CUTS.items() if re.fullmatch(pattern, key)), ""):
        yield Diagnostic(
            CUTS,
            f"`{key}: {value}` can cut the machine off: {why}",
            where,
            label="can cut the machine off",
            help="leave it out, or try it on one machine with its console at hand",
            severity=Severity.WARNING,
        )
    elif key in _LEAST and (number := _number(value)) is not None and number < _LEAST[key]:
        yield Diagnostic(
            WEAKER,
            f"`{key}: {value}` is weaker than the default",
            baseline.value("spec", "sysctl", key),
            label=f"at least {_LEAST[key]} is Debian's default",
            help="leave it out, unless there is a reason",
            severity=Severity.WARNING,
        )


def _number(value: int | str) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None


def _parameter(baseline: Declaration, index: int, parameter: str) -> Iterator[Diagnostic]:
    if isinstance(parameter, Unknown):
        return
    where, name = baseline.value("spec", "kernel", "parameters", index), parameter.partition("=")[0]
    if name in _DECISIVE:
        yield Diagnostic(
            STARTS,
            f"the kernel parameter `{name}` decides what the machine starts",
            where,
            label="the boot loader's to know",
            help="leave it out",
        )
    elif _WEAK.fullmatch(parameter):
        yield Diagnostic(
            WEAKER,
            f"`{parameter}` switches a protection of the kernel off",
            where,
            label="weaker than the default",
            help="leave it out, unless there is a reason",
            severity=Severity.WARNING,
        )
