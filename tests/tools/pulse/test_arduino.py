"""The sketch, compiled as the Arduino IDE does, on a simulated board; its pin's edges."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tools.pulse.serial_ttl import SerialOutput

SKETCH = ROOT / "tools/pulse/arduino/hypnod_pulse/hypnod_pulse.ino"
CORE = Path("/usr/share/arduino/hardware/arduino/avr")
BOOT = CORE / "bootloaders/optiboot/optiboot_atmega328.hex"
SIMAVR = Path("/usr/include/simavr/parts/uart_pty.h")
NOT_NEEDED = (
    "WInterrupts",
    "WString",
    "CDC",
    "PluggableUSB",
    "USBCore",
    "IPAddress",
    "Tone",
    "new",
)
KEEP_ALIVE_MS = 500


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """A function that starts the board and returns its process and its port."""
    tools = [shutil.which("avr-gcc"), shutil.which("gcc"), CORE.is_dir(), SIMAVR.is_file()]
    if not all(tools):
        pytest.skip("needs Debian's arduino-core-avr, gcc-avr, libsimavr-dev, libelf-dev and gcc")
    folder = tmp_path_factory.mktemp("board")
    source = folder / "sketch.cpp"
    source.write_text(f'#include <Arduino.h>\n#include "{SKETCH}"\n')
    files = [f for f in (CORE / "cores/arduino").iterdir() if f.stem not in NOT_NEEDED]
    flags = [
        "-Os",
        "-std=gnu++11",
        "-mmcu=atmega328p",
        "-DF_CPU=16000000L",
        "-DARDUINO=10800",
        "-w",
    ]
    flags += ["-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"]
    flags += [f"-I{CORE / 'cores/arduino'}", f"-I{CORE / 'variants/standard'}"]
    files = [f for f in files if f.suffix in (".c", ".cpp")]
    elf, simulator = folder / "sketch.elf", folder / "board"
    run("avr-gcc", *flags, source, *files, "-o", elf)
    own = Path(__file__).with_name("simulated_board.c")
    run(
        "gcc",
        "-w",
        f"-I{SIMAVR.parents[1]}",
        own,
        "-o",
        simulator,
        "-lsimavrparts",
        "-lsimavr",
        "-lelf",
        "-lm",
        "-lpthread",
    )
    return lambda *boot: subprocess.Popen(
        [simulator, elf, *boot], stdout=subprocess.PIPE, text=True
    )


def run(*command):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def edges(process, n):
    """Return the next edges of the pin, (ms, high)."""
    lines: list[list[str]] = []
    while len(lines) < n:
        words = process.stdout.readline().split()
        assert words, "the simulated board has ended"
        if len(words) == 2 and words[1] in "01":
            lines.append(words)
    return [(float(ms), high == "1") for ms, high in lines]


def port_of(process):
    for line in process.stdout:
        if line.startswith("port "):
            return line.split()[1]
    raise AssertionError("the simulated board has ended")


def test_the_pin_follows_and_goes_low_by_itself_500_ms_after_the_last_keep_alive(board):
    with board() as process:
        try:
            output = SerialOutput(port_of(process))
            output.set(on=True)
            output.set(on=False)
            output.set(on=True)
            _, *found = edges(process, 5)  # the first is the pin's becoming an output
            output.close()
        finally:
            process.kill()
    assert [high for _, high in found] == [True, False, True, False]
    stayed_ms = found[3][0] - found[2][0]
    assert KEEP_ALIVE_MS <= stayed_ms < KEEP_ALIVE_MS + 5  # by the board's own clock


def test_the_pin_stays_low_while_the_board_starts(board):
    """The boot loader of an Uno flashes its LED whenever the port is opened."""
    with board(BOOT) as process:
        try:
            SerialOutput(port_of(process)).close()
        finally:
            process.kill()
        said = process.stdout.read()
    assert [line for line in said.splitlines() if line.endswith(" 1")] == []
