"""Strict TOML, read into frozen structs; an unknown key is refused, the nearest one suggested."""

import difflib
import re
import reprlib
import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

from models.errors import ConfigError

_IN_WORDS = {
    "[A-Za-z0-9_-]": "a name of at most 100 letters a to z, digits, _ and -, which begins with one "
    "of the first two",
    "[01]": "a time of day such as 07:00",
    "^[!-~]+:[0-9]": "a host and a port, as in smtp.lab.example:587",
    "name|type|source_id|hostname": "only the keys name, type, source_id and hostname",
}
"""What patterns ask for, by a part of theirs, for people."""
_MAX_FILE = 2**20
"""Size of the largest file that is read, bytes."""
_MAX_DOTS = 1000  # in a key: tomllib takes a minute for some that are longer
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 200

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


def read_toml(path: Path) -> str:
    """Return the text of a TOML file.

    Raises:
        ConfigError: the file cannot be read, or is too large to be one.
    """
    try:
        with path.open("rb") as file:  # which may be a device without an end
            text = file.read(_MAX_FILE + 1).decode("utf-8-sig")  # with Windows' mark or without
    except OSError as error:
        raise ConfigError(f"{path}: expected a readable TOML file, found: {error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: expected TOML in UTF-8, found byte 0x{error.object[error.start]:02x}, as "
            "other encodings have it: save it as UTF-8"
        ) from error
    if len(text) > _MAX_FILE:
        raise ConfigError(f"{path}: expected a TOML file of at most {_MAX_FILE} bytes, found more")
    return text


def parse_toml(text: str, source: str, struct: type[_Struct]) -> _Struct:
    """Return the struct in a TOML text; `source` names it in errors.

    Raises:
        ConfigError: it is not TOML, or a key or value is not known.
    """
    try:
        if max(part.count(".") for part in re.split(r"[=\n]", text)) > _MAX_DOTS:
            raise RecursionError
        content = tomllib.loads(text)
    except ValueError as error:  # a number of too many digits, too
        raise ConfigError(f"{source}: expected TOML, found a syntax error: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{source}: expected TOML, found it nested too deeply") from error
    try:
        return msgspec.convert(content, struct)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {_explain(str(error), content, struct)}") from error


def _explain(message: str, content: object, struct: type[msgspec.Struct]) -> str:
    """Turn msgspec's message into a sentence: where, what was expected, what was found."""
    what, _, at = message.partition(" - at ")
    path = at.rpartition("`$")[2].strip(".`")
    where = path or "the top level"
    hint, value = _look_up(path, content, struct)
    unknown = re.search(r"unknown field `([^`]+)`", what)
    if unknown:
        return f"unknown key {_SHORT.repr(unknown[1])} in {where}; {_suggest(unknown[1], hint)}"
    if invalid := re.match(r"Invalid enum value (.+)", what):
        choices = re.findall(r"Literal\[(.*?)\]", str(hint))[0]
        return f"{where}: expected one of {choices}, found {invalid[1]}"
    if missing := re.search(r"missing required field `([^`]+)`", what):
        return f"{where}: expected the key {missing[1]!r}, found none"
    if ", found " in what:  # a struct's own check has it all
        return f"{where}: {what}"
    for pattern, words in _IN_WORDS.items():
        if pattern in what:
            return f"{where}: expected {words}, found {_SHORT.repr(value)}"
    expected = what.partition(", got ")[0].replace("`object`", "table").replace("`", "")
    return f"{where}: {expected[0].lower()}{expected[1:]}, found {_SHORT.repr(value)}"


def _suggest(key: str, section: Any) -> str:
    known = section.__struct_fields__
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(known)}"


def _look_up(path: str, content: Any, hint: Any) -> tuple[Any, Any]:
    """Follow a msgspec path such as `streams[0].match` from a struct to its type and its value."""
    for name, index in re.findall(r"(\w+)|\[(\d+|\.\.\.)\]", path):
        if name:
            hint, content = get_type_hints(hint)[name], content[name]
        elif index.isdigit():
            hint, content = get_args(hint)[0], content[int(index)]
        else:  # of a table with free keys msgspec does not say which
            hint, content = get_args(hint)[1], list(content.values())
    return hint, content
