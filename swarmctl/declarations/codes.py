"""What can be wrong with a document's shape, its name and its references."""

from __future__ import annotations

from swarmctl.diagnostics import Code

NOT_A_MAPPING = Code(
    "SW2001",
    "document is not a mapping",
    """Every document is a mapping with `apiVersion`, `kind`, `metadata` and `spec`.

Wrong:

    - kind: Mesh

Right:

    apiVersion: swarmctl/v1alpha1
    kind: Mesh
    metadata: {name: backbone}
    spec: {cidrs: [10.88.0.0/16]}
""",
)
API_VERSION = Code(
    "SW2002",
    "missing or unknown apiVersion",
    """`apiVersion` says which version of the language the document is written in. Every document carries its own.
Until it is known, nothing else of the document is checked.

Wrong: `apiVersion: v1`

Right: `apiVersion: swarmctl/v1alpha1`
""",
)
KIND = Code(
    "SW2003",
    "missing or unknown kind",
    """`kind` says what is declared; `swarmctl explain` lists the kinds. Until it is known, nothing else of the document
is checked.

Wrong: `kind: Nodepool`

Right: `kind: NodePool`
""",
)
UNKNOWN_FIELD = Code(
    "SW2101",
    "unknown field",
    """Only fields that do something are in the language; an unknown one would be ignored, and that would hide a
mistake. Most are misspelt (`listen_port` for `listenPort`) or stand at the wrong depth.

Wrong:

    kind: Mesh
    mtu: 1420

Right:

    kind: Mesh
    spec:
      mtu: 1420
""",
)
MISSING_FIELD = Code(
    "SW2102",
    "missing field",
    """The field has no default that would be right for everybody, so it must be written.

Wrong:

    kind: Mesh
    spec: {mtu: 1420}

Right:

    kind: Mesh
    spec: {cidrs: [10.88.0.0/16], mtu: 1420}
""",
)
WRONG_TYPE = Code(
    "SW2103",
    "wrong type",
    """The value is not of the type that the field takes. YAML decides the type by how a value is written: `51820` is a
number, `"51820"` is text, `true` is a boolean, an empty value is null.

Wrong: `listenPort: "51820"`, `labels: {generation: 7}`, `full:`

Right: `listenPort: 51820`, `labels: {generation: "7"}`, `full: {}`
""",
)
OUT_OF_RANGE = Code(
    "SW2104",
    "value out of range",
    """The number is smaller or greater than the field can take. `swarmctl explain KIND.field` shows both ends.

Wrong: `listenPort: 70000`

Right: `listenPort: 51820`
""",
)
WRONG_FORM = Code(
    "SW2105",
    "wrong form",
    """The text does not have the form the field takes, such as a DNS label for names or `512Mi` for memory.

Wrong: `metadata: {name: Back_Bone}`, `memory: 512MB`

Right: `metadata: {name: back-bone}`, `memory: 512Mi`
""",
)
NOT_ALLOWED = Code(
    "SW2106",
    "value is not one of those allowed",
    """The field takes one of a few values; `swarmctl explain KIND.field` lists them.

Wrong: `protocol: sctp`

Right: `protocol: udp`
""",
)
EXACTLY_ONE = Code(
    "SW2107",
    "exactly one of several fields is needed",
    """Some fields exclude each other, and one of them must be there: a NodePool has one backend, a Mesh one topology, a
pool of the lab `count` or `hosts`.

Wrong: `lab: {count: 3, hosts: [{name: n1}]}`, `lab: {}`

Right: `lab: {count: 3}`
""",
)
WRONG_SIZE = Code(
    "SW2108",
    "too few or too many items",
    """A list or mapping has fewer or more items than the field takes.

Wrong: `cidrs: []`

Right: `cidrs: [10.88.0.0/16]`
""",
)
NOT_TAKEN = Code(
    "SW2109",
    "value the schema does not take",
    """The value breaks a constraint that has no message of its own; the message names it.

Wrong: text that is not valid Unicode

Right: the same text, without the stray characters
""",
)
DUPLICATE_NAME = Code(
    "SW2201",
    "name declared twice",
    """Names are unique per kind in a stack, because references and addresses are made of them.

Wrong: two documents with `kind: Mesh` and `metadata: {name: backbone}`

Right: one of them called otherwise, or removed
""",
)
DANGLING_REFERENCE = Code(
    "SW2202",
    "reference to something that is not declared",
    """The field names another declaration of the stack, and there is none with this kind and name.

Wrong: `mesh: backbon` where only a Mesh `backbone` is declared

Right: `mesh: backbone`
""",
)
NO_STACK = Code(
    "SW2203",
    "no Stack in the folder",
    """A folder of declarations is one stack and says so with exactly one document of kind `Stack`; its name is where
the state is kept.

Right:

    apiVersion: swarmctl/v1alpha1
    kind: Stack
    metadata: {name: lab}
""",
)
SEVERAL_STACKS = Code(
    "SW2204",
    "more than one Stack in the folder",
    """A folder of declarations is one stack. Two stacks are two folders.

Wrong: two documents of kind `Stack` in one folder

Right: one folder each
""",
)

ABOUT_A_VALUE = (WRONG_TYPE, OUT_OF_RANGE, WRONG_FORM, NOT_ALLOWED, NOT_TAKEN)
"""Codes that say that the value at their place is none: whatever else is found inside it follows from that."""
