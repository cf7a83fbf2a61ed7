#!/usr/bin/python3
"""Makes the pictures of the documentation anew, from real runs with the simulator in charon's place.

    docs/pictures/make.py target/debug/charon-dkg

Needs a docker engine, and on Debian the packages python3-pyte (a terminal) and chromium (the board's page). It fails where the
program no longer says what a picture is there to show.
"""

import fcntl
import html
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

import pyte

HERE = pathlib.Path(__file__).resolve().parent
COLUMNS = 108
WIDE = 138
CELL_WIDTH, CELL_HEIGHT, PADDING = 8.4, 18, 14
IMAGE = "charon-dkg-simulator"

# Fixed colours that can be read on both pages; the ground follows the reader's scheme.
STYLE = """
  .ground { fill: #f6f8fa; stroke: #d0d7de } text { fill: #1f2328; font: 14px ui-monospace, 'DejaVu Sans Mono', monospace; white-space: pre }
  .bold { font-weight: 700 } .red { fill: #b3162b } .yellow { fill: #7d4e00 } .typed { fill: #0b57a4; font-weight: 700 }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #15181c; stroke: #3b424a } text { fill: #e6e9ed }
    .red { fill: #ff8d99 } .yellow { fill: #e8c06a } .typed { fill: #7db8ff }
  }
"""


def fail(reason):
    sys.exit(f"make.py: {reason}")


