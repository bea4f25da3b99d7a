"""What does a YAML file tell about a camera, and about the files that the camera wrote?

`InstrumentDefinition` reads and checks the file, recognises and translates raw files (`observe`),
completes partial data IDs (`expand`) and makes paths (`path`).  It knows no database: `registry`
and the Butler take what it gives. The keys of the YAML file are declared in
`butler.instrument.schema`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from butler.instrument.build import Builder
from butler.instrument.cards import Headers, read_headers
from butler.instrument.errors import UnknownDetector, UnknownFilter
from butler.instrument.expansion import Expansion
from butler.instrument.filenames import FileNames
from butler.instrument.kept import with_kept_tables
from butler.instrument.observation import FileGroup, Observation
from butler.instrument.parts import AUTOMATIC, Detector
from butler.instrument.reverse import NameReader
from butler.instrument.schema import check
from butler.instrument.source import Document, read_document, read_document_file, text_of
from butler.instrument.templates import PATH_FIELDS, PathTemplate
from butler.instrument.times import day_obs_of, night_bounds
from butler.instrument.translation import Translation
from registry.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["InstrumentDefinition"]

_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class InstrumentDefinition:
    """A camera: its detectors and filters, and how its files are understood.

    Made by `from_yaml` or `from_mapping`; immutable, and safe to use in several threads and
    processes.

    Parameters
    ----------
    document : Document
        The definition as plain values.

    Attributes
    ----------
    name, doc, version
        As in the YAML file.
    site : Site
        Where it stands.
    detectors, filters : tuple
        Its `Detector` and `PhysicalFilter`.
    aliases : dict of str to str
        Other names of keys in data IDs.
    keys : dict of str to type
        Data ID keys beyond the dimensions.
    dataset_types : dict of str to DatasetTypeSpec
        What the camera brings.
    files : FileNames
        How files are recognised by their names.
    visits : VisitRule or None
        Which exposures make a visit; None when each is one, or the files say it.
    translator : str or None
        Class of astro-metadata-translator that it relies on, or ``auto``.

    Raises
    ------
    DefinitionError
        With every mistake: line, key path, what was expected.
    """

    automatic = AUTOMATIC

    def __init__(self, document: Document) -> None:
        document = Document(_normal(document.value), document.source, document.lines)
        check(document)
        parts = Builder(document)
        self._spec: dict[str, Any] = document.value
        self.name = parts.name
        self.doc = str(self._spec["doc"]).strip()
        self.version = int(self._spec.get("version", 1))
        self.site = parts.site
        self.detectors = parts.detectors
        self.filters = parts.filters
        self.keys = parts.keys
        self.dataset_types = parts.dataset_types
        self.translator: str | None = self._spec.get("translator")
        self.tables = parts.tables
        self.checks = parts.checks
        self.templates = parts.templates
        self.visits = parts.visits
        self.files = FileNames(self.name, parts.kinds, parts.ignored)
        self.aliases = parts.aliases
        self._expansion = Expansion(self, parts.expand)
        self._readers: dict[tuple[str, str | None], NameReader] = {}

    @classmethod
    def from_yaml(cls, source: str | Path) -> InstrumentDefinition:
        """Read a definition.

        Parameters
        ----------
        source : path-like or str
            A file, or YAML text (a `str` that holds a line break).

        Raises
        ------
        DefinitionError
            With every mistake: line, key path, what was expected.
        OSError
            If the file cannot be read.
        """
        if isinstance(source, str) and "\n" in source:
            return cls(read_document(source, "text"))
        path = Path(source)
        return cls(with_kept_tables(read_document_file(path), path.parent))

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> InstrumentDefinition:
        """Make a definition from plain values, as `yaml.safe_load` gives them.

        Raises
        ------
        DefinitionError
            With every mistake: key path, what was expected.
        """
        return cls(Document(dict(mapping), str(mapping.get("name", "mapping"))))

    def to_yaml(self) -> str:
        """Write the definition as YAML text that `from_yaml` reads to an equal one."""
        written: str = yaml.dump(
            self._spec, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110
        )
        return written

    def to_mapping(self) -> dict[str, Any]:
        """Give the definition as plain values (a copy)."""
        copy: dict[str, Any] = json.loads(json.dumps(self._spec))
        return copy

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content, hex: comments and layout do not count."""
        canonical = json.dumps(
            self._spec, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        )
        return hashlib.sha256(canonical.encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, InstrumentDefinition) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"<InstrumentDefinition {self.name} version {self.version} {self.digest[:12]}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return InstrumentDefinition.from_mapping, (self._spec,)

    # Files.

    def observe(self, file: str | Path | FileGroup) -> Observation:
        """Translate a file, or the files of one dataset.

        Parameters
        ----------
        file : path-like or FileGroup
            Of a dataset of several files any one may be given: the others are sought beside it.

        Raises
        ------
        TranslationError
            One of its kinds (`UnmatchedFile`, `TruncatedFits`, `MissingCard`, ...), with what to
            do.
        OSError
            If the file cannot be read.
        """
        return self.translation(file).observation()

    def translation(self, file: str | Path | FileGroup) -> Translation:
        """Read the headers of a file, or of the files of one dataset, for `Translation`.

        Raises
        ------
        TranslationError
            If it is none of this camera's files, or cannot be read as FITS.
        OSError
            If the file cannot be read.
        """
        files = file if isinstance(file, FileGroup) else self.files.with_companions(Path(file))
        kind, groups = self.files.recognised(files.path)
        self.files.check_complete(kind, files)
        if kind.has_header:
            headers = read_headers(files.path, kind.hdu)
        else:
            files.path.stat()
            headers = Headers.from_mapping({})
        return Translation(self, kind, files, groups, headers)

    def translate(self, *headers: Mapping[str, Any], path: str | Path) -> Observation:
        """Translate headers that were read elsewhere; the file itself need not be there.

        Parameters
        ----------
        *headers : mapping
            The primary header first; the last is taken for the one of the data.
        path : path-like
            The file's name, for the patterns.

        Raises
        ------
        TranslationError
            As `observe`.
        """
        kind, groups = self.files.recognised(Path(path))
        files = FileGroup(Path(path), kind=kind.name)
        return Translation(self, kind, files, groups, Headers.from_mapping(*headers)).observation()

    def group(self, paths: Iterable[str | Path]) -> list[FileGroup]:
        """Sort files into datasets, without reading them.

        Files that the definition ignores are left out; a file that fits no pattern, or lacks its
        companions, makes a group all the same, and `observe` says what is wrong with it.

        Parameters
        ----------
        paths : iterable of path-like
            Files, not folders.

        Returns
        -------
        list of FileGroup
            In the order of the first file of each.
        """
        return self.files.group(paths)

    def ignores(self, path: str | Path) -> bool:
        """Tell whether ingest passes over a file in silence: an `ignore` pattern fits its path."""
        return self.files.ignores(Path(path))

    def accepts(self, path: str | Path) -> bool:
        """Tell whether the name of a file fits a pattern."""
        return self.files.match(Path(path)) is not None

    # Data IDs and paths.

    def expand(
        self,
        data_id: Mapping[str, Any],
        answer: Callable[[str, Mapping[str, Any]], list[Any]] | None = None,
    ) -> dict[str, str | int]:
        """Complete a partial data ID by the rules of the definition.

        Parameters
        ----------
        data_id : mapping
            Keys of data IDs; a detector or filter by any of its names; ``file`` (a file name);
            keys that `expand` rules use; ``begin_tai_ns``.  Other names of keys, as the
            definition's `aliases` give them, and names in another case are understood.
        answer : callable, optional
            Gives the values that a SELECT and what it takes find in a repository's database;
            without it, rules that ask the database give nothing.

        Returns
        -------
        dict
            Dimensions and declared keys that follow, always with ``instrument``; times as
            ``begin_tai_ns`` and ``end_tai_ns``.

        Raises
        ------
        InvalidDataId
            If a key is not known here, or a value cannot be used, or could mean several things.
        InconsistentDataId
            If two values contradict each other.
        """
        return self._expansion.expand(data_id, answer)

    def named(self, data_id: Mapping[str, Any]) -> dict[str, Any]:
        """Call the keys of a data ID by their own names instead of aliases.

        Raises
        ------
        InconsistentDataId
            If two names of one key have different values.
        """
        return self._expansion.named(data_id)

    def understands(self, key: str) -> bool:
        """Tell whether `expand` takes a key: a dimension, or one that its rules use."""
        return self._expansion.understands(key)

    def path(self, dataset_type: str, fields: Mapping[str, Any]) -> str:
        """Make the path of a dataset's file below the repository's root.

        Parameters
        ----------
        dataset_type : str
            Its template, or the default one, is taken.
        fields : mapping
            ``run``, the data ID, and what else the template names; ``instrument`` and
            ``dataset_type`` are added. An ``extension`` (``.fits.gz``) is put at the end.

        Raises
        ------
        UnsafePath
            If a needed field is absent, or the path would leave the repository.
        """
        template = self.templates.get(dataset_type) or self.templates["default"]
        merged = {"instrument": self.name, **fields, "dataset_type": dataset_type}
        if "detector" in merged and {"detector_name", "raft"} & set(template.fields):
            detector = self._detector_by_number.get(merged["detector"])
            if detector is not None:
                merged = {"detector_name": detector.name, "raft": detector.raft, **merged}
        return template.format(merged)

    def read_name(
        self, path: str | Path, dataset_type: str, template: str | None = None
    ) -> dict[str, Any]:
        """Read out of a file's name what it is, without looking into the file.

        Parameters
        ----------
        path : path-like
            In whatever folder; the template must make its end.
        dataset_type : str
            Its template, or the default one, is taken.
        template : str, optional
            Another template, for names that were made elsewhere.

        Returns
        -------
        dict
            The fields of the template, ``instrument`` among them; see `expand`.

        Raises
        ------
        UnmatchedFile
            If the template makes no such name, or it can be read in two ways.
        UnsafePath
            If the template is none, or cannot be read back.
        """
        return self._reader(dataset_type, template).read(Path(path)) | {"instrument": self.name}

    def name_template(self, dataset_type: str, template: str | None = None) -> str:
        """Give the template by which `read_name` reads.

        Raises
        ------
        UnsafePath
            If it is none, or cannot be read back.
        """
        return self._reader(dataset_type, template).text

    def _reader(self, dataset_type: str, template: str | None) -> NameReader:
        key = (dataset_type, template)
        if key not in self._readers:
            own = self.templates.get(dataset_type) or self.templates["default"]
            made = own if template is None else PathTemplate(template)
            if template is not None:
                made.check_fields([*PATH_FIELDS, *self.keys])
            known = {"dataset_type": dataset_type, "instrument": self.name}
            integers = [name for name, kind in self.keys.items() if kind is int]
            choices = {
                "detector_name": {n for d in self.detectors for n in (d.name, *d.aliases)},
                "raft": {d.raft for d in self.detectors if d.raft},
                "physical_filter": {n for f in self.filters for n in (f.name, *f.aliases)},
                "band": {f.band for f in self.filters if f.band},
            }
            self._readers[key] = NameReader(made, known, integers, choices)
        return self._readers[key]

    # Nights, detectors, filters.

    def night(self, tai_ns: int) -> int:
        """Name the night (YYYYMMDD) of a moment [TAI ns]: noon to noon at the site."""
        return day_obs_of(tai_ns, self.site.noon_ns)

    def night_bounds(self, day_obs: int) -> tuple[int, int]:
        """Give begin and end [TAI ns] of a night.

        Raises
        ------
        ValueError
            If ``day_obs`` is not a date.
        """
        return night_bounds(day_obs, self.site.noon_ns)

    def detector_number(self, name: Any, path: str | Path = "") -> int:
        """Find a detector by number, name or alias.

        Raises
        ------
        UnknownDetector
            With near names and how to add it.
        """
        if (
            isinstance(name, int)
            and not isinstance(name, bool)
            and name in self._detector_by_number
        ):
            number: int = name
            return number
        text = text_of(name)
        found = self._detector_names.get(text, self._detector_names.get(text.casefold()))
        if found is None and text.isdigit() and int(text) in self._detector_by_number:
            found = int(text)
        if found is None:
            known = [n for d in self.detectors for n in (d.name, str(d.number), *d.aliases)]
            raise UnknownDetector(
                path,
                f"{self.name} has no detector {name!r}.{did_you_mean(text, known)} If it is new, "
                "add it under "
                "`detectors`; if it is another spelling, add it to the `aliases` of its detector.",
            )
        return found

    def filter_name(self, name: Any, path: str | Path = "") -> str:
        """Find the physical filter that a spelling means.

        Raises
        ------
        UnknownFilter
            With near names and how to add it.
        """
        text = " ".join(text_of(name).split())
        found = self._filter_names.get(text)
        if found is None:
            known = [n for f in self.filters for n in (f.name, *f.aliases)]
            raise UnknownFilter(
                path,
                f"{self.name} has no filter {name!r}.{did_you_mean(text, known)} If it is new, "
                "add it under "
                "`filters` with its band; if it is another spelling, add it to the `aliases` of "
                "its filter.",
            )
        return found

    def band(self, physical_filter: str) -> str | None:
        """Give the band of a physical filter."""
        return self._bands.get(physical_filter)

    # Rows of the dimension tables.

    def instrument_record(self) -> dict[str, Any]:
        """Give the row of the instrument table."""
        return {
            "name": self.name,
            "definition_version": self.version,
            "detector_max": max(d.number for d in self.detectors) + 1,
            "doc": self.doc,
            "facility": self._spec.get("facility"),
            "field_of_view_deg": self._spec.get("field_of_view"),
        }

    def detector_records(self) -> list[dict[str, Any]]:
        """Give the rows of the detector table."""
        return [
            {
                "instrument": self.name,
                "id": d.number,
                "full_name": d.name,
                "purpose": d.purpose,
                "raft": d.raft,
                "nrows": d.nrows,
                "ncols": d.ncols,
            }
            for d in self.detectors
        ]

    def physical_filter_records(self) -> list[dict[str, Any]]:
        """Give the rows of the physical_filter table."""
        return [
            {
                "instrument": self.name,
                "name": f.name,
                "band": f.band,
                "wavelength_min_m": f.wavelength_min_m,
                "wavelength_max_m": f.wavelength_max_m,
            }
            for f in self.filters
        ]

    def day_obs_record(self, day_obs: int) -> dict[str, Any]:
        """Give the row of the day_obs table for a night.

        Raises
        ------
        ValueError
            If ``day_obs`` is not a date.
        """
        begin, end = self.night_bounds(day_obs)
        return {"instrument": self.name, "id": day_obs, "begin_tai_ns": begin, "end_tai_ns": end}

    @cached_property
    def _detector_by_number(self) -> dict[int, Detector]:
        return {d.number: d for d in self.detectors}

    @cached_property
    def _detector_names(self) -> dict[str, int]:
        exact = {n: d.number for d in self.detectors for n in (d.name, *d.aliases)}
        return _with_casefolded(exact)

    @cached_property
    def _filter_names(self) -> dict[str, str]:
        return {n: f.name for f in self.filters for n in (" ".join(f.name.split()), *f.aliases)}

    def filters_called(self, name: Any) -> list[str]:
        """List the filters that a person may mean: as `filter_name`, else in another case."""
        text = " ".join(text_of(name).split())
        if text in self._filter_names:
            return [self._filter_names[text]]
        folded = text.casefold()
        return sorted({f for s, f in self._filter_names.items() if s.casefold() == folded})

    @cached_property
    def _bands(self) -> dict[str, str | None]:
        return {f.name: f.band for f in self.filters}


def _normal(value: Any) -> Any:
    """Copy plain values as JSON can hold them: keys as texts, times as ISO texts."""
    if isinstance(value, Mapping):
        return {text_of(k): _normal(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_normal(v) for v in value]
    return value if isinstance(value, str | int | float | None) else str(value)


def _with_casefolded(exact: dict[str, int]) -> dict[str, int]:
    """Add spellings in other cases where they mean one thing only."""
    folded: dict[str, set[int]] = {}
    for name, value in exact.items():
        folded.setdefault(name.casefold(), set()).add(value)
    return {name: min(values) for name, values in folded.items() if len(values) == 1} | exact
