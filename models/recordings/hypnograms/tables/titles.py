"""What the titles of columns mean, in English, German and French, and the units in them."""

import re
import unicodedata

STAGES = (
    *("stage", "stages", "sleep stage", "sleep stages", "sleepstage", "stage name", "vigilance"),
    *("state", "states", "sleep state", "brain state", "brain states", "vigilance state"),
    *("score", "scores", "scoring", "sleep score", "sleep scores", "sleep scoring", "rodent sleep"),
    *("label", "labels", "hypnogram", "numeric score", "epoch score", "score #"),
    *("stadium", "stadien", "schlafstadium", "schlafstadien", "schlafphase", "schlafphasen"),
    *("vigilanzstadium", "vigilanz", "zustand", "schlafzustand", "hypnogramm"),
    *("stade", "stades", "stade de sommeil", "stades de sommeil", "stade de vigilance"),
    *("etat", "etat de vigilance", "hypnogramme"),
)
WITH_EVENTS = (
    *("trial type", "value", "annotation", "annotations", "description", "event", "text"),
    *("code", "marker", "anmerkung", "ereignis", "evenement"),
)
ONSETS = (
    "recording onset",  # as HMC has it, beside a Time of day
    *("onset", "onsets", "start", "begin", "start time", "begin time", "onset time", "time"),
    *("epoch start", "timestamp", "time stamp", "time of day", "clock time", "date time"),
    *("datetime", "beginn", "anfang", "startzeit", "zeit", "uhrzeit", "zeitpunkt", "zeitstempel"),
    *("debut", "heure de debut", "heure", "temps", "horodatage", "from", "von"),
    *("second", "seconds", "sec", "secs", "s", "sekunde", "sekunden", "seconde", "secondes"),
)
DURATIONS = (
    *("duration", "durations", "dur", "length", "epoch length", "epoch duration"),
    *("dauer", "lange", "epochenlange", "epochendauer", "duree"),
)
ENDS = (
    *("offset", "end", "stop", "end time", "stop time", "epoch end"),
    *("ende", "endzeit", "fin", "heure de fin", "to", "bis"),
)
DATES = ("date", "datum", "jour")
INDICES = (
    *("", "#", "epoch", "epoch no", "epoch #", "epoch number", "epochs", "index", "no", "nr"),
    *("epoch nr", "epoch num", "epoch index", "epoch id", "epoche", "epochen", "epoche nr"),
    *("epochen nr", "epochennummer", "nummer", "epoque", "epoques", "numero", "n°"),
)
SUBJECTS = (
    *("subject", "subject id", "participant", "participant id", "animal", "animal id"),
    *("mouse", "mouse id", "rat", "rat id", "tier", "tier id", "maus", "souris"),
)
UNITS = {"": 1.0, "s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0}
UNITS |= {"ms": 1e-3, "msec": 1e-3, "min": 60.0, "mins": 60.0, "minutes": 60.0, "h": 3600.0}
UNITS |= {"sek": 1.0, "sekunden": 1.0, "secondes": 1.0, "minuten": 60.0}
_TITLE = re.compile(r"(.*?)\s*(?:[(\[]\s*([^)\]]*?)\s*[)\]])?$")


def name_in(cell: str) -> str:
    """Return a title in small letters, without accents and unit: `Epoch_No.`, `EpochNo`."""
    plain = (c for c in unicodedata.normalize("NFKD", cell) if not unicodedata.combining(c))
    cell = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", "".join(plain))
    match = _TITLE.match(cell.replace("\n", " "))
    bare = re.sub(r"[\s_.:-]+", " ", match[1] if match else cell).strip(" \ufeff\"'").lower()
    words = bare.split(" ")
    return " ".join(words[:-1]) if len(words) > 1 and words[-1] in UNITS else bare


def unit_in(cell: str) -> str:
    """Return the unit in a title: `onset (ms)`, `onset_ms`; empty where it names none."""
    match = _TITLE.match(cell)
    if match and match[2]:
        return match[2].strip(" .").lower()
    last = re.split(r"[\s_.]+", cell.strip().lower())[-1]
    return last if last in UNITS and last != cell.strip().lower() else ""