class Terminal:
    """A command on a terminal of its own, whose screen is what a reader would see."""

    def __init__(self, command, cwd, columns=COLUMNS):
        self.columns = columns
        self.screen = pyte.Screen(columns, 600)
        self.stream = pyte.ByteStream(self.screen)
        pid, self.fd = pty.fork()
        if pid == 0:
            os.chdir(cwd)
            os.environ.update(TERM="xterm-256color", COLUMNS=str(columns))
            os.environ.pop("NO_COLOR", None)
            # As `docker charon-dkg` starts it, so that advice is spelled like that.
            os.environ["CHARON_DKG_SPELLING"] = "docker charon-dkg"
            os.execvp(command[0], [command[0], "charondkg", *command[1:]])
        self.pid = pid
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))

    def feed(self, seconds):
        """Reads for so long; whether there will be more."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            if select.select([self.fd], [], [], left)[0]:
                try:
                    data = os.read(self.fd, 65536)
                except OSError:
                    return False
                if not data:
                    return False
                self.stream.feed(data)
        return True

    def text(self):
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def until(self, words, patience):
        ends = time.monotonic() + patience
        while not all(word in self.text() for word in words):
            if time.monotonic() > ends or not self.feed(0.3):
                fail(f"never said {words}:\n{self.text()}")

    def end(self, patience=600):
        ends = time.monotonic() + patience
        while self.feed(0.5):
            if time.monotonic() > ends:
                os.kill(self.pid, signal.SIGKILL)
                fail(f"did not end:\n{self.text()}")
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def spans(row, columns):
    """The cells of a row as texts of one style each."""
    parts = []
    for column in range(columns):
        cell = row[column]
        style = " ".join(
            name
            for name, is_so in (
                ("bold", cell.bold),
                ("red", "red" in cell.fg),
                ("yellow", cell.fg in ("yellow", "brown")),
            )
            if is_so
        )
        if parts and parts[-1][0] == style:
            parts[-1][1] += cell.data
        else:
            parts.append([style, cell.data])
    return parts


def after(terminal, words):
    """Which rows come after the one with these words."""
    lines = terminal.text().splitlines()
    begins = [number for number, line in enumerate(lines) if words in line]
    if not begins:
        fail(f"{words!r} is no longer said:\n{terminal.text()}")
    return set(lines[begins[-1] + 1 :])


def draw(name, typed, terminal, must_say, keep=None, redact=()):
    """Writes one picture: what was typed, and the rows of the screen. `keep` picks rows."""
    text = terminal.text()
    for words in must_say:
        if words not in text:
            fail(f"{name}: {words!r} is no longer said:\n{text}")
    count = len(text.splitlines())
    rows = [spans(terminal.screen.buffer[number], terminal.columns) for number in range(count)]
    if keep:
        rows = [row for row in rows if keep("".join(part for _, part in row).rstrip())]
    lines = [[["typed", f"$ {typed}"]]] + rows
    height = len(lines) * CELL_HEIGHT + 2 * PADDING
    width = terminal.columns * CELL_WIDTH + 2 * PADDING
    title = html.escape(f"{typed}, on a terminal")
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img" aria-labelledby="t">',
        f'<title id="t">{title}</title><style>{STYLE}</style>',
        f'<rect class="ground" x="0.5" y="0.5" width="{width - 1:.0f}" height="{height - 1}" rx="8"/>',
    ]
    for number, line in enumerate(lines):
        y = PADDING + CELL_HEIGHT * number + 13
        inner = ""
        for style, part in line:
            for old, new in redact:
                part = part.replace(old, new)
            inner += f'<tspan class="{style}">{html.escape(part)}</tspan>' if style else html.escape(part)
        svg.append(f'<text xml:space="preserve" x="{PADDING}" y="{y}">{inner.rstrip()}</text>')
    svg.append("</svg>\n")
    (HERE / f"{name}.svg").write_text("\n".join(svg))
    print(f"wrote docs/pictures/{name}.svg, {len(lines)} lines")


def main():
    if len(sys.argv) != 2:
        fail("name the program: docs/pictures/make.py target/debug/charon-dkg")
    program = str(pathlib.Path(sys.argv[1]).resolve())
    work = pathlib.Path(tempfile.mkdtemp(prefix="cdkg-pictures-"))
    network = f"cdkg-pictures-{os.getpid()}"
    children, kept = [], None
    try:
        # A rehearsal; its tail is the picture, its kept directories are the world of the others.
        typed = ["rehearse", "--operators", "4", "--validators", "2", "--engine", "simulated", "--without-gate", "--keep"]
        shown = Terminal([program, *typed], work)
        code = shown.end()
        if code != 0:
            fail(f"the rehearsal ended with {code}:\n{shown.text()}")
        kept = pathlib.Path(re.findall(r"/\S*?/charon-dkg-rehearsal-\w+", shown.text())[-1])
        shown_rows = after(shown, "removing containers and networks")
        draw(
            "rehearse",
            "docker charon-dkg rehearse",
            shown,
            ["4 operators, 2 validators", "ready lines are in the chat"],
            keep=lambda row: row in shown_rows,
            redact=[(str(kept), "/tmp/rehearsal")],
        )

        # The receipts of that ceremony.
        receipts = []
        for number in range(1, 5):
            out = subprocess.run([program, "receipt", "--dir", str(kept / f"operator-{number}")], capture_output=True, text=True, check=True)
            receipts.append(out.stdout.strip())
        chat = kept / "chat.txt"
        chat.write_text("\n".join(receipts))
        shown = Terminal([program, "confirm", "--dir", "operator-1", "chat.txt"], kept, WIDE)
        if shown.end() != 0:
            fail(f"confirm:\n{shown.text()}")
        # What is noted of the simulator's image is of no use to anybody else.
        notes = after(shown, "all have the same")
        said = ["4 of 4 operators have everything, and all have the same"]
        draw("confirm", "docker charon-dkg confirm chat.txt", shown, said, keep=lambda row: row not in notes)

        # A relay for what follows.
        docker = lambda *args: subprocess.run(["docker", *args], check=True, capture_output=True, text=True).stdout
        docker("network", "create", network)
        tag = docker("images", "--format", "{{.Repository}}:{{.Tag}}", IMAGE).split()[0]
        docker("run", "-d", "--name", network, "--network", network, tag, "relay", "--http-address=0.0.0.0:3640")
        flags = ["--no-backup", f"--relay=http://{network}:3640", f"--network={network}", f"--image={IMAGE}"]

        # A directory in which a ceremony has been, and a key that others can read.
        key = kept / "operator-1/.charon/charon-enr-private-key"
        key.chmod(0o644)
        shown = Terminal([program, "plan", *flags, "--dir", "operator-1"], kept)
        if shown.end() != 3:
            fail(f"plan did not refuse:\n{shown.text()}")
        key.chmod(0o600)
        draw(
            "refusal",
            "docker charon-dkg plan",
            shown,
            ["FAIL [data-directory-not-clean]", "FAIL [enr-key-mode]", "nothing was changed"],
            redact=[(str(kept / "operator-1"), "/srv/cluster")],
        )

        # Three operators wait for the fourth.
        projects = []
        for number in range(1, 5):
            source, project = kept / f"operator-{number}/.charon", work / f"op{number}"
            (project / ".charon").mkdir(parents=True, mode=0o700)
            for name in ("charon-enr-private-key", "cluster-definition.json"):
                shutil.copyfile(source / name, project / ".charon" / name)
                (project / ".charon" / name).chmod(0o600)
            projects.append(project)
        for project in projects[1:3]:
            children.append(subprocess.Popen([program, "run", *flags, "--dir", str(project)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        shown = Terminal([program, "run", *flags, "--dir", str(projects[0])], work)
        shown.until(["missing for 12s"], 180)
        shown.feed(0.5)
        waiting = after(shown, "attempt 1")
        draw(
            "run-waits",
            "docker charon-dkg run --definition cluster-definition.json",
            shown,
            ["waiting for the other operators", "this node", "here", "missing for", "keystores   0 of 2"],
            keep=lambda row: row in waiting,
            redact=[(network, "relay.example")],
        )
        os.kill(shown.pid, signal.SIGINT)
        shown.end(120)

        # The board of the finished ceremony, as a reader in either scheme sees it.
        data = kept / "operator-1/.charon"
        deposits = [f"--deposit={path}" for path in sorted(data.glob("deposit-data*.json"))]
        document = subprocess.run(
            [program, "board", "--dir", str(kept / "operator-1"), "--lock", str(data / "cluster-lock.json"), *deposits, "--html", str(work / "board.html"), "--format", "json", str(chat)],
            capture_output=True, text=True, check=True,
        ).stdout
        if json.loads(document)["verdict"] != "confirmed":
            fail(f"the board does not confirm: {document}")
        for scheme, number in (("dark", 0), ("light", 1)):
            subprocess.run(
                ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={work / 'profile'}", f"--blink-settings=preferredColorScheme={number}",
                 "--window-size=1000,960", f"--screenshot={HERE / f'board-{scheme}.png'}", f"file://{work / 'board.html'}"],
                check=True, capture_output=True,
            )
            print(f"wrote docs/pictures/board-{scheme}.png")
    finally:
        for child in children:
            child.send_signal(signal.SIGINT)
        for child in children:
            child.wait(120)
        for command in (["rm", "-f", network], ["network", "rm", network]):
            subprocess.run(["docker", *command], capture_output=True)
        shutil.rmtree(work, ignore_errors=True)
        if kept:
            shutil.rmtree(kept, ignore_errors=True)


main()
