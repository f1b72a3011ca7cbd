"""The codes of everything that can be wrong with a text before its meaning is looked at: SW1001-SW1099."""

from __future__ import annotations

from swarmctl.diagnostics import Code

UNREADABLE = Code(
    "SW1001",
    "unreadable file",
    """A file or folder of the stack could not be opened: it is missing (a symbolic link that leads nowhere), or
its permissions keep it from you. swarmctl never goes on without a file that belongs to the stack, because what
is not declared is taken away.

Wrong: `pools.yaml` is a symbolic link to a file that was moved.

Right: make it readable (`chmod u+r pools.yaml`), mend the link, or remove it.
""",
)
NOT_A_FILE = Code(
    "SW1002",
    "not a regular file",
    """Something in the stack's folder has a name that ends in `.yaml` or `.yml`, and is a folder, a pipe, a
socket or a device. Declarations are regular files, or symbolic links to them.

Wrong: a folder named `pools.yaml/`.

Right: a folder named `pools/` with `workers.yaml` in it.
""",
)
TOO_LARGE = Code(
    "SW1003",
    "too much text",
    """One file holds at most 8 MiB and a million values; a stack holds at most 10,000 files and 64 MiB. Nobody
reviews more than that, so it is most often a file that came into the folder by mistake: a log, a backup, a
dump.

Wrong: `dump.yaml` with 50 MB in the stack's folder.

Right: move it out, or split the declarations into several files.
""",
)
NOT_TEXT = Code(
    "SW1004",
    "not a text file in a Unicode encoding",
    """YAML is Unicode text. swarmctl reads UTF-8 (with or without a byte order mark), and UTF-16 or UTF-32 that
begin with one. Anything else is refused rather than guessed at.

Wrong: a file saved as Latin-1 (`café` with the single byte E9), an archive or a program named `.yaml`.

Right: save it as UTF-8: `iconv -f latin1 -t utf-8 old.yaml > new.yaml`.
""",
)
FORBIDDEN_CHARACTER = Code(
    "SW1005",
    "character that YAML or review does not allow",
    """Control characters are not allowed in YAML. Line breaks other than CR and LF (U+0085, U+2028, U+2029) and
characters that change the direction of writing (U+202A-U+202E, U+2066-U+2069) make the reader of a file see
something else than the program does, so swarmctl refuses them too.

Wrong: a raw escape character or a right-to-left override in a name.

Right: remove it, or write it as an escape in double quotes: `"\\u2028"`.
""",
)
SYNTAX = Code(
    "SW1010",
    "YAML syntax error",
    """The text is not YAML. The place shown is where reading could not go on; the mistake is there or just
before it. Reading starts again at the next `---`, so that other documents are checked in the same run.

Wrong:

    note: | text on the same line
      more text

Right:

    note: |
      text on the next line
      more text
""",
)
TAB = Code(
    "SW1011",
    "tab used for indentation",
    """YAML is indented with spaces only; how wide a tab is depends on the editor.

Wrong: a line that starts with a tab character.

Right: two spaces for each level. Most editors can be told to insert spaces.
""",
)
UNCLOSED_QUOTE = Code(
    "SW1012",
    "quotes that do not fit together",
    """A quote was opened and never closed, or text stands behind the closing quote.

Wrong:

    region: "eu-central
    note: 'it's late'

Right:

    region: "eu-central"
    note: 'it''s late'      # a single quote is doubled inside single quotes
    note: "it's late"
""",
)
BRACKETS = Code(
    "SW1013",
    "brackets that do not fit together",
    """A `[` or `{` has no partner, or something other than a comma stands between two items.

Wrong:

    ports: [6379, 9100
    labels: {role: worker}}

Right:

    ports: [6379, 9100]
    labels: {role: worker}
""",
)
INDENTATION = Code(
    "SW1014",
    "wrong indentation",
    """The keys of one mapping start in one column, and so do the dashes of one list. A line that starts in a
column between two levels belongs to neither.

Wrong:

    spec:
      region: eu-central
       lab: {count: 2}

Right:

    spec:
      region: eu-central
      lab: {count: 2}
""",
)
NEEDS_QUOTES = Code(
    "SW1015",
    "text that needs quotes",
    """Unquoted text may not begin with a character that means something in YAML (`@`, `` ` ``, `%`, `*`, `&`,
`!`, `|`, `>`, brackets, quotes), and may not hold a colon followed by a space.

Wrong:

    note: see: the wiki
    owner: @infra

Right:

    note: "see: the wiki"
    owner: "@infra"
""",
)
MISSING_COLON = Code(
    "SW1016",
    "key without a colon and a space",
    """A key is followed by a colon and a space (or the end of the line). Without the space, `key:value` is one
piece of text.

Wrong:

    region eu-central
    mtu:1420

Right:

    region: eu-central
    mtu: 1420
""",
)
ESCAPE = Code(
    "SW1017",
    "unknown escape in double quotes",
    """In double quotes a backslash begins an escape such as `\\n`, `\\t`, `\\"`, `\\\\`, `\\x41` or `\\u00e9`.
Others do not exist. In single quotes a backslash is just a backslash.

Wrong: `pattern: "\\d+"`

Right: `pattern: '\\d+'` or `pattern: "\\\\d+"`
""",
)
DIRECTIVE = Code(
    "SW1018",
    "directive",
    """Lines that begin with `%` are directives to the YAML reader. `%YAML 1.2` is what swarmctl reads and may
be written; other versions and `%TAG` are refused, as they would change the meaning of the text.

Wrong: `%YAML 1.1`

Right: leave the line out.
""",
)
DUPLICATE_KEY = Code(
    "SW1020",
    "duplicate key",
    """The same key stands twice in one mapping. Many readers silently keep the last one; then half of what the
file says is ignored.

Wrong:

    spec:
      region: eu-central
      region: us-east

Right: keep one of them.
""",
)
KEY_NOT_TEXT = Code(
    "SW1021",
    "key that is not text",
    """Every key is text. A key that YAML reads as a number, a truth value or nothing needs quotes, and a list
or mapping can't be a key (`{{ name }}` is one: templates are not part of the language).

Wrong: `labels: {8080: http, true: x}`

Right: `labels: {"8080": http, "true": x}`
""",
)
MERGE_KEY = Code(
    "SW1022",
    "merge key",
    """`<<` copied the fields of one mapping into another in YAML 1.1; YAML 1.2 has no such thing, and what
overrides what is not visible where it stands. Aliases of whole values (`*name`) work.

Wrong:

    spec: {<<: *defaults, region: eu-central}

Right: write the fields out, or use `spec.defaults` of the Stack.
""",
)
TAG = Code(
    "SW1023",
    "tag",
    """Tags (`!name`, `!!str`) choose a type for a value; other tools even run code for them. In this language
the field decides on the type, so tags are refused and nothing is ever constructed from them.

Wrong: `version: !!str 1.34`

Right: `version: "1.34"`
""",
)
ALIAS = Code(
    "SW1024",
    "alias without a value",
    """An alias `*name` stands for the value marked `&name` earlier in the same document. Here nothing was
marked so, or the alias stands inside the very value that it names.

Wrong: `ports: *http`

Right: `ports: &http [80, 443]` before it, or write the value out.
""",
)
ALIAS_BOMB = Code(
    "SW1025",
    "aliases expand to too much",
    """Aliases of aliases multiply: ten lines can stand for a billion values. All aliases of a file may stand
for 100,000 values together.

Wrong: `a: &a [x, x]`, `b: &b [*a, *a]`, `c: &c [*b, *b]` and so on.

Right: write the values out, or declare fewer of them.
""",
)
TOO_DEEP = Code(
    "SW1026",
    "nested too deeply",
    """Mappings and lists may stand within each other at most 64 deep, aliases counted. The language itself
needs about ten levels.

Wrong: a hundred `[` in a row.

Right: look for a bracket or a level of indentation too many.
""",
)
NUMBER = Code(
    "SW1027",
    "number that cannot be kept exactly",
    """Numbers are those of JSON: no infinity, no "not a number", whole numbers between -2^63 and 2^64-1.

Wrong: `limit: .inf`, `id: 123456789012345678901234567890`

Right: leave an unlimited field out; quote what is a name and not a number: `id:
"123456789012345678901234567890"`
""",
)
TRAP_WORD = Code(
    "SW1030",
    "word that older YAML reads as true or false",
    """YAML 1.1 reads unquoted `yes`, `no`, `on`, `off`, `y` and `n` as truth values; YAML 1.2, and swarmctl, as
text. The country code `no` is the famous victim.

Wrong: `country: no`, `required: yes`

Right: `country: "no"`, `required: true`
""",
)
TRAP_NUMBER = Code(
    "SW1031",
    "number that older YAML reads differently",
    """YAML 1.1 reads `010` as eight, `12:30:45` as 45045 and `1_000` as a thousand; YAML 1.2, and swarmctl, as
ten, as text and as text. `1e3` is the number 1000 here and text there.

Wrong: `mode: 0644`, `at: 12:30:00`, `commit: 12e5`

Right: `mode: "0644"` or `mode: 0o644`, `at: "12:30:00"`, `commit: "12e5"`
""",
)
TRAP_DATE = Code(
    "SW1032",
    "date without quotes",
    """YAML 1.1 turns `2026-01-31` into a date, whose text may then come out differently; YAML 1.2, and
swarmctl, keep it as text.

Wrong: `expires: 2026-01-31`

Right: `expires: "2026-01-31"`
""",
)
TRAP_FRACTION = Code(
    "SW1033",
    "number that loses its last zero",
    """Unquoted `1.10` is the number 1.1: as a version it would be another one.

Wrong: `version: 1.10`

Right: `version: "1.10"`, or `1.1` where a number is meant
""",
)
CONTINUED_TEXT = Code(
    "SW1034",
    "unquoted text over several lines",
    """Unquoted text goes on in the following lines when these are indented more, and the line breaks become
spaces. It is allowed, and most often an accident: a forgotten colon or dash.

Wrong:

    regions:
      - eu-central
        - us-east         # one item: "eu-central - us-east"

Right:

    regions:
      - eu-central
      - us-east

For long text write `>-` after the key, or quote it.
""",
)

REFUSED = (ALIAS, TAG, NUMBER)
"""Those that refuse a value as it is written, at its beginning: what else is wrong with the value follows from that."""
