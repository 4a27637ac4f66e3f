#!/usr/bin/env python3
"""Draws docs/demo.svg: what `cxnpoll demo --keep` and `cxnpoll status` print at a terminal.

    cargo build --release && python3 docs/demo-picture.py target/release/cxnpoll docs/demo.svg

Both commands run in tmux, which must be installed. The progress bar is that of the last run, halfway.
"""

import html
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import unicodedata

COLUMNS, ROWS = 80, 60
CELL_WIDTH, LINE_HEIGHT, FONT_SIZE = 8.4, 19, 14
MARGIN, TITLE_HEIGHT = 16, 34
BACKGROUND, FRAME, TEXT, DIM = "#1b1f27", "#3a414d", "#d8dee9", "#8b95a5"
COLORS = ["#5c6370", "#ff7b85", "#8fd18a", "#e5c07b", "#7fb7ff", "#d7a6f0", "#6fd0d8", TEXT]
# Of blocks, which are drawn as rectangles.
OPACITIES = {"█": 1, "▓": 0.75, "▒": 0.5, "░": 0.25}
TITLE = "A run of cxnpoll demo at a terminal"
DESC = (
    "cxnpoll demo serves 300 simulated sites and polls them eight times. Each run has a line with the numbers of sites that "
    "were due, answered and failed. The last run shows its progress bar. A table lists what became of the sites, and cxnpoll "
    "status summarizes the store."
)


class Screen:
    """A terminal in tmux, with a shell whose prompt is a dollar sign."""

    def __init__(self, directory):
        self.socket = os.path.join(directory, "tmux")
        shell = "env -i PATH=%s TERM=tmux-256color LC_ALL=C.UTF-8 HOME=%s TMPDIR=%s PS1='$ ' sh" % (
            shlex.quote(os.environ["PATH"]), *[shlex.quote(directory)] * 2)
        self.tmux("-u", "-f", "/dev/null", "new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), shell)
        self.tmux("set", "-g", "status", "off")

    def tmux(self, *arguments):
        command = ["tmux", "-S", self.socket, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def type(self, command):
        self.tmux("send-keys", "-l", command)
        self.tmux("send-keys", "Enter")

    def lines(self):
        """Returns the lines of the screen with their escape sequences, without empty ones at the end."""
        lines = self.tmux("capture-pane", "-p", "-e").split("\n")
        while lines and not plain(lines[-1]).strip():
            lines.pop()
        return lines

    def wait_for(self, found):
        """Returns the first screen on which `found` returns a value, and that value."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            lines = self.lines()
            value = found(lines)
            if value is not None:
                return lines, value
            time.sleep(0.05)
        sys.exit("the terminal did not show what was expected:\n" + "\n".join(map(plain, self.lines())))


def plain(line):
    return re.sub(r"\x1b\[[0-9;]*m", "", line)


def capture(program):
    """Runs the commands and returns the lines to draw."""
    with tempfile.TemporaryDirectory() as directory:
        os.symlink(os.path.abspath(program), os.path.join(directory, "cxnpoll"))
        os.environ["PATH"] = directory + ":" + os.environ["PATH"]
        screen = Screen(directory)
        try:
            is_prompt = lambda lines: True if lines and plain(lines[-1]).strip() == "$" else None
            screen.wait_for(is_prompt)
            screen.type("cxnpoll demo --keep")

            def last_bar(lines):
                runs = sum(bool(re.match(r"\d\d:\d\dZ ", plain(line))) for line in lines)
                bar = re.search(r"[█░]+ (\d+)/(\d+) polled", plain(lines[-1])) if lines else None
                return lines[-1] if runs == 7 and bar and 0.6 < int(bar[1]) / int(bar[2]) < 0.99 else None

            _, bar = screen.wait_for(last_bar)
            lines, _ = screen.wait_for(is_prompt)
            lines.pop()
            store = re.search(r"--store (\S+) status", "\n".join(map(plain, lines)))[1]
            last_run = max(at for at, line in enumerate(lines) if re.match(r"\d\d:\d\dZ ", plain(line)))
            lines.insert(last_run, bar)
            end = next(at for at, line in enumerate(lines) if "Look around" in plain(line)) + 1
            screen.type("clear; cxnpoll --store %s status" % store)
            status, _ = screen.wait_for(lambda lines: is_prompt(lines) and (True if len(lines) > 2 else None))
            short = "/tmp/" + os.path.basename(store)
            prompt = "$ cxnpoll --store %s status" % short
            return lines[:end] + ["", prompt] + [line.replace(store, short) for line in status[:-1]]
        finally:
            screen.tmux("kill-server")


def cells(line):
    """Returns the characters of a line, each with its color, whether it is bold, and its column."""
    color, bold, dim, column = TEXT, False, False, 0
    for escape, character in re.findall(r"\x1b\[([0-9;]*)m|(.)", line):
        if character:
            yield character, DIM if dim and color == TEXT else color, bold, column
            column += 2 if unicodedata.east_asian_width(character) in "WF" else 1
            continue
        for code in map(int, filter(None, (escape or "0").split(";"))):
            if code == 0:
                color, bold, dim = TEXT, False, False
            elif code in (1, 2, 22):
                bold, dim = code == 1, code == 2
            elif 30 <= code <= 37 or 90 <= code <= 97:
                color = COLORS[code % 10]
            elif code == 39:
                color = TEXT


def draw(lines):
    """Returns the picture of the lines."""
    width, height = COLUMNS * CELL_WIDTH + 2 * MARGIN, len(lines) * LINE_HEIGHT + TITLE_HEIGHT + 2 * MARGIN
    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" aria-labelledby="title desc">',
        f'<title id="title">{TITLE}</title>',
        f'<desc id="desc">{DESC}</desc>',
        "<style>text { font: %dpx ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', "
        "monospace; white-space: pre } .b { font-weight: bold }</style>" % FONT_SIZE,
        f'<rect x="0.5" y="0.5" width="{width - 1:g}" height="{height - 1:g}" rx="9" fill="{BACKGROUND}" stroke="{FRAME}"/>',
    ]
    svg += [f'<circle cx="{20 + 18 * at}" cy="19" r="5.5" fill="{color}"/>' for at, color in enumerate(COLORS[1:4])]
    for row, line in enumerate(lines):
        top = TITLE_HEIGHT + MARGIN + row * LINE_HEIGHT
        spans = []
        for character, color, bold, column in cells(line):
            kind = character if character in OPACITIES else "text"
            if spans and spans[-1][:3] == (kind, color, bold) and (kind != "text" or not spans[-1][4].endswith("  ")):
                spans[-1] = (*spans[-1][:4], spans[-1][4] + character)
            elif character != " ":
                spans.append((kind, color, bold, column, character))
        for kind, color, bold, column, text in spans:
            x, text = MARGIN + column * CELL_WIDTH, text.rstrip()
            if kind != "text":
                svg.append(f'<rect x="{x:g}" y="{top + 3}" width="{len(text) * CELL_WIDTH:g}" height="{LINE_HEIGHT - 6}" '
                           f'fill="{color}" opacity="{OPACITIES[kind]}"/>')
            else:
                style = ' class="b"' if bold else ""
                svg.append(f'<text x="{x:g}" y="{top + 14}" fill="{color}"{style} textLength="{len(text) * CELL_WIDTH:g}" '
                           f'lengthAdjust="spacingAndGlyphs">{html.escape(text)}</text>')
    return "\n".join(svg + ["</svg>"]) + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write(draw(capture(sys.argv[1])))
